//! What a Function becomes: a Deployment, a Service and, with a data directory, a claim; or a reason why not.
//!
//! Pure: nothing here talks to anyone. [`build`] reads the Function, the profiles it names and the kinds of its secrets;
//! [`crate::apply`] writes what comes out.

mod container;
mod data;
mod metadata;
mod placement;
mod probe;
mod profile;
mod resources;
mod secrets;

pub use metadata::{ANNOTATION_APPLIED, ANNOTATION_REVISION};

use crate::{Config, Stalled};
use data::Data;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PodSpec, Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kubernetes::{AppliedProfile, Function, Profile, label};
use metadata::Metadata;
use profile::Merged;
use secrets::Secrets;
use std::sync::Arc;
use wire::function::FunctionDeployment;
use wire::image_reference::ImageReference;

/// The port functions serve on, its Service too.
pub const PORT: i32 = 8080;
/// The port's name.
pub const PORT_NAME: &str = "http";
/// Old ReplicaSets kept for `kubectl rollout undo`; each is an object in every store.
const HISTORY: i32 = 2;
const RECREATE: &str = "Recreate";

/// What is around a Function.
pub trait Around {
    /// What a secret of a namespace is for, when it is there.
    fn secret(&self, namespace: &str, name: &str) -> Option<SecretKind>;
    /// A profile.
    fn profile(&self, name: &str) -> Option<Arc<Profile>>;
}

/// What a secret is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SecretKind {
    /// Files under `/var/openfaas/secrets`.
    Files,
    /// Pulling the image.
    Pull,
}

/// What a Function becomes.
#[derive(Clone, Debug, PartialEq)]
pub struct Objects {
    /// Runs it.
    pub deployment: Deployment,
    /// Reaches it.
    pub service: Service,
    /// Holds its data.
    pub claim: Option<PersistentVolumeClaim>,
    /// The profiles merged in.
    pub profiles: Vec<AppliedProfile>,
    /// What was asked for and is not given, in words.
    pub notes: Vec<String>,
}

/// The replicas a Function asks for.
#[must_use]
pub fn replicas(function: &Function) -> i32 {
    function.spec.replicas.unwrap_or_else(|| least(function)).max(0)
}

/// The fewest replicas of a Function that is not at zero: its label, or one.
#[must_use]
pub fn least(function: &Function) -> i32 {
    i32::try_from(kubernetes::at_least(function.spec.labels.as_ref())).unwrap_or(i32::MAX)
}

/// Puts the objects together.
pub fn build(function: &Function, around: &impl Around, config: &Config) -> Result<Objects, Stalled> {
    let name = function.metadata.name.as_deref().unwrap_or_default();
    let namespace = function.metadata.namespace.as_deref().unwrap_or_default();
    let deployment = function.spec.deployment(namespace);
    names_agree(name, &deployment)?;
    deployment.image.parse::<ImageReference>().map_err(Stalled::BadImage)?;
    let metadata = Metadata::of(function, &deployment)?;
    let profile = Merged::of(&deployment, around, config)?;
    let secrets = Secrets::of(&deployment, namespace, around)?;
    let data = Data::of(&deployment)?;
    let mut notes = Vec::new();

    let wanted = replicas(function);
    let given = if data.is_some() { wanted.min(1) } else { wanted };
    if given < wanted {
        notes.push(format!("{wanted} replicas are asked for, but a data directory belongs to one: 1 runs"));
    }
    let pod = container::pod(name, &deployment, &function.spec, &profile, &secrets, data.as_ref(), config)?;
    Ok(Objects {
        deployment: Deployment {
            metadata: metadata.object(function),
            spec: Some(DeploymentSpec {
                replicas: Some(given),
                selector: LabelSelector { match_labels: Some(metadata.selector()), ..LabelSelector::default() },
                strategy: Some(strategy(data.is_some() || profile.recreate())),
                revision_history_limit: Some(HISTORY),
                progress_deadline_seconds: Some(seconds(config.progress_deadline)),
                template: metadata.template(pod),
                ..DeploymentSpec::default()
            }),
            status: None,
        },
        service: Service {
            metadata: metadata.object(function),
            spec: Some(ServiceSpec {
                type_: Some("ClusterIP".to_owned()),
                selector: Some(metadata.selector()),
                ports: Some(vec![ServicePort {
                    name: Some(PORT_NAME.to_owned()),
                    port: PORT,
                    protocol: Some("TCP".to_owned()),
                    target_port: Some(IntOrString::Int(PORT)),
                    ..ServicePort::default()
                }]),
                ..ServiceSpec::default()
            }),
            status: None,
        },
        claim: data.map(|data| data.claim(name, namespace, config)),
        profiles: profile.applied,
        notes,
    })
}

pub(crate) use data::size as claim_size;

fn names_agree(name: &str, deployment: &FunctionDeployment) -> Result<(), Stalled> {
    if deployment.service != name {
        return Err(Stalled::NameDiffers { name: name.to_owned(), given: deployment.service.clone() });
    }
    if name.starts_with(|first: char| !first.is_ascii_lowercase()) {
        return Err(Stalled::BadName(name.to_owned()));
    }
    Ok(())
}

/// One at a time, so that a box without room for two of everything can update; no replica goes before its successor
/// is ready.
fn strategy(recreate: bool) -> DeploymentStrategy {
    if recreate {
        return DeploymentStrategy { type_: Some(RECREATE.to_owned()), rolling_update: None };
    }
    DeploymentStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDeployment {
            max_surge: Some(IntOrString::Int(1)),
            max_unavailable: Some(IntOrString::Int(0)),
        }),
    }
}

fn seconds(duration: std::time::Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX).max(1)
}

/// The pods' selector of a function, as text.
#[must_use]
pub fn selector(name: &str) -> String {
    format!("{}={name}", label::FUNCTION)
}

/// The pod of a Deployment that was built here.
#[must_use]
pub fn pod_of(deployment: &Deployment) -> Option<&PodSpec> {
    deployment.spec.as_ref()?.template.spec.as_ref()
}

#[cfg(test)]
mod tests;
