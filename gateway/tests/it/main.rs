//! The gateway over real ports.
#![expect(clippy::unwrap_used, reason = "a test")]

mod calls;
mod asynchronous;
mod invoke;
mod stage;
mod stopping;
mod system;
