//! The provider against an API server: one made for tests, which can be made to fail, and a real one where there is one.
#![expect(clippy::unwrap_used, reason = "tests")]

mod api;
mod bench;
mod changes;
mod cluster;
mod faults;
mod logs;
mod stand_in;
