//! The gateway over real ports.
#![expect(clippy::unwrap_used, reason = "a test")]

mod asynchronous;
mod calls;
mod door;
mod inside;
mod invoke;
mod logs;
mod namespaces;
mod panics;
mod peers;
mod ready;
mod refusals;
mod scaling;
mod slow;
mod stage;
mod stopping;
mod streams;
mod system;
mod tls;
mod upgrades;
