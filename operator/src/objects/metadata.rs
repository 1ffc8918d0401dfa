//! Names, labels, annotations and owners of what a Function becomes.

use crate::Stalled;
use crate::stalled::ANNOTATION_BYTES;
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use kubernetes::{Function, label};
use std::collections::BTreeMap;
use wire::function::{FunctionDeployment, TextMap};

/// On what was applied: which content, so that what was taken out of a Function is taken out of its objects too.
pub const ANNOTATION_APPLIED: &str = "com.crema.applied";
/// On pods: which template they were made of, so that trouble of former ones is not taken for that of the latest.
pub const ANNOTATION_REVISION: &str = "com.crema.revision";

/// Keeps Prometheus from scraping functions' pods by discovery, as OpenFaaS has it (kubernetes.md §2).
const NO_SCRAPE: (&str, &str) = ("prometheus.io.scrape", "false");

/// Labels and annotations of a function's objects.
#[derive(Debug)]
pub(super) struct Metadata {
    name: String,
    labels: TextMap,
    annotations: TextMap,
}

impl Metadata {
    pub(super) fn of(function: &Function, deployment: &FunctionDeployment) -> Result<Self, Stalled> {
        let name = function.metadata.name.clone().unwrap_or_default();
        let mut annotations = deployment.annotations.clone();
        annotations.entry(NO_SCRAPE.0.to_owned()).or_insert_with(|| NO_SCRAPE.1.to_owned());
        let bytes = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
        // Room for ours and Kubernetes' own.
        if bytes > ANNOTATION_BYTES - 4096 {
            return Err(Stalled::AnnotationsTooLarge { bytes });
        }
        let mut labels = deployment.labels.clone();
        labels.extend(own_labels(&name));
        Ok(Self { name, labels, annotations })
    }

    /// Of an object that goes with its Function.
    pub(super) fn object(&self, function: &Function) -> ObjectMeta {
        ObjectMeta {
            name: Some(self.name.clone()),
            namespace: function.metadata.namespace.clone(),
            labels: Some(self.labels.clone()),
            annotations: Some(self.annotations.clone()),
            owner_references: Some(vec![owner(function)]),
            ..ObjectMeta::default()
        }
    }

    pub(super) fn template(&self, pod: PodSpec) -> PodTemplateSpec {
        let mut template = PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(self.labels.clone()),
                annotations: Some(self.annotations.clone()),
                ..ObjectMeta::default()
            }),
            spec: Some(pod),
        };
        let revision = crate::digest::of(&template);
        if let Some(annotations) = template.metadata.as_mut().and_then(|metadata| metadata.annotations.as_mut()) {
            annotations.insert(ANNOTATION_REVISION.to_owned(), revision);
        }
        template
    }

    pub(super) fn selector(&self) -> TextMap {
        BTreeMap::from([(label::FUNCTION.to_owned(), self.name.clone())])
    }
}

/// The labels by which objects are known as a function's; they win over the function's own.
pub(super) fn own_labels(function: &str) -> TextMap {
    BTreeMap::from([
        (label::FUNCTION.to_owned(), function.to_owned()),
        (label::MANAGED_BY.to_owned(), label::MANAGED_BY_OPERATOR.to_owned()),
    ])
}

/// Deletes the object with the Function. Deletion of the Function does not wait for it, which would take the right to
/// write finalizers.
fn owner(function: &Function) -> OwnerReference {
    OwnerReference {
        api_version: Function::api_version(&()).into_owned(),
        kind: Function::kind(&()).into_owned(),
        name: function.metadata.name.clone().unwrap_or_default(),
        uid: function.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}
