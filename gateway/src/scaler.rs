//! Makes replicas for calls that find none: one wish however many wait, and not too many wait.

use crate::metrics::Metrics;
use prometheus::IntCounter;
use provider::{FunctionReplicas, Provider, ProviderError, ReplicaTable};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};
use wire::FunctionName;

/// How long a call waits for a function that is known to be in trouble: long enough for one more start.
const TROUBLE_WAIT: Duration = Duration::from_secs(5);

/// The first wait before a wish that failed is wished again; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait before a wish is wished again.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Why there is no replica.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoReplica {
    #[error("function {0} was deleted while the call waited for a replica")]
    Gone(FunctionName),
    #[error(
        "{waiting} calls wait for a replica of {name} already, which is the most (scale_max_waiting); try again soon"
    )]
    TooMany { name: FunctionName, waiting: usize },
    #[error("the gateway could not start {name}: {reason}; see `faas-cli describe` and the provider's log")]
    NotStarted { name: FunctionName, reason: Arc<ProviderError> },
    #[error("no replica of {name} gets ready: {trouble}; see `faas-cli logs {}`", name.name())]
    Trouble { name: FunctionName, trouble: String },
    #[error(
        "no replica of {name} got ready within {} (scale_wait); see `faas-cli logs {}`",
        wire::duration::format(*.limit),
        name.name()
    )]
    TooLate { name: FunctionName, limit: Duration },
}

/// Brings functions up from zero.
pub(crate) struct Scaler {
    provider: Arc<dyn Provider>,
    table: ReplicaTable,
    limit: Duration,
    max_waiting: usize,
    // A std mutex: held for a look-up only.
    cold: Mutex<HashMap<FunctionName, Cold>>,
}

/// Calls waiting for one function.
#[derive(Default)]
struct Cold {
    waiting: usize,
    wish: Wish,
}

/// One wish for a replica.
type Wish = Arc<Wished>;

/// What became of a wish.
#[derive(Default)]
struct Wished {
    outcome: OnceCell<Result<(), Arc<ProviderError>>>,
    /// Why it was not heard the last time. A std mutex: held for a look or a change only.
    failure: Mutex<Option<Arc<ProviderError>>>,
}

/// One waiting call.
struct Waiting<'a> {
    scaler: &'a Scaler,
    metrics: &'a Metrics,
    name: &'a FunctionName,
    wish: Wish,
}

impl Scaler {
    pub(crate) fn new(provider: Arc<dyn Provider>, limit: Duration, max_waiting: usize) -> Self {
        let table = provider.replicas();
        Self { provider, table, limit, max_waiting, cold: Mutex::default() }
    }

    /// Waits until a replica is ready, wishing for one if none is wanted yet, which `starts` counts. Whoever waits is
    /// woken by the table.
    pub(crate) async fn ready(
        &self,
        name: &FunctionName,
        metrics: &Metrics,
        starts: &IntCounter,
    ) -> Result<(), NoReplica> {
        let deadline = Instant::now() + self.limit;
        loop {
            let waiting = self.enter(name, metrics)?;
            // Whoever comes first wishes. Should its client leave, the next one takes over.
            let wished = &waiting.wish;
            let wish = wished.outcome.get_or_init(|| self.wish(name, starts, &wished.failure));
            let mut table = self.table.clone();
            tokio::select! {
                biased;
                // The wish may take longer to be kept on disk than the replica takes to start.
                _ = table.wait_for(name, ready_or_gone) => return self.arrived(name),
                heard = timeout_at(deadline, wish) => match heard {
                    Ok(Ok(())) => {}
                    Ok(Err(reason)) => {
                        return Err(NoReplica::NotStarted { name: name.clone(), reason: Arc::clone(reason) });
                    }
                    Err(_) => return Err(self.too_late(name, &wished.failure)),
                },
            }
            if !self.wait(name, deadline).await {
                return self.arrived(name);
            }
        }
    }

