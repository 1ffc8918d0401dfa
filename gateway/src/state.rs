//! What every request shares.

use crate::config::Config;
use crate::counters::Counters;
use daemon::Clock;
use provider::Provider;
use queue::Queue;
use std::sync::Arc;

/// What a gateway is built from.
#[derive(Clone)]
pub struct Parts {
    /// Who runs functions.
    pub provider: Arc<dyn Provider>,
    /// Where asynchronous invocations are kept; without one `/async-function` is not there.
    pub queue: Option<Arc<dyn Queue>>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// What every request shares: one for all workers, in `web::Data`.
pub(crate) struct State {
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) queue: Option<Arc<dyn Queue>>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Invocations by function: `invocationCount`.
    pub(crate) counters: Counters,
    pub(crate) config: Config,
}

impl State {
    pub(crate) fn new(config: Config, parts: Parts) -> Self {
        let Parts { provider, queue, clock } = parts;
        Self { provider, queue, clock, counters: Counters::default(), config }
    }
}
