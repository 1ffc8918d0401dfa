//! Bodies of `/system/functions` and its neighbours (gateway-api §2.1).

use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// A map of text, as environment, labels and annotations are.
pub type TextMap = BTreeMap<String, String>;

/// What to run: the body of POST and PUT `/system/functions`. Unknown and old fields are ignored; `null` is empty.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionDeployment {
    /// The function's name, required.
    #[serde(default, deserialize_with = "or_default")]
    pub service: String,
    /// The image reference, required.
    #[serde(default, deserialize_with = "or_default")]
    pub image: String,
    /// The namespace; the default one when empty.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Overrides the image's `fprocess`.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub env_process: String,
    /// Environment.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub env_vars: TextMap,
    /// Placement constraints, `key=value`.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<String>,
    /// Names of secrets to mount.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Labels.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: TextMap,
    /// Annotations.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: TextMap,
    /// Upper bounds of resources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Resources>,
    /// Resources set aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Resources>,
    /// Whether the root file system is read-only.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_false")]
    pub read_only_root_filesystem: bool,
}

/// Resource quantities as text, as they were written.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Resources {
    /// Memory, a Kubernetes quantity.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub memory: String,
    /// CPU, a Kubernetes quantity.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub cpu: String,
    /// GPUs by vendor resource name, and whatever else was given.
    #[serde(flatten)]
    pub others: BTreeMap<String, String>,
}

/// What is deployed and how it is: an element of GET `/system/functions`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionStatus {
    /// The function's name.
    pub name: String,
    /// The image reference as deployed.
    pub image: String,
    /// The namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The command that overrides the image's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub env_process: String,
    /// Environment.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub env_vars: TextMap,
    /// Placement constraints.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<String>,
    /// Names of mounted secrets.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Labels.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: TextMap,
    /// Annotations.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: TextMap,
    /// Upper bounds of resources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Resources>,
    /// Resources set aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Resources>,
    /// Whether the root file system is read-only.
    #[serde(default, skip_serializing_if = "is_false")]
    pub read_only_root_filesystem: bool,
    /// Calls since the counters began.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub invocation_count: f64,
    /// Replicas wanted.
    #[serde(default, skip_serializing_if = "is_none_left")]
    pub replicas: u64,
    /// Replicas ready for calls.
    #[serde(default, skip_serializing_if = "is_none_left")]
    pub available_replicas: u64,
    /// When it was first deployed, RFC 3339.
    #[serde(default = "never")]
    pub created_at: String,
    /// What it uses now, when asked for and known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// What a function uses at this moment, over all its replicas.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// CPU in thousandths of a core.
    #[serde(default)]
    pub cpu: f64,
    /// Memory in bytes.
    #[serde(default)]
    pub total_memory_bytes: f64,
}

/// Body of DELETE `/system/functions`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteFunction {
    /// The function to delete.
    #[serde(default)]
    pub function_name: String,
    /// Its namespace; the query's or the default one when empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// Body of POST `/system/scale-function/NAME`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScaleFunction {
    /// The function; the path names it too.
    #[serde(default)]
    pub service_name: String,
    /// Replicas wanted.
    pub replicas: u64,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// The zero time Go prints for an unknown moment.
#[must_use]
pub fn never() -> String {
    "0001-01-01T00:00:00Z".to_owned()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_none_left(value: &u64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_deploy_body_round_trips() {
        let body = r#"{"service":"hello","image":"owner/hello:0.2.0","envVars":{"LOG":"debug"},"labels":{},"annotations":{"topic":"orders"},"limits":{"memory":"128Mi","cpu":"200m"},"readOnlyRootFilesystem":true,"registryAuth":"x","network":"y"}"#;
        let deployment: FunctionDeployment = serde_json::from_str(body).unwrap();
        assert_eq!(deployment.service, "hello");
        assert_eq!(deployment.limits.as_ref().unwrap().memory, "128Mi");
        assert!(deployment.read_only_root_filesystem);
        let again: FunctionDeployment = serde_json::from_str(&serde_json::to_string(&deployment).unwrap()).unwrap();
        assert_eq!(again, deployment);
    }

    #[test]
    fn null_is_empty() {
        let body = r#"{"service":"a","image":"b","labels":null,"annotations":null,"secrets":null,"limits":null}"#;
        let deployment: FunctionDeployment = serde_json::from_str(body).unwrap();
        assert!(deployment.labels.is_empty() && deployment.secrets.is_empty());
    }

    #[test]
    fn a_status_omits_what_is_empty_but_never_created_at() {
        let status = FunctionStatus {
            name: "a".to_owned(),
            image: "b".to_owned(),
            created_at: never(),
            ..FunctionStatus::default()
        };
        assert_eq!(
            serde_json::to_string(&status).unwrap(),
            r#"{"name":"a","image":"b","createdAt":"0001-01-01T00:00:00Z"}"#
        );
    }
}
