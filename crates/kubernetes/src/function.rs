//! `functions.openfaas.com/v1`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wire::function::{FunctionDeployment, TextMap};

/// A function to run. The object's name is the function's.
#[expect(clippy::duplicated_attributes, reason = "columns of one type")]
#[derive(Clone, CustomResource, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "openfaas.com",
    version = "v1",
    kind = "Function",
    plural = "functions",
    shortname = "fn",
    namespaced,
    status = "FunctionState",
    derive = "Default",
    derive = "PartialEq",
    doc = "A function that Crema runs as a Deployment and a Service of its name.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        priority = 1
    ),
    printcolumn(name = "Healthy", type_ = "string", json_path = ".status.conditions[?(@.type==\"Healthy\")].status"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.replicas"),
    printcolumn(name = "Available", type_ = "integer", json_path = ".status.availableReplicas"),
    printcolumn(name = "Unavailable", type_ = "integer", json_path = ".status.unavailableReplicas", priority = 1),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Stalled\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct FunctionSpec {
    /// The function's name: the object's.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The image reference.
    #[schemars(length(min = 1))]
    pub image: String,
    /// The command that the watchdog runs instead of the image's: its variable `fprocess`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    /// Annotations, on the Deployment, its pods and the Service too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<TextMap>,
    /// Labels, on the pods too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<TextMap>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<TextMap>,
    /// Which nodes will do, `label=value` each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraints: Option<Vec<String>>,
    /// Names of Secrets of the same namespace: files under /var/openfaas/secrets, or, of type docker config, for
    /// pulling the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Vec<String>>,
    /// What it may use at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Resources>,
    /// What is set aside for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Resources>,
    /// Whether the root file system is read-only; /tmp is writable all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only_root_filesystem: Option<bool>,
    /// Replicas. Written through the `scale` subresource only, never by Git: whoever scales owns it. When it is absent,
    /// the label `com.openfaas.scale.min` or 1 holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub replicas: Option<i32>,
}

/// Quantities of memory and CPU; an empty one is none.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Resources {
    /// Memory, such as 128Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// CPU, such as 200m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
}

/// What is seen of a Function: its `status`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionState {
    /// Ready, Healthy, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Replicas there are.
    #[serde(default)]
    pub replicas: i32,
    /// Of those, ready ones.
    #[serde(default)]
    pub available_replicas: i32,
    /// Of those wanted, such as are not ready.
    #[serde(default)]
    pub unavailable_replicas: i32,
    /// The generation that this was written about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The pods' selector as text, for whoever scales.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The profiles that were merged in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<AppliedProfile>,
}

/// A profile as it was when it was merged in.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AppliedProfile {
    /// Which.
    pub profile_ref: ProfileRef,
    /// Its generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Names a profile.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct ProfileRef {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
}

impl From<&FunctionDeployment> for FunctionSpec {
    /// The spec without `replicas`: that is the scaler's.
    fn from(deployment: &FunctionDeployment) -> Self {
        Self {
            name: deployment.service.clone(),
            image: deployment.image.clone(),
            handler: some(&deployment.env_process, String::is_empty),
            annotations: some(&deployment.annotations, BTreeMap::is_empty),
            labels: some(&deployment.labels, BTreeMap::is_empty),
            environment: some(&deployment.env_vars, BTreeMap::is_empty),
            constraints: some(&deployment.constraints, Vec::is_empty),
            secrets: some(&deployment.secrets, Vec::is_empty),
            limits: deployment.limits.as_ref().map(Resources::from),
            requests: deployment.requests.as_ref().map(Resources::from),
            // In OpenFaaS's API false is what nobody has said: the operator's default holds then.
            read_only_root_filesystem: deployment.read_only_root_filesystem.then_some(true),
            replicas: None,
        }
    }
}

impl FunctionSpec {
    /// The deployment it stands for, in a namespace.
    #[must_use]
    pub fn deployment(&self, namespace: &str) -> FunctionDeployment {
        FunctionDeployment {
            service: self.name.clone(),
            image: self.image.clone(),
            namespace: namespace.to_owned(),
            env_process: self.handler.clone().unwrap_or_default(),
            env_vars: self.environment.clone().unwrap_or_default(),
            constraints: self.constraints.clone().unwrap_or_default(),
            secrets: self.secrets.clone().unwrap_or_default(),
            labels: self.labels.clone().unwrap_or_default(),
            annotations: self.annotations.clone().unwrap_or_default(),
            limits: self.limits.as_ref().map(wire::function::Resources::from),
            requests: self.requests.as_ref().map(wire::function::Resources::from),
            read_only_root_filesystem: self.read_only_root_filesystem.unwrap_or_default(),
        }
    }
}

/// The most replicas that a label may ask for.
pub const MAX_REPLICAS: u32 = 1000;

/// The fewest replicas of a function that is not at zero: its label `com.openfaas.scale.min`, or 1. What Git brings is
/// checked by nobody: nonsense counts as 1.
#[must_use]
pub fn at_least(labels: Option<&TextMap>) -> u32 {
    let least = labels.and_then(|labels| labels.get(wire::label::SCALE_MIN)?.trim().parse().ok());
    least.unwrap_or(1).clamp(1, MAX_REPLICAS)
}

impl From<&wire::function::Resources> for Resources {
    fn from(resources: &wire::function::Resources) -> Self {
        Self { memory: some(&resources.memory, String::is_empty), cpu: some(&resources.cpu, String::is_empty) }
    }
}

impl From<&Resources> for wire::function::Resources {
    fn from(resources: &Resources) -> Self {
        Self {
            memory: resources.memory.clone().unwrap_or_default(),
            cpu: resources.cpu.clone().unwrap_or_default(),
            ..Self::default()
        }
    }
}

fn some<T: Clone>(value: &T, is_empty: impl Fn(&T) -> bool) -> Option<T> {
    (!is_empty(value)).then(|| value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_comes_back_as_it_was() {
        let body = r#"{"service":"hello","image":"owner/hello:0.2.0","namespace":"shop","envProcess":"cat",
            "envVars":{"LOG":"debug"},"labels":{"a":"b"},"annotations":{"topic":"orders"},"secrets":["key"],
            "constraints":["disk=ssd"],"limits":{"memory":"128Mi","cpu":"200m"},"requests":{"memory":"64Mi"},
            "readOnlyRootFilesystem":true}"#;
        let deployment: FunctionDeployment = serde_json::from_str(body).unwrap();
        assert_eq!(FunctionSpec::from(&deployment).deployment("shop"), deployment);
        let least = FunctionDeployment { service: "a".to_owned(), image: "b".to_owned(), ..Default::default() };
        let spec = serde_json::to_string(&FunctionSpec::from(&least)).unwrap();
        assert_eq!(spec, r#"{"name":"a","image":"b"}"#);
    }
}
