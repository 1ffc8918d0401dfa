//! What the operator counts.

use daemon::health::{Figure, Report};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// The counters. One that waits for the lead is ready: it takes over at once.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    leader: AtomicBool,
    functions: AtomicUsize,
    looks: AtomicU64,
    failures: AtomicU64,
}

impl Metrics {
    /// This operator begins to act, or ends.
    pub(crate) fn leads(&self, leads: bool) {
        self.leader.store(leads, Ordering::Relaxed);
    }

    /// One of so many Functions was looked at.
    pub(crate) fn looked(&self, functions: usize) {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.functions.store(functions, Ordering::Relaxed);
    }

    /// A look ended in an error.
    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

impl Report for Metrics {
    fn figures(&self) -> Vec<Figure> {
        let leader = u64::from(self.leader.load(Ordering::Relaxed));
        let functions = u64::try_from(self.functions.load(Ordering::Relaxed)).unwrap_or(u64::MAX);
        let (looks, failures) = (self.looks.load(Ordering::Relaxed), self.failures.load(Ordering::Relaxed));
        vec![
            Figure::gauge("crema_operator_leader", "1 while this operator acts, 0 while another does", leader),
            Figure::gauge("crema_operator_functions", "Functions that are looked after", functions),
            Figure::counter("crema_operator_reconciles_total", "Looks at a Function", looks),
            Figure::counter(
                "crema_operator_reconcile_errors_total",
                "Looks that ended in an error and are repeated",
                failures,
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemon::{Health, health};
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn who_leads_and_what_was_looked_at_is_served() {
        let metrics = Arc::new(Metrics::default());
        metrics.leads(true);
        metrics.looked(4);
        metrics.looked(3);
        metrics.failed();
        let health = Health::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = health.address();
        let ask = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = health::beside(Some(health), Arc::clone(&metrics), ask).await;
        for line in [
            "crema_operator_leader 1",
            "crema_operator_functions 3",
            "crema_operator_reconciles_total 2",
            "crema_operator_reconcile_errors_total 1",
        ] {
            assert!(answer.lines().any(|given| given == line), "{line}: {answer}");
        }
        metrics.leads(false);
        assert_eq!(metrics.figures()[0].value, 0);
    }
}
