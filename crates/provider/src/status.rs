//! What the REST API says of a function.

use wire::FunctionName;
use wire::function::{FunctionDeployment, FunctionStatus};

/// How a function is, beside what it was deployed as.
#[derive(Clone, Debug)]
pub struct Standing {
    /// When it was first deployed, RFC 3339.
    pub created_at: String,
    /// Replicas wanted.
    pub desired: u32,
    /// Replicas ready.
    pub ready: usize,
}

/// Every field that was deployed, and how the function is. Nothing is counted or measured here.
#[must_use]
pub fn status(name: &FunctionName, deployment: FunctionDeployment, standing: Standing) -> FunctionStatus {
    FunctionStatus {
        name: name.name().to_owned(),
        image: deployment.image,
        namespace: name.namespace().to_owned(),
        env_process: deployment.env_process,
        env_vars: deployment.env_vars,
        constraints: deployment.constraints,
        secrets: deployment.secrets,
        labels: deployment.labels,
        annotations: deployment.annotations,
        limits: deployment.limits,
        requests: deployment.requests,
        read_only_root_filesystem: deployment.read_only_root_filesystem,
        invocation_count: 0.0,
        replicas: standing.desired.into(),
        available_replicas: standing.ready as u64,
        created_at: standing.created_at,
        usage: None,
    }
}
