//! The watchdog from outside: the built binary, real processes, real sockets.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod classic;
mod ends;
mod files;
mod forking;
mod http;
mod real;
mod under_test;
mod websocket;
