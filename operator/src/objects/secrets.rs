//! Secrets: files under `/var/openfaas/secrets`, or for pulling the image.

use super::{Around, SecretKind};
use crate::Stalled;
use k8s_openapi::api::core::v1::{
    LocalObjectReference, ProjectedVolumeSource, SecretProjection, Volume, VolumeMount, VolumeProjection,
};
use std::collections::BTreeSet;
use wire::SECRET_MOUNT_PATH;
use wire::function::FunctionDeployment;

const VOLUME: &str = "secrets";

/// A function's secrets by what they are for.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    files: Vec<String>,
    pull: Vec<String>,
}

impl Secrets {
    pub(super) fn of(deployment: &FunctionDeployment, namespace: &str, around: &impl Around) -> Result<Self, Stalled> {
        let mut secrets = Self::default();
        let mut missing = Vec::new();
        for name in deployment.secrets.iter().collect::<BTreeSet<_>>() {
            match around.secret(namespace, name) {
                Some(SecretKind::Files) => secrets.files.push(name.clone()),
                Some(SecretKind::Pull) => secrets.pull.push(name.clone()),
                None => missing.push(name.clone()),
            }
        }
        if !missing.is_empty() {
            return Err(Stalled::SecretMissing { names: missing, namespace: namespace.to_owned() });
        }
        Ok(secrets)
    }

    pub(super) fn pull(&self) -> Option<Vec<LocalObjectReference>> {
        let references = self.pull.iter().map(|name| LocalObjectReference { name: name.clone() });
        (!self.pull.is_empty()).then(|| references.collect())
    }

    /// One volume of all of them: each key is a file.
    pub(super) fn volume(&self) -> Option<(Volume, VolumeMount)> {
        if self.files.is_empty() {
            return None;
        }
        let sources = self.files.iter().map(|name| VolumeProjection {
            secret: Some(SecretProjection { name: name.clone(), ..SecretProjection::default() }),
            ..VolumeProjection::default()
        });
        let volume = Volume {
            name: VOLUME.to_owned(),
            projected: Some(ProjectedVolumeSource { sources: Some(sources.collect()), ..Default::default() }),
            ..Volume::default()
        };
        let mount = VolumeMount {
            name: VOLUME.to_owned(),
            mount_path: SECRET_MOUNT_PATH.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        };
        Some((volume, mount))
    }
}
