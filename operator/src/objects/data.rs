//! The data directory: a claim that outlives the Function, as a directory on one box does. Deleting a function keeps its
//! data; deleting the claim purges it.

use super::metadata::own_labels;
use crate::{Config, Stalled};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource, Volume, VolumeMount,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kubernetes::label;
use std::collections::BTreeMap;
use wire::annotation::{DATA_PATH, DATA_SIZE};
use wire::function::FunctionDeployment;
use wire::quantity;

const VOLUME: &str = "data";
const DEFAULT_SIZE: &str = "1Gi";

/// A data directory.
#[derive(Debug)]
pub(super) struct Data {
    /// Where the function sees it.
    pub(super) path: String,
    size: String,
}

impl Data {
    pub(super) fn of(deployment: &FunctionDeployment) -> Result<Option<Self>, Stalled> {
        let Some(path) = deployment.annotations.get(DATA_PATH) else { return Ok(None) };
        let odd = |part: &str| part == ".." || part == "." || part.contains(':');
        if !path.starts_with('/') || path.trim_matches('/').is_empty() || path.split('/').any(odd) {
            return Err(Stalled::annotation(DATA_PATH, path, "give an absolute path inside the function, like /data"));
        }
        let size = deployment.annotations.get(DATA_SIZE).map_or(DEFAULT_SIZE, |size| size.trim());
        match quantity::memory(size) {
            Ok(0) => Err(Stalled::annotation(DATA_SIZE, size, "give a size above zero, like 1Gi")),
            Ok(_) => Ok(Some(Self { path: path.clone(), size: size.to_owned() })),
            Err(error) => Err(Stalled::annotation(DATA_SIZE, size, error)),
        }
    }

    pub(super) fn volume(&self, function: &str) -> (Volume, VolumeMount) {
        let claim = PersistentVolumeClaimVolumeSource { claim_name: label::data_claim(function), ..Default::default() };
        let volume = Volume { name: VOLUME.to_owned(), persistent_volume_claim: Some(claim), ..Volume::default() };
        let mount = VolumeMount { name: VOLUME.to_owned(), mount_path: self.path.clone(), ..VolumeMount::default() };
        (volume, mount)
    }

    /// Without an owner: it stays when the Function goes.
    pub(super) fn claim(&self, function: &str, namespace: &str, config: &Config) -> PersistentVolumeClaim {
        let requests = BTreeMap::from([("storage".to_owned(), Quantity(self.size.clone()))]);
        PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(label::data_claim(function)),
                namespace: Some(namespace.to_owned()),
                labels: Some(own_labels(function)),
                ..ObjectMeta::default()
            },
            spec: Some(PersistentVolumeClaimSpec {
                access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
                storage_class_name: config.storage_class.clone(),
                resources: Some(VolumeResourceRequirements { requests: Some(requests), limits: None }),
                ..PersistentVolumeClaimSpec::default()
            }),
            status: None,
        }
    }
}

/// What a claim asks for.
pub(crate) fn size(claim: &PersistentVolumeClaim) -> Option<&str> {
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    requests.get("storage").map(|size| size.0.as_str())
}
