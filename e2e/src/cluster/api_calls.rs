//! How many requests a service account makes to the API server, counted by the server itself: a FlowSchema of its own
//! makes them a series of `apiserver_flowcontrol_dispatched_requests_total`.

use super::kubectl::{apply, delete, kubectl};
use serde_json::json;

/// Counts the requests of one service account until it is dropped with [`Counted::forget`].
#[derive(Debug)]
pub struct Counted(String);

impl Counted {
    /// Begins to count.
    pub async fn begin(namespace: &str, account: &str) -> Self {
        let name = format!("e2e-{namespace}-{account}");
        let subject = json!({"kind": "ServiceAccount", "serviceAccount": {"name": account, "namespace": namespace}});
        let schema = json!({
            "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
            "kind": "FlowSchema",
            "metadata": {"name": name},
            "spec": {
                "priorityLevelConfiguration": {"name": "workload-high"},
                // Before all that come with Kubernetes for service accounts.
                "matchingPrecedence": 500,
                "rules": [{
                    "subjects": [subject],
                    "resourceRules": [{
                        "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true
                    }],
                    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                }],
            },
        });
        apply(&schema).await.unwrap();
        Self(name)
    }

    /// Requests so far.
    pub async fn so_far(&self) -> Result<u64, String> {
        dispatched(&format!("flow_schema=\"{}\"", self.0)).await
    }

    /// Stops counting.
    pub async fn forget(self) {
        delete(&["flowschema", &self.0]).await;
    }
}

/// Requests of everyone so far.
pub async fn of_all() -> Result<u64, String> {
    dispatched("").await
}

/// The requests of the series that have `mark` among their labels.
async fn dispatched(mark: &str) -> Result<u64, String> {
    let metrics = kubectl(&["get", "--raw", "/metrics"]).await?;
    let series = metrics
        .lines()
        .filter(|line| line.starts_with("apiserver_flowcontrol_dispatched_requests_total{") && line.contains(mark));
    let counts = series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(counts.map(|count| count as u64).sum())
}
