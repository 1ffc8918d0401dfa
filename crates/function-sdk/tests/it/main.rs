//! The server from outside.

mod calls;
