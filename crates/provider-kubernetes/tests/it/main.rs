//! Tests against an API server.
