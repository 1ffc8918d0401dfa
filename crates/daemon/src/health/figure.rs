//! A figure, and the text in which Prometheus reads it.

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntGauge, Opts, TextEncoder};

/// One figure, as Prometheus is told it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// What it is now.
    pub value: u64,
}

/// How a figure moves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
}

impl Figure {
    /// What only grows.
    #[must_use]
    pub fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, kind: Kind::Counter, value }
    }

    /// What goes up and down.
    #[must_use]
    pub fn gauge(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, kind: Kind::Gauge, value }
    }

    fn families(&self) -> Result<Vec<MetricFamily>, prometheus::Error> {
        let options = Opts::new(self.name, self.help);
        Ok(match self.kind {
            Kind::Counter => {
                let counter = IntCounter::with_opts(options)?;
                counter.inc_by(self.value);
                counter.collect()
            }
            Kind::Gauge => {
                let gauge = IntGauge::with_opts(options)?;
                gauge.set(i64::try_from(self.value).unwrap_or(i64::MAX));
                gauge.collect()
            }
        })
    }
}

/// All of them. A name that Prometheus would not take is an error.
pub(super) fn exposition(figures: &[Figure]) -> Result<String, prometheus::Error> {
    let families = figures.iter().map(Figure::families).collect::<Result<Vec<_>, _>>()?.concat();
    TextEncoder::new().encode_to_string(&families)
}
