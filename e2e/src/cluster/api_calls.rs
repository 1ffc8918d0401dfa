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
        let metrics = kubectl(&["get", "--raw", "/metrics"]).await?;
        let schema = format!("flow_schema=\"{}\"", self.0);
        let series = metrics.lines().filter(|line| {
            line.starts_with("apiserver_flowcontrol_dispatched_requests_total{") && line.contains(&schema)
        });
        let counts = series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(counts.map(|count| count as u64).sum())
    }

    /// Stops counting.
    pub async fn forget(self) {
        delete(&["flowschema", &self.0]).await;
    }
}
