//! The gateway over real ports.
#![expect(clippy::unwrap_used, reason = "a test")]

mod invoke;
mod stage;
mod stopping;
mod system;
