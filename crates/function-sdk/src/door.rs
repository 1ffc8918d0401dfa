//! The one place that reads the process's environment and the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// The variable's value; `None` when it is unset or empty.
#[expect(clippy::disallowed_methods, reason = "this is the door: a function must not carry the platform's `daemon`")]
#[must_use]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Milliseconds since 1970; zero before 1970.
#[expect(clippy::disallowed_methods, reason = "this is the door: a function must not carry the platform's `daemon`")]
pub(crate) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
