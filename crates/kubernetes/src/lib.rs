//! What Crema says to Kubernetes: the custom resources `Function` and `Profile` of group `openfaas.com` as Rust types,
//! the names of labels and conditions, and a client. The operator and the Kubernetes provider share it.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod client;
pub mod condition;
mod function;
pub mod label;
mod profile;

pub use client::{ClientError, SILENCE, WATCH_SECONDS, client, client_with_patience};
pub use function::{
    AppliedProfile, Function, FunctionSpec, FunctionState, MAX_REPLICAS, ProfileRef, Resources, at_least,
};
pub use profile::{Profile, ProfileSpec};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// Annotation that keeps an object when the Helm release it came with goes.
const HELM_POLICY: (&str, &str) = ("helm.sh/resource-policy", "keep");

/// The custom resource definitions, as the chart installs them.
#[must_use]
pub fn definitions() -> [CustomResourceDefinition; 2] {
    [Function::crd(), Profile::crd()].map(|mut definition| {
        let annotations = definition.metadata.annotations.get_or_insert_default();
        annotations.insert(HELM_POLICY.0.to_owned(), HELM_POLICY.1.to_owned());
        definition
    })
}
