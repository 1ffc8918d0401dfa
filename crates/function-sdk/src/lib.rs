//! The runtime of a Rust function: serve(handler), the watchdog's contract in-process.

#[cfg(feature = "sqlite")]
pub mod sqlite;
