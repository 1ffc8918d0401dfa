//! What Prometheus is told, under OpenFaaS's names.
//!
//! Only deployed functions get a label: a name that a client makes up leaves no trace, and a deleted function's series
//! go with it.

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};
use queue::Counts;
use std::time::Duration;

const FUNCTION: &str = "function_name";
const CODE: &str = "code";
/// Waits for a replica take from a millisecond (a process) to what `scale_wait` allows.
const COLD_SECONDS: [f64; 16] =
    [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// All series.
pub(crate) struct Metrics {
    registry: Registry,
    started: IntCounterVec,
    in_flight: IntGaugeVec,
    total: IntCounterVec,
    seconds: HistogramVec,
    replicas: GaugeVec,
    cold_starts: IntCounterVec,
    cold_waits: HistogramVec,
    pub(crate) cold_waiting: IntGauge,
    queue_pending: IntGauge,
    queue_dead: IntGauge,
    pub(crate) peers_silent: IntGauge,
}

/// One function's series, looked up once.
pub(crate) struct FunctionMetrics {
    pub(crate) started: IntCounter,
    pub(crate) in_flight: IntGauge,
    pub(crate) cold_starts: IntCounter,
    pub(crate) cold_waits: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let histogram = |name: &str, help: &str, labels: &[&str]| {
            let histogram = HistogramVec::new(HistogramOpts::new(name, help), labels)?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let cold_waits = "How long calls waited because no replica was ready.";
        let cold_waits = HistogramOpts::new("gateway_cold_wait_seconds", cold_waits).buckets(COLD_SECONDS.into());
        let cold_waits = HistogramVec::new(cold_waits, &[FUNCTION])?;
        registry.register(Box::new(cold_waits.clone()))?;
        let in_flight = Opts::new("gateway_function_invocation_inflight", "Calls begun and not ended.");
        let in_flight = IntGaugeVec::new(in_flight, &[FUNCTION])?;
        registry.register(Box::new(in_flight.clone()))?;
        let replicas = GaugeVec::new(Opts::new("gateway_service_count", "Replicas wanted."), &[FUNCTION])?;
        registry.register(Box::new(replicas.clone()))?;
        Ok(Self {
            started: counter("gateway_function_invocation_started", "Calls begun.", &[FUNCTION])?,
            total: counter("gateway_function_invocation_total", "Calls ended.", &[FUNCTION, CODE])?,
            seconds: histogram("gateway_functions_seconds", "How long calls took.", &[FUNCTION, CODE])?,
            cold_starts: counter("gateway_cold_starts_total", "Starts from zero that a call asked for.", &[FUNCTION])?,
            cold_waits,
            cold_waiting: gauge("gateway_cold_waiting", "Calls that wait for a replica.")?,
            queue_pending: gauge("gateway_queue_pending", "Asynchronous calls waiting or under way.")?,
            queue_dead: gauge("gateway_queue_dead", "Asynchronous calls given up.")?,
            peers_silent: gauge("gateway_peers_silent", "Other gateways that did not answer when last asked.")?,
            in_flight,
            replicas,
            registry,
        })
    }

    /// A deployed function's series.
    pub(crate) fn function(&self, name: &str) -> FunctionMetrics {
        FunctionMetrics {
            started: self.started.with_label_values(&[name]),
            in_flight: self.in_flight.with_label_values(&[name]),
            cold_starts: self.cold_starts.with_label_values(&[name]),
            cold_waits: self.cold_waits.with_label_values(&[name]),
        }
    }

    /// A deployed function's series of one status code.
    pub(crate) fn ended(&self, name: &str, code: u16) -> (IntCounter, Histogram) {
        let code = code.to_string();
        let labels = [name, code.as_str()];
        (self.total.with_label_values(&labels), self.seconds.with_label_values(&labels))
    }

    pub(crate) fn replicas(&self, name: &str) -> Gauge {
        self.replicas.with_label_values(&[name])
    }

    /// Forgets a deleted function.
    pub(crate) fn forget(&self, name: &str) {
        // An error says that there was nothing to forget.
        self.started.remove_label_values(&[name]).unwrap_or_default();
        self.in_flight.remove_label_values(&[name]).unwrap_or_default();
        self.cold_starts.remove_label_values(&[name]).unwrap_or_default();
        self.cold_waits.remove_label_values(&[name]).unwrap_or_default();
        self.replicas.remove_label_values(&[name]).unwrap_or_default();
        for code in 100..1000_u16 {
            let code = code.to_string();
            self.total.remove_label_values(&[name, code.as_str()]).unwrap_or_default();
            self.seconds.remove_label_values(&[name, code.as_str()]).unwrap_or_default();
        }
    }

    /// The text of a scrape.
    pub(crate) fn text(&self, queue: Option<Counts>) -> Result<String, prometheus::Error> {
        if let Some(Counts { pending, dead }) = queue {
            self.queue_pending.set(i64::try_from(pending).unwrap_or(i64::MAX));
            self.queue_dead.set(i64::try_from(dead).unwrap_or(i64::MAX));
        }
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Seconds as Prometheus wants them.
pub(crate) fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
