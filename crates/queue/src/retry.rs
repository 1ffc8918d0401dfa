//! When an invocation is tried again, and when it is given up (the contract's §5.4).

use crate::Outcome;
use daemon::{Env, EnvError};
use std::time::Duration;
use wire::annotation;
use wire::duration;
use wire::function::TextMap;

/// No wait between attempts is longer, whatever a policy says: what is due later is so by a clock that was wrong.
pub const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3_600);

/// How one attempt ended.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Delivery {
    /// The HTTP status, when there was an answer.
    pub status: Option<u16>,
    /// Whether the answer is the platform's own (`X-OpenFaaS-Internal`), not the function's.
    pub internal: bool,
    /// How long the function asks to be left alone (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// What to tell a person, when it went wrong.
    pub reason: Option<String>,
    /// Whether the function is not deployed any more.
    pub gone: bool,
}

impl Delivery {
    /// What is remembered of it.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        Outcome { status: self.status, reason: self.reason.clone() }
    }
}

/// What becomes of an invocation after an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision {
    /// It has its answer.
    Done,
    /// It is due again after so long.
    Again(Duration),
    /// It is given up.
    Dead,
}

/// How the wait between attempts grows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Backoff {
    /// It doubles.
    #[default]
    Exponential,
    /// A random part of the doubled wait, between nothing and all.
    Full,
    /// A random part of the doubled wait, between half and all.
    Equal,
}

/// When to try again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; 10.
    pub attempts: u32,
    /// Codes that are tried again; 408, 429, 500, 502, 503, 504.
    pub codes: Vec<u16>,
    /// The wait after the first attempt; 10 s.
    pub min_wait: Duration,
    /// The longest wait; 120 s.
    pub max_wait: Duration,
    /// How the wait grows.
    pub backoff: Backoff,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 10,
            codes: vec![408, 429, 500, 502, 503, 504],
            min_wait: Duration::from_secs(10),
            max_wait: Duration::from_secs(120),
            backoff: Backoff::default(),
        }
    }
}

impl RetryPolicy {
    /// Reads `max_retry_attempts`, `initial_retry_wait`, `max_retry_wait`, `retry_http_codes` and `backoff`.
    pub fn from_env(env: &impl Env) -> Result<Self, EnvError> {
        let usual = Self::default();
        let codes = match env.get("retry_http_codes") {
            None => usual.codes,
            Some(text) => codes(&text).ok_or_else(|| {
                EnvError::new("retry_http_codes", &text, "give HTTP status codes, separated by commas")
            })?,
        };
        let backoff = match env.get("backoff").as_deref() {
            None | Some("exponential") => Backoff::Exponential,
            Some("full") => Backoff::Full,
            Some("equal") => Backoff::Equal,
            Some(other) => return Err(EnvError::new("backoff", other, "give exponential, full or equal")),
        };
        Ok(Self {
            attempts: env.parse("max_retry_attempts", usual.attempts)?.max(1),
            codes,
            min_wait: env.duration("initial_retry_wait", usual.min_wait)?,
            max_wait: env.duration("max_retry_wait", usual.max_wait)?,
            backoff,
        })
    }

    /// This policy as a function's annotations change it. What cannot be read is as it was.
    #[must_use]
    pub fn with(mut self, annotations: &TextMap) -> Self {
        let get = |name: &str| annotations.get(name).map(|value| value.trim());
        if let Some(attempts) = get(annotation::RETRY_ATTEMPTS).and_then(|text| text.parse().ok()) {
            self.attempts = u32::max(attempts, 1);
        }
        if let Some(codes) = get(annotation::RETRY_CODES).and_then(codes) {
            self.codes = codes;
        }
        if let Some(wait) = get(annotation::RETRY_MIN_WAIT).and_then(|text| duration::parse(text).ok()) {
            self.min_wait = wait;
        }
        if let Some(wait) = get(annotation::RETRY_MAX_WAIT).and_then(|text| duration::parse(text).ok()) {
            self.max_wait = wait;
        }
        self
    }

    /// What becomes of an invocation after its `attempt`th attempt. `dice` is between 0 and 1.
    #[must_use]
    pub fn decide(&self, attempt: u32, delivery: &Delivery, dice: f64) -> Decision {
        if delivery.gone {
            return Decision::Dead;
        }
        let again = match delivery.status {
            None => true,
            Some(status) => delivery.internal || self.codes.contains(&status),
        };
        if !again {
            return Decision::Done;
        }
        if attempt >= self.attempts {
            return Decision::Dead;
        }
        let asked = delivery.retry_after.filter(|_| matches!(delivery.status, Some(429 | 503)));
        let wait = match asked {
            Some(asked) => asked.clamp(self.min_wait, self.longest_wait()),
            None => self.wait(attempt, dice),
        };
        Decision::Again(wait.min(LONGEST_WAIT))
    }

