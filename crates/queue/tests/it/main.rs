//! The queue's promises, held by both stores.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod clock;
mod dead_letters;
mod killed;
mod stores;
mod suite;
mod worker;
