//! Writes a Function's objects by server-side apply: we own the fields we set, whoever else set them, and no other.
//!
//! What is there already as it should be is not written: the digest of what was applied last stands on the object, and
//! each field of it is compared with what is there.

use crate::objects::{self, ANNOTATION_APPLIED, Objects};
use crate::owner::{self, Owner};
use crate::stores::Stores;
use crate::{Stalled, digest};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{Api, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, Error, Resource, ResourceExt};
use kubernetes::{Function, label};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;

/// Why objects are not applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// A person has to act.
    #[error(transparent)]
    Stalled(#[from] Stalled),
    /// It passes by itself.
    #[error("{0}")]
    Wait(String),
    /// The namespace is being deleted, and the Function with it.
    #[error("the namespace is being deleted")]
    Ending,
    /// The API server is away, or another writer was quicker.
    #[error(transparent)]
    Api(#[from] Error),
}

/// Applies what is not as it should be. Returns the Deployment as it then is.
pub(crate) async fn all(
    client: &Client,
    stores: &Stores,
    function: &Function,
    wanted: &Objects,
) -> Result<(Deployment, Vec<String>), ApplyError> {
    let namespace = function.namespace().unwrap_or_default();
    // Nothing is made before it is known that all of it can be.
    let deployments = Child::new(client, &namespace, &stores.deployments);
    let services = Child::new(client, &namespace, &stores.services);
    let (deployment, service) = tokio::try_join!(deployments.find(function), services.find(function))?;
    let mut notes = Vec::new();
    if let Some(claim) = &wanted.claim {
        notes.extend(data(client, stores, function, claim).await?);
    }
    let (deployment, _) =
        tokio::try_join!(deployments.put(&wanted.deployment, deployment), services.put(&wanted.service, service))?;
    Ok((deployment, notes))
}

/// Hands the number of replicas on where nothing else can be: what runs is scaled though its Function has become
/// impossible.
pub(crate) async fn scale(client: &Client, stores: &Stores, function: &Function) -> Result<(), ApplyError> {
    let reference = ObjectRef::new(&function.name_any()).within(&function.namespace().unwrap_or_default());
    let Some(deployment) = stores.deployments.get(&reference) else { return Ok(()) };
    if Owner::of(deployment.meta(), function) != Owner::Function {
        return Ok(());
    }
    let wanted = objects::replicas(function);
    let wanted = if has_data(&deployment) { wanted.min(1) } else { wanted };
    if deployment.spec.as_ref().and_then(|spec| spec.replicas) == Some(wanted) {
        return Ok(());
    }
    let api: Api<Deployment> = Api::namespaced(client.clone(), &function.namespace().unwrap_or_default());
    let patch = Patch::Merge(json!({ "spec": { "replicas": wanted } }));
    api.patch_scale(&function.name_any(), &writer(false), &patch)
        .await
        .map_err(|error| refused("Deployment", error))?;
    Ok(())
}

/// Whether what runs has a data directory, which belongs to one replica.
fn has_data(deployment: &Deployment) -> bool {
    let volumes = objects::pod_of(deployment).and_then(|pod| pod.volumes.as_ref());
    volumes.into_iter().flatten().any(|volume| volume.persistent_volume_claim.is_some())
}

/// One kind of object that carries the function's name.
struct Child<'a, K: Resource<DynamicType = ()> + Clone + 'static> {
    api: Api<K>,
    store: &'a Store<K>,
}

impl<'a, K> Child<'a, K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize,
{
    fn new(client: &Client, namespace: &str, store: &'a Store<K>) -> Self {
        Self { api: Api::namespaced(client.clone(), namespace), store }
    }

    /// Finds what is there of that name, when it is ours.
    async fn find(&self, function: &Function) -> Result<Option<K>, ApplyError> {
        let name = function.name_any();
        let known = self.store.get(&ObjectRef::new(&name).within(&function.namespace().unwrap_or_default()));
        let found = match known {
            Some(known) => Some(K::clone(&known)),
            None => self.api.get_opt(&name).await?,
        };
        let Some(found) = found else { return Ok(None) };
        let kind = K::kind(&());
        match Owner::of(found.meta(), function) {
            Owner::Function if found.meta().deletion_timestamp.is_none() => Ok(Some(found)),
            Owner::Function | Owner::Former => {
                Err(ApplyError::Wait(format!("the {kind} of before is still being deleted")))
            }
            other => match other.stalled(&kind, function) {
                Some(stalled) => Err(stalled.into()),
                None => Ok(Some(found)),
            },
        }
    }

    async fn put(&self, wanted: &K, found: Option<K>) -> Result<K, ApplyError> {
        let mut body = body(wanted);
        if let Some(found) = found {
            if covers(&body_of(&found), &body) {
                return Ok(found);
            }
            // Should it be deleted and made anew by someone else just now, this write fails.
            body["metadata"]["uid"] = json!(found.uid());
        }
        let applied = self.api.patch(&wanted.name_any(), &writer(true), &Patch::Apply(&body)).await;
        applied.map_err(|error| refused(&K::kind(&()), error))
    }
}

/// The claim of a data directory: made, or made larger, never smaller and never taken away.
async fn data(
    client: &Client,
    stores: &Stores,
    function: &Function,
    wanted: &PersistentVolumeClaim,
) -> Result<Option<String>, ApplyError> {
    let (name, namespace) = (wanted.name_any(), function.namespace().unwrap_or_default());
    let mut body = body(wanted);
    let known = stores.claims.get(&ObjectRef::new(&name).within(&namespace));
    let applied = &body["metadata"]["annotations"][ANNOTATION_APPLIED];
    if known.is_some_and(|known| known.annotations().get(ANNOTATION_APPLIED).map(String::as_str) == applied.as_str()) {
        return Ok(None);
    }
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &namespace);
    let kind = PersistentVolumeClaim::kind(&());
    let Some(found) = api.get_opt(&name).await? else {
        let made = api.patch(&name, &writer(true), &Patch::Apply(&body)).await;
        return made.map(|_| None).map_err(|error| refused(&kind, error));
    };
    if !owner::is_ours(found.meta(), function) {
        return Err(Stalled::ClaimTaken { name, function: function.name_any() }.into());
    }
    if found.metadata.deletion_timestamp.is_some() {
        return Err(ApplyError::Wait(format!("{kind} {name} is still being deleted")));
    }
    let bytes = |claim| objects::claim_size(claim).and_then(|size| wire::quantity::memory(size).ok()).unwrap_or(0);
    let size = |claim| objects::claim_size(claim).unwrap_or_default().to_owned();
    if bytes(wanted) < bytes(&found) {
        return Ok(Some(format!("its data directory has {} and does not shrink to {}", size(&found), size(wanted))));
    }
    // The class is chosen once.
    body["spec"]["storageClassName"] = json!(found.spec.as_ref().and_then(|spec| spec.storage_class_name.clone()));
    body["metadata"]["uid"] = json!(found.uid());
    match api.patch(&name, &writer(true), &Patch::Apply(&body)).await {
        Ok(_) => Ok(None),
        Err(Error::Api(status)) if status.is_forbidden() || status.is_invalid() => {
            Ok(Some(format!("its data directory stays at {}: {}", size(&found), status.message)))
        }
        Err(error) => Err(refused(&kind, error)),
    }
}

