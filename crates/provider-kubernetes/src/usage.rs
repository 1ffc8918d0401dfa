//! What functions use, where the cluster measures it: the API group metrics.k8s.io.

use crate::answer::{Refusal, ask};
use kube::Client;
use kubernetes::label;
use serde::Deserialize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use wire::function::Usage;
use wire::{FunctionName, quantity};

/// How long it is not asked for again after it was not there.
const REST: Duration = Duration::from_secs(60);

/// Asks for measurements.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// When there was no answer last.
    absent: Mutex<Option<Instant>>,
}

#[derive(Debug, Deserialize)]
struct Measured {
    #[serde(default)]
    items: Vec<Pod>,
}

#[derive(Debug, Deserialize)]
struct Pod {
    #[serde(default)]
    containers: Vec<Container>,
}

#[derive(Debug, Deserialize)]
struct Container {
    usage: Quantities,
}

#[derive(Debug, Deserialize)]
struct Quantities {
    #[serde(default)]
    cpu: String,
    #[serde(default)]
    memory: String,
}

impl Meter {
    /// What a function uses, where that is known.
    pub(crate) async fn measure(&self, client: &Client, name: &FunctionName) -> Option<Usage> {
        if self.absent().is_some_and(|at| at.elapsed() < REST) {
            return None;
        }
        let uri = format!(
            "/apis/metrics.k8s.io/v1beta1/namespaces/{}/pods?labelSelector={}%3D{}",
            name.namespace(),
            label::FUNCTION,
            name.name()
        );
        let request = http::Request::get(uri).body(Vec::new()).ok()?;
        match ask("measure usage", client.request::<Measured>(request)).await {
            Ok(measured) => sum(&measured),
            Err(refusal) => {
                if !matches!(refusal, Refusal::NotFound(_)) {
                    let error = provider::ProviderError::from(refusal);
                    tracing::debug!(%error, "Usage is not known");
                }
                *self.absent.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                None
            }
        }
    }

    fn absent(&self) -> Option<Instant> {
        *self.absent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sum(measured: &Measured) -> Option<Usage> {
    let containers: Vec<&Container> = measured.items.iter().flat_map(|pod| &pod.containers).collect();
    if containers.is_empty() {
        return None;
    }
    let mut usage = Usage::default();
    for container in containers {
        // Measured in billionths of a core: rounding each to thousandths would make an idle function busy.
        usage.cpu += cores(&container.usage.cpu) * 1000.0;
        usage.total_memory_bytes += quantity::memory(&container.usage.memory).unwrap_or(0) as f64;
    }
    Some(usage)
}

fn cores(text: &str) -> f64 {
    let billionths = text.strip_suffix('n').and_then(|number| number.parse::<f64>().ok());
    billionths.map_or_else(|| quantity::cpu(text).unwrap_or(0) as f64 / 1000.0, |number| number / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_containers_of_all_pods_are_added_up() {
        let measured: Measured = serde_json::from_str(
            r#"{"items":[{"containers":[{"name":"a","usage":{"cpu":"1500000n","memory":"2Mi"}}]},
            {"containers":[{"usage":{"cpu":"2m","memory":"1Mi"}},{"usage":{"cpu":"0","memory":"0"}}]}]}"#,
        )
        .unwrap();
        let usage = sum(&measured).unwrap();
        assert!((usage.cpu - 3.5).abs() < 1e-9, "{}", usage.cpu);
        assert!((usage.total_memory_bytes - 3.0 * 1024.0 * 1024.0).abs() < 1.0);
        assert_eq!(sum(&Measured { items: Vec::new() }), None);
    }
}
