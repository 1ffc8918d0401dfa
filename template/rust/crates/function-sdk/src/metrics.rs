//! Counts of calls in Prometheus's text format, under OpenFaaS's names.

use hyper::http::{Method, StatusCode};
use prometheus::{CounterVec, Encoder, Gauge, HistogramOpts, HistogramVec, Opts, Registry, TextEncoder};

/// The counts of one function.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: CounterVec,
    durations: HistogramVec,
    in_flight: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        const LABELS: [&str; 2] = ["code", "method"];
        let valid = "constant names are valid";
        let requests = CounterVec::new(Opts::new("http_requests_total", "Calls answered."), &LABELS).expect(valid);
        let durations = HistogramVec::new(
            HistogramOpts::new("http_request_duration_seconds", "Seconds from a call's head to its answer's end."),
            &LABELS,
        )
        .expect(valid);
        let in_flight = Gauge::new("http_requests_in_flight", "Calls being answered.").expect(valid);
        let registry = Registry::new();
        registry.register(Box::new(requests.clone())).expect("names differ");
        registry.register(Box::new(durations.clone())).expect("names differ");
        registry.register(Box::new(in_flight.clone())).expect("names differ");
        Self { registry, requests, durations, in_flight }
    }

    pub(crate) fn begin(&self) {
        self.in_flight.inc();
    }

    pub(crate) fn end(&self, status: StatusCode, method: &Method, seconds: f64) {
        self.in_flight.dec();
        let labels = [status.as_str(), label(method)];
        self.requests.with_label_values(&labels).inc();
        self.durations.with_label_values(&labels).observe(seconds);
    }

    pub(crate) fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("a vector takes all bytes");
        text
    }
}

/// A method as a label: callers must not be able to make up new ones.
fn label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "get",
        "POST" => "post",
        "PUT" => "put",
        "DELETE" => "delete",
        "PATCH" => "patch",
        "HEAD" => "head",
        "OPTIONS" => "options",
        _ => "other",
    }
}
