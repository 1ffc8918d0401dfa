//! Function objects, and what their conditions say.

use super::images::actor_image;
use super::kubectl::{create, get, list, seen_within};
use serde_json::{Value, json};
use std::time::Duration;
use wire::function::FunctionDeployment;

/// How long an operator may take to say what it thinks of an object.
const SAYS: Duration = Duration::from_secs(30);
/// How many requests are sent at a time where there are many.
const AT_A_TIME: usize = 5;

/// A namespace that functions may be in.
#[must_use]
pub fn namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "annotations": {"openfaas": "1"},
            "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
        },
    })
}

/// The object that stands for a deployment, as `faas-cli generate` writes it.
#[must_use]
pub fn object(deployment: &FunctionDeployment) -> Value {
    let body = serde_json::to_value(deployment).unwrap();
    let mut spec = json!({"name": deployment.service, "image": deployment.image});
    let names = [
        ("envVars", "environment"),
        ("envProcess", "handler"),
        ("secrets", "secrets"),
        ("constraints", "constraints"),
        ("labels", "labels"),
        ("annotations", "annotations"),
        ("limits", "limits"),
        ("requests", "requests"),
        ("readOnlyRootFilesystem", "readOnlyRootFilesystem"),
    ];
    for (theirs, ours) in names {
        if !body[theirs].is_null() {
            spec[ours] = body[theirs].clone();
        }
    }
    function(&deployment.service, &deployment.namespace, spec)
}

/// A Function object.
#[must_use]
pub fn function(name: &str, namespace: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "openfaas.com/v1",
        "kind": "Function",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    })
}

/// The Function object of a version of the actor.
#[must_use]
pub fn actor(name: &str, namespace: &str, version: usize) -> Value {
    let spec = json!({
        "name": name,
        "image": actor_image(version),
        "environment": {"version": version.to_string()},
    });
    function(name, namespace, spec)
}

/// A version of the actor as the REST API is told it.
#[must_use]
pub fn actor_deployment(name: &str, namespace: &str, version: usize) -> Value {
    json!({
        "service": name,
        "namespace": namespace,
        "image": actor_image(version),
        "envVars": {"version": version.to_string()},
    })
}

/// What a version of the actor answers.
#[must_use]
pub fn answer(version: usize) -> String {
    format!("{version}/{version}")
}

/// A list of objects.
#[must_use]
pub fn list_of(objects: impl IntoIterator<Item = Value>) -> Value {
    let items: Vec<Value> = objects.into_iter().collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// A condition of an object: status, reason and message. `None` when it is not there.
#[must_use]
pub fn condition<'a>(object: &'a Value, name: &str) -> Option<[&'a str; 3]> {
    let conditions = object["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == name)?;
    Some(["status", "reason", "message"].map(|part| found[part].as_str().unwrap_or_default()))
}

/// A Function object as it is now.
pub async fn find(name: &str, namespace: &str) -> Result<Value, String> {
    get(&["functions.openfaas.com", name, "-n", namespace]).await
}

/// Waits until a Function is Ready in its last generation, as Fleet, Flux and Argo see it.
pub async fn is_ready(name: &str, namespace: &str) -> Value {
    seen_within(Duration::from_secs(120), &format!("Function {name}.{namespace} is Ready"), || async {
        let object = find(name, namespace).await?;
        let is_current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        let is_ready = condition(&object, "Ready").is_some_and(|[status, ..]| status == "True");
        let is_still = ["Reconciling", "Stalled"]
            .iter()
            .all(|name| condition(&object, name).is_none_or(|[status, ..]| status == "False"));
        if is_current && is_ready && is_still { Ok(object) } else { Err(object["status"].to_string()) }
    })
    .await
}

/// Waits until a Function is not Ready and one of its conditions names all of `texts`.
pub async fn says_why(name: &str, namespace: &str, texts: &[&str]) {
    seen_within(SAYS, &format!("Function {name}.{namespace} is not Ready and says {texts:?}"), || async {
        let object = find(name, namespace).await?;
        let told = object["status"].to_string();
        let is_ready = condition(&object, "Ready").is_none_or(|[status, ..]| status == "True");
        if !is_ready && texts.iter().all(|text| told.contains(text)) { Ok(()) } else { Err(told) }
    })
    .await;
}

/// Waits until a Function is Stalled with a message that names all of `texts`; the message.
pub async fn is_stalled(name: &str, namespace: &str, texts: &[&str]) -> String {
    seen_within(SAYS, &format!("Function {name}.{namespace} is Stalled and says {texts:?}"), || async {
        let object = find(name, namespace).await?;
        let stalled = condition(&object, "Stalled").filter(|[status, ..]| *status == "True");
        let says = stalled.filter(|[_, _, message]| texts.iter().all(|text| message.contains(text)));
        says.map(|[_, _, message]| message.to_owned()).ok_or_else(|| object["status"].to_string())
    })
    .await
}

/// Creates many objects, some at a time: one kubectl sends one request after another.
pub async fn create_many(objects: &[Value]) {
    let parts = objects.chunks(objects.len().div_ceil(AT_A_TIME).max(1)).map(|part| list_of(part.to_vec()));
    let created = parts.map(|part| tokio::spawn(async move { create(&part).await.unwrap() }));
    for part in created.collect::<Vec<_>>() {
        part.await.unwrap();
    }
}

/// Waits until so many Functions of a namespace are Ready.
pub async fn are_ready(namespace: &str, count: usize, patience: Duration) {
    seen_within(patience, &format!("{count} Functions of {namespace} are Ready"), || async {
        let functions = list(&["functions.openfaas.com", "-n", namespace]).await?;
        let is_ready = |function: &&Value| condition(function, "Ready").is_some_and(|[status, ..]| status == "True");
        let ready = functions.iter().filter(is_ready).count();
        if ready == count { Ok(()) } else { Err(format!("{ready}")) }
    })
    .await;
}
