//! Clients that call without pause while something happens to the function.

use crate::http::Http;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// What callers were answered.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// The answers, and how often each came.
    pub answers: BTreeMap<String, usize>,
    /// The calls that were not answered with 200: status and text, and how often.
    pub failures: BTreeMap<String, usize>,
    /// The longest a call took.
    pub longest: Duration,
}

impl Heard {
    /// How many calls were answered well.
    #[must_use]
    pub fn good(&self) -> usize {
        self.answers.values().sum()
    }

    /// How many were not.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.failures.values().sum()
    }

    /// Fails when a call did.
    pub fn without_failure(&self, what: &str) {
        assert!(self.failures.is_empty(), "{what}: {:?} failed, beside {} that did not", self.failures, self.good());
        assert!(self.good() > 0, "{what}: nobody called");
    }
}

/// Clients that call until they are stopped.
#[derive(Debug)]
pub struct Callers {
    stop: Arc<AtomicBool>,
    heard: Arc<Mutex<Heard>>,
    callers: Vec<JoinHandle<()>>,
}

impl Callers {
    /// Begins to call.
    #[must_use]
    pub fn call(url: &str, count: usize) -> Self {
        let (stop, heard) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Heard::default())));
        let callers = (0..count).map(|_| tokio::spawn(call(url.to_owned(), Arc::clone(&stop), Arc::clone(&heard))));
        let callers = callers.collect();
        Self { stop, heard, callers }
    }

    /// What they were answered so far.
    #[must_use]
    pub fn heard(&self) -> Heard {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops them.
    pub async fn stop(self) -> Heard {
        self.stop.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.unwrap();
        }
        Arc::try_unwrap(self.heard).unwrap().into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn call(url: String, stop: Arc<AtomicBool>, heard: Arc<Mutex<Heard>>) {
    let http = Http::default();
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let answer = http.post(&url, "").await;
        let took = begun.elapsed();
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.longest = heard.longest.max(took);
        let (said, count) = match answer {
            Ok(answer) if answer.status == 200 => (answer.text(), &mut heard.answers),
            Ok(answer) => (format!("{}: {}", answer.status, answer.text()), &mut heard.failures),
            Err(error) => (error, &mut heard.failures),
        };
        *count.entry(said).or_default() += 1;
    }
}
