//! A confined process, seen from inside and outside.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "what is skipped is said")]

mod bench;
mod ends;
mod escapes;
mod groups;
mod inside;
mod network;
mod probes;
mod room;
mod starts;
