//! What the operator counts.

use prometheus::{Encoder, IntCounter, IntGauge, Opts, Registry, TextEncoder};

/// The counters.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// 1 while this operator acts.
    pub(crate) leader: IntGauge,
    /// Functions that are looked after.
    pub(crate) functions: IntGauge,
    /// Looks at a Function.
    pub(crate) looks: IntCounter,
    /// Looks that ended in an error and are repeated.
    pub(crate) failures: IntCounter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let registry = Registry::new();
        let gauge = |name, help| {
            let gauge = IntGauge::with_opts(Opts::new(name, help)).expect("the names are well-formed");
            registry.register(Box::new(gauge.clone())).expect("each name is registered once");
            gauge
        };
        let counter = |name, help| {
            let counter = IntCounter::with_opts(Opts::new(name, help)).expect("the names are well-formed");
            registry.register(Box::new(counter.clone())).expect("each name is registered once");
            counter
        };
        Self {
            leader: gauge("crema_operator_leader", "1 while this operator acts, 0 while another does"),
            functions: gauge("crema_operator_functions", "Functions that are looked after"),
            looks: counter("crema_operator_reconciles_total", "Looks at a Function"),
            failures: counter("crema_operator_reconcile_errors_total", "Looks that ended in an error and are repeated"),
            registry,
        }
    }

    /// In Prometheus's text format.
    pub(crate) fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("a Vec takes everything");
        text
    }
}
