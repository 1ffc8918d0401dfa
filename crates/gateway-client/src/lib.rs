//! Speaks the gateway's HTTP API; keeps a live list of functions for connectors.
