//! `profiles.openfaas.com/v1`: what administrators add to functions' pods (kubernetes.md §1).

use k8s_openapi::api::apps::v1::DeploymentStrategy;
use k8s_openapi::api::core::v1::{
    Affinity, PodDNSConfig, PodSecurityContext, ResourceRequirements, Toleration, TopologySpreadConstraint,
};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the functions that name it by the annotation `com.openfaas.profile` get besides their own.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "openfaas.com",
    version = "v1",
    kind = "Profile",
    plural = "profiles",
    namespaced,
    derive = "Default",
    derive = "PartialEq",
    doc = "Settings of pods that functions name by the annotation com.openfaas.profile."
)]
#[serde(rename_all = "camelCase")]
pub struct ProfileSpec {
    /// Appended to the pods' tolerations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerations: Option<Vec<Toleration>>,
    /// The fields that are set here win.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_security_context: Option<PodSecurityContext>,
    /// The fields that are set here win.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "dnsConfig")]
    pub dns_config: Option<PodDNSConfig>,
    /// Merged key by key; the function's own win.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Replaces the pods'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_class_name: Option<String>,
    /// Replaces the pods'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Replaces the pods'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,
    /// Replaces the pods'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_policy: Option<String>,
    /// Replaces the pods'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// `Recreate` is honoured; anything else leaves the rolling update as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<DeploymentStrategy>,
}
