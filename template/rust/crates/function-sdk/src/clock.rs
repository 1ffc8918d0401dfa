//! Wall-clock time, replaceable in tests.

use crate::door;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Tells wall-clock time. It may jump either way; durations belong to [`std::time::Instant`].
#[derive(Clone)]
pub struct Clock(Option<Arc<AtomicU64>>);

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still at `unix_millis` until it is [set](Self::set).
    #[must_use]
    pub fn fixed(unix_millis: u64) -> Self {
        Self(Some(Arc::new(AtomicU64::new(unix_millis))))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn unix_millis(&self) -> u64 {
        self.0.as_ref().map_or_else(door::unix_millis, |time| time.load(Ordering::Relaxed))
    }

    /// Sets a fixed clock and its clones, forwards or back; the system's clock stays as it is.
    pub fn set(&self, unix_millis: u64) {
        if let Some(time) = &self.0 {
            time.store(unix_millis, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Clock({})", self.unix_millis())
    }
}
