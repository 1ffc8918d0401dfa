//! faas-cli and the gateway: its recorded requests replayed, and the real one where it is installed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(clippy::print_stderr, reason = "a replay says how much was replayed")]

mod judge;
mod peers;
mod raw;
mod real;
mod recording;
mod replay;
mod world;
