//! The whole system, driven from outside: what the tests in `tests/` share.
//!
//! The tests drive the built binaries over HTTP and MQTT, as a user would. Ports are free ones, state is a temporary
//! directory, and nothing waits for a fixed time: [`eventually`] polls for the condition.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

pub mod actors;
pub mod binaries;
pub mod callers;
pub mod cluster;
pub mod http;
pub mod leftovers;
pub mod load;
pub mod many;
pub mod mosquitto;
pub mod platform;
pub mod power_cut;
pub mod shop;
pub mod system;
pub mod update_kills;

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

/// How long a condition may take to come true. Generous: machines that run tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until `probe` gives a value, and fails with what it said last when it does not within [`PATIENCE`].
pub async fn eventually<T, E, F>(what: &str, probe: impl FnMut() -> F) -> T
where
    E: Debug,
    F: Future<Output = Result<T, E>>,
{
    within(PATIENCE, what, probe).await
}

/// The same with another patience.
pub async fn within<T, E, F>(patience: Duration, what: &str, mut probe: impl FnMut() -> F) -> T
where
    E: Debug,
    F: Future<Output = Result<T, E>>,
{
    let begun = Instant::now();
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(last) if begun.elapsed() > patience => panic!("{what}: not within {patience:?}; last: {last:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(25)).await,
        }
    }
}

/// Says that a test did not run, and how to make it run.
pub fn skipped(test: &str, why: &str) {
    eprintln!("SKIPPED {test}: {why}");
}

/// Says a figure that no test depends on.
pub fn report(what: impl std::fmt::Display) {
    eprintln!("{what}");
}
