//! What every request shares.

use crate::config::Config;
use crate::counters::Counters;
use crate::metrics::Metrics;
use crate::peers::Peers;
use crate::scaler::Scaler;
use daemon::Clock;
use provider::Provider;
use queue::Queue;
use std::sync::Arc;
use wire::FunctionName;
use wire::name::NameError;

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
    pub(crate) metrics: Metrics,
    pub(crate) scaler: Scaler,
    pub(crate) peers: Option<Peers>,
    pub(crate) config: Config,
}

impl State {
    pub(crate) fn new(config: Config, parts: Parts, metrics: Metrics, counters: Counters) -> Self {
        let Parts { provider, queue, clock } = parts;
        let scaler = Scaler::new(Arc::clone(&provider), config.scale_wait, config.scale_max_waiting);
        let peers = Peers::new(&config);
        Self { provider, queue, clock, counters, metrics, scaler, peers, config }
    }

    /// Reads `name` or `name.namespace`; without a namespace it is the provider's default one.
    pub(crate) fn name(&self, text: &str) -> Result<FunctionName, NameError> {
        if text.contains('.') { text.parse() } else { FunctionName::new(text, self.provider.default_namespace()) }
    }
}
