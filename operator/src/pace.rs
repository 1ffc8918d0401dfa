//! How long to wait before something is tried again.

use kube::runtime::utils::Backoff;
use std::time::Duration;

/// Doubling waits. An API server that comes back is noticed within [`Pace::LONGEST`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    tries: u32,
}

impl Pace {
    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(8);

    /// The wait after so many failures in a row.
    pub(crate) fn after(tries: u32) -> Duration {
        Self::FIRST.saturating_mul(1 << tries.min(10)).min(Self::LONGEST)
    }
}

impl Iterator for Pace {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = Self::after(self.tries);
        self.tries = self.tries.saturating_add(1);
        Some(wait)
    }
}

impl Backoff for Pace {
    fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew() {
        let mut pace = Pace::default();
        let waits: Vec<_> = pace.by_ref().take(6).map(|wait| wait.as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 8000]);
        pace.reset();
        assert_eq!(pace.next(), Some(Pace::FIRST));
        assert_eq!(Pace::after(u32::MAX), Pace::LONGEST);
    }
}