fn writer(apply: bool) -> PatchParams {
    let params = PatchParams::apply(label::OPERATOR);
    if apply { params.force() } else { params }
}

/// What a refusal means.
fn refused(kind: &str, error: Error) -> ApplyError {
    let Error::Api(status) = &error else { return error.into() };
    let ending = status.message.contains("being terminated") || status.is_not_found();
    match status.code {
        403 | 404 if ending => ApplyError::Ending,
        400 | 403 | 413 | 422 => {
            let why = status.message.chars().take(600).collect();
            Stalled::Refused { kind: kind.to_owned(), why }.into()
        }
        500 => ApplyError::Wait(format!("Kubernetes cannot take the {kind} now: {}", status.message)),
        _ => error.into(),
    }
}

/// An object as it is applied, with the digest of itself.
fn body<K: Resource<DynamicType = ()> + Serialize>(wanted: &K) -> Value {
    let mut body = body_of(wanted);
    let digest = digest::of(&body);
    body["metadata"]["annotations"][ANNOTATION_APPLIED] = json!(digest);
    body
}

fn body_of(object: &impl Serialize) -> Value {
    serde_json::to_value(object).expect("objects are plain data with text keys")
}

/// Whether all that is wanted is there.
fn covers(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| there.get(key).map_or(is_empty(wanted), |there| covers(there, wanted)))
        }
        (Value::Array(there), Value::Array(wanted)) => {
            there.len() == wanted.len() && there.iter().zip(wanted).all(|(there, wanted)| covers(there, wanted))
        }
        (Value::String(there), Value::String(wanted)) => there == wanted || same_quantity(there, wanted),
        (there, wanted) => there == wanted,
    }
}

/// An empty value and none are the same to the API server.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Null => true,
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The API server writes quantities in its own way: 0.5 as 500m. Should two texts be the same number and no quantity,
/// the digest tells them apart.
fn same_quantity(there: &str, wanted: &str) -> bool {
    let number = |text: &str| text.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    number(there)
        && number(wanted)
        && matches!((wire::quantity::cpu(there), wire::quantity::cpu(wanted)), (Ok(a), Ok(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Service;

    #[test]
    fn what_the_api_server_adds_or_writes_its_own_way_is_no_drift() {
        let wanted = json!({"spec": {"replicas": 1, "template": {"spec": {"volumes": [{"name": "temp", "emptyDir": {}}],
            "containers": [{"name": "a", "resources": {"limits": {"cpu": "0.5", "memory": "1024Mi"}}}]}}}});
        let mut there = wanted.clone();
        there["spec"]["template"]["spec"]["restartPolicy"] = json!("Always");
        there["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] =
            json!({"cpu": "500m", "memory": "1Gi"});
        assert!(covers(&there, &wanted));
        there["spec"]["replicas"] = json!(2);
        assert!(!covers(&there, &wanted));
        there["spec"]["replicas"] = json!(1);
        there["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] = json!("2Gi");
        assert!(!covers(&there, &wanted));
    }

    #[test]
    fn a_data_directory_is_known_by_its_claim_and_not_by_how_replicas_are_replaced() {
        let deployment = |volume: Value| {
            let object = json!({"spec": {"strategy": {"type": "Recreate"}, "selector": {},
                "template": {"spec": {"containers": [], "volumes": [volume]}}}});
            serde_json::from_value::<Deployment>(object).unwrap()
        };
        let claim = json!({"name": "data", "persistentVolumeClaim": {"claimName": "order-data"}});
        assert!(has_data(&deployment(claim)));
        assert!(!has_data(&deployment(json!({"name": "temp", "emptyDir": {}}))));
    }

    #[test]
    fn a_field_that_was_taken_out_is_seen_by_the_digest() {
        let wanted = |labels: Value| {
            let service: Service =
                serde_json::from_value(json!({"metadata": {"name": "a", "labels": labels}})).unwrap();
            body(&service)
        };
        let (more, less) = (wanted(json!({"a": "1", "b": "2"})), wanted(json!({"a": "1"})));
        assert!(!covers(&more, &less));
        assert!(covers(&less, &less));
    }
}
