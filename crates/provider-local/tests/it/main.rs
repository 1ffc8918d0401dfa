//! The local provider with real processes. The functions are this test binary itself, started from an image that holds
//! a script.
#![expect(clippy::unwrap_used, reason = "what fails here ends the test")]

mod bad_versions;
mod bench;
mod crashes;
mod function;
mod host;
mod lifecycle;
mod logs;
mod promises;
mod updates;
mod upkeep;