    /// Waits for what was wished for. `true` when it is not wanted any more, so that it must be wished for again.
    async fn wait(&self, name: &FunctionName, deadline: Instant) -> bool {
        let mut table = self.table.clone();
        let (mut wanted, mut unwanted) = (false, false);
        let patience = Instant::now() + TROUBLE_WAIT;
        let mut over = |function: Option<&FunctionReplicas>, patient: bool| {
            let desired = function.map_or(0, |known| known.desired);
            wanted |= desired > 0;
            unwanted = wanted && desired == 0 && !ready_or_gone(function);
            let trouble = !patient && function.is_some_and(|known| known.trouble.is_some());
            ready_or_gone(function) || trouble || unwanted
        };
        let patient = table.wait_for(name, |function| over(function, true));
        if timeout_at(patience.min(deadline), patient).await.is_err() && patience < deadline {
            drop(timeout_at(deadline, table.wait_for(name, |function| over(function, false))).await);
        }
        unwanted
    }

    /// What the wait led to.
    fn arrived(&self, name: &FunctionName) -> Result<(), NoReplica> {
        let Some(function) = self.table.get(name) else { return Err(NoReplica::Gone(name.clone())) };
        match (function.ready.is_empty(), &function.trouble) {
            (false, _) => Ok(()),
            (true, Some(trouble)) => Err(NoReplica::Trouble { name: name.clone(), trouble: trouble.clone() }),
            (true, None) => Err(NoReplica::TooLate { name: name.clone(), limit: self.limit }),
        }
    }

    fn too_late(&self, name: &FunctionName, failure: &Mutex<Option<Arc<ProviderError>>>) -> NoReplica {
        let name = name.clone();
        match failure.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            Some(reason) => NoReplica::NotStarted { name, reason },
            None => NoReplica::TooLate { name, limit: self.limit },
        }
    }

    /// Wishes for a replica. A provider that fails is asked again for as long as someone waits: it may be an API server
    /// that restarts.
    async fn wish(
        &self,
        name: &FunctionName,
        starts: &IntCounter,
        failure: &Mutex<Option<Arc<ProviderError>>>,
    ) -> Result<(), Arc<ProviderError>> {
        let (mut wait, mut told) = (FIRST_WAIT, false);
        loop {
            let Some(function) = self.table.get(name) else { return Ok(()) };
            if function.desired > 0 {
                return Ok(());
            }
            let at_least = function.at_least.max(1);
            if !told {
                tracing::info!(function = %name, replicas = at_least, "scaling from zero");
                starts.inc();
            }
            let Err(error) = self.provider.wake(name, at_least).await else { return Ok(()) };
            let passing = matches!(error, ProviderError::Failed { .. });
            if !passing || !told {
                told = true;
                let error = &error as &dyn std::error::Error;
                tracing::error!(function = %name, error, again = passing, "scaling from zero failed");
            }
            let error = Arc::new(error);
            if !passing {
                return Err(error);
            }
            *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    fn enter<'a>(&'a self, name: &'a FunctionName, metrics: &'a Metrics) -> Result<Waiting<'a>, NoReplica> {
        let mut cold = self.cold.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = cold.entry(name.clone()).or_default();
        if entry.waiting >= self.max_waiting {
            return Err(NoReplica::TooMany { name: name.clone(), waiting: entry.waiting });
        }
        entry.waiting += 1;
        metrics.cold_waiting.inc();
        Ok(Waiting { scaler: self, metrics, name, wish: Arc::clone(&entry.wish) })
    }
}

/// Whether waiting for a function is over.
fn ready_or_gone(function: Option<&FunctionReplicas>) -> bool {
    function.is_none_or(|known| !known.ready.is_empty())
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.metrics.cold_waiting.dec();
        let mut cold = self.scaler.cold.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = cold.get_mut(self.name) else { return };
        entry.waiting -= 1;
        if entry.waiting == 0 {
            cold.remove(self.name);
        } else if self.wish.outcome.initialized() && Arc::ptr_eq(&entry.wish, &self.wish) {
            // Whoever comes from now on must not take this wish's outcome for an answer to theirs.
            entry.wish = Wish::default();
        }
    }
}