    /// The longest wait that these settings lead to.
    pub(crate) fn longest_wait(&self) -> Duration {
        self.max_wait.max(self.min_wait)
    }

    fn wait(&self, attempt: u32, dice: f64) -> Duration {
        let factor = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        let doubled = self.min_wait.saturating_mul(factor).min(self.max_wait);
        match self.backoff {
            Backoff::Exponential => doubled,
            Backoff::Full => doubled.mul_f64(dice.clamp(0.0, 1.0)),
            Backoff::Equal => doubled.mul_f64(0.5 + dice.clamp(0.0, 1.0) / 2.0),
        }
    }
}

fn codes(text: &str) -> Option<Vec<u16>> {
    annotation::items(text).map(|item| item.parse().ok().filter(|code| (100..600).contains(code))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16) -> Delivery {
        Delivery { status: Some(status), ..Delivery::default() }
    }

    #[test]
    fn a_final_status_is_done_and_a_passing_one_is_tried_again() {
        let policy = RetryPolicy::default();
        for status in [200, 201, 301, 400, 401, 402, 404, 409, 422] {
            assert_eq!(policy.decide(1, &answer(status), 0.0), Decision::Done, "{status}");
        }
        for status in [408, 429, 500, 502, 503, 504] {
            assert_eq!(policy.decide(1, &answer(status), 0.0), Decision::Again(Duration::from_secs(10)), "{status}");
        }
        let platform = Delivery { internal: true, ..answer(404) };
        assert!(matches!(policy.decide(1, &platform, 0.0), Decision::Again(_)));
        assert!(matches!(policy.decide(1, &Delivery::default(), 0.0), Decision::Again(_)));
    }

    #[test]
    fn attempts_run_out_and_functions_go() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.decide(10, &answer(500), 0.0), Decision::Dead);
        let gone = Delivery { gone: true, ..answer(404) };
        assert_eq!(policy.decide(1, &gone, 0.0), Decision::Dead);
    }

    #[test]
    fn the_wait_doubles_up_to_its_most() {
        let policy = RetryPolicy::default();
        let waits: Vec<u64> = (1..8).map(|attempt| policy.wait(attempt, 0.0).as_secs()).collect();
        assert_eq!(waits, [10, 20, 40, 80, 120, 120, 120]);
        assert_eq!(policy.wait(4_000, 0.0).as_secs(), 120);
        let full = RetryPolicy { backoff: Backoff::Full, ..policy.clone() };
        assert_eq!(full.wait(1, 0.5).as_secs(), 5);
        let equal = RetryPolicy { backoff: Backoff::Equal, ..policy };
        assert_eq!(equal.wait(1, 0.0).as_secs(), 5);
    }

    #[test]
    fn a_function_that_asks_for_time_gets_it_within_bounds() {
        let policy = RetryPolicy::default();
        let asks = |status, seconds| Delivery { retry_after: Some(Duration::from_secs(seconds)), ..answer(status) };
        assert_eq!(policy.decide(1, &asks(503, 30), 0.0), Decision::Again(Duration::from_secs(30)));
        assert_eq!(policy.decide(1, &asks(429, 1), 0.0), Decision::Again(Duration::from_secs(10)));
        assert_eq!(policy.decide(1, &asks(503, 99_999), 0.0), Decision::Again(Duration::from_secs(120)));
        assert_eq!(policy.decide(1, &asks(500, 30), 0.0), Decision::Again(Duration::from_secs(10)));
    }

    #[test]
    fn no_wait_is_longer_than_a_day() {
        let month = Duration::from_secs(30 * 24 * 3_600);
        let policy = RetryPolicy { min_wait: month, max_wait: month, ..RetryPolicy::default() };
        assert_eq!(policy.decide(1, &answer(500), 0.0), Decision::Again(LONGEST_WAIT));
    }

    #[test]
    fn annotations_change_the_policy_and_garbage_does_not() {
        let annotations = |pairs: &[(&str, &str)]| -> TextMap {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let policy = RetryPolicy::default().with(&annotations(&[
            (annotation::RETRY_ATTEMPTS, "3"),
            (annotation::RETRY_CODES, "500, 503"),
            (annotation::RETRY_MIN_WAIT, "100ms"),
            (annotation::RETRY_MAX_WAIT, "2s"),
        ]));
        assert_eq!((policy.attempts, policy.codes.as_slice()), (3, &[500, 503][..]));
        assert_eq!((policy.min_wait, policy.max_wait), (Duration::from_millis(100), Duration::from_secs(2)));
        let garbage = annotations(&[(annotation::RETRY_ATTEMPTS, "many"), (annotation::RETRY_CODES, "5xx")]);
        assert_eq!(RetryPolicy::default().with(&garbage), RetryPolicy::default());
        assert!(RetryPolicy::from_env(&[("retry_http_codes", "5xx")]).is_err());
    }
}
