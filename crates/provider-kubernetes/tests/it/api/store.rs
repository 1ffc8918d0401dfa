//! The objects and every change of them.

use super::path::{Path, Query};
use super::{Answer, ok, status};
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A change, as a watch tells it.
#[derive(Clone)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) what: &'static str,
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) object: Value,
}

#[derive(Default)]
pub(crate) struct Store {
    objects: BTreeMap<(String, String, String), Value>,
    pub(crate) changes: Vec<Change>,
    version: u64,
    /// Changes up to this version cannot be told any more.
    pub(crate) forgotten: u64,
}

impl Store {
    pub(crate) fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&(resource.to_owned(), namespace.to_owned(), name.to_owned()))
    }

    pub(crate) fn list(&self, path: &Path, query: &Query) -> (u64, Vec<Value>) {
        let all = self.objects.iter().filter(|((resource, namespace, _), _)| path.takes(resource, namespace));
        (self.version, all.map(|(_, object)| object).filter(|object| query.selects(object)).cloned().collect())
    }

    pub(crate) fn put(&mut self, resource: &str, namespace: &str, mut object: Value) -> Value {
        self.version += 1;
        let (kind, group) = match resource {
            "functions" => ("Function", "openfaas.com/v1"),
            "endpointslices" => ("EndpointSlice", "discovery.k8s.io/v1"),
            "namespaces" => ("Namespace", "v1"),
            "secrets" => ("Secret", "v1"),
            "persistentvolumeclaims" => ("PersistentVolumeClaim", "v1"),
            _ => ("Pod", "v1"),
        };
        object["kind"] = kind.into();
        object["apiVersion"] = group.into();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let key = (resource.to_owned(), namespace.to_owned(), name);
        let before = self.objects.get(&key);
        let meta = object["metadata"].as_object_mut().unwrap();
        if !namespace.is_empty() {
            meta.insert("namespace".to_owned(), namespace.into());
        }
        let kept = |field: &str, new: String| before.map_or(new.into(), |before| before["metadata"][field].clone());
        let uid = kept("uid", format!("uid-{}", self.version));
        let created = kept("creationTimestamp", "2026-01-02T03:04:05Z".to_owned());
        meta.insert("uid".to_owned(), uid);
        meta.insert("creationTimestamp".to_owned(), created);
        meta.insert("resourceVersion".to_owned(), self.version.to_string().into());
        let what = if before.is_some() { "MODIFIED" } else { "ADDED" };
        self.objects.insert(key, object.clone());
        self.note(what, resource, namespace, object.clone());
        object
    }

    pub(crate) fn delete(&mut self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        let mut object = self.objects.remove(&key)?;
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.note("DELETED", resource, namespace, object.clone());
        if resource == "namespaces" {
            let inside: Vec<_> = self.objects.keys().filter(|(_, space, _)| space == name).cloned().collect();
            for (resource, namespace, name) in inside {
                self.delete(&resource, &namespace, &name);
            }
        }
        Some(object)
    }

    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    /// The same objects in a cluster that was restored from a backup: with lower versions.
    pub(crate) fn restore(&mut self) {
        self.version = 0;
        self.changes.clear();
        for object in self.objects.values_mut() {
            self.version += 1;
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
        }
    }

    pub(crate) fn forget(&mut self) {
        self.version += 1;
        self.forgotten = self.version;
    }

    fn note(&mut self, what: &'static str, resource: &str, namespace: &str, object: Value) {
        let (resource, namespace) = (resource.to_owned(), namespace.to_owned());
        self.changes.push(Change { version: self.version, what, resource, namespace, object });
    }
}

/// Answers a request about one object.
pub(crate) fn answer(store: &mut Store, method: &Method, path: &Path, body: &[u8]) -> Answer {
    let sent: Value = serde_json::from_slice(body).unwrap_or_default();
    let name = match method == Method::POST {
        true => sent["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        false => path.name.clone(),
    };
    let there = store.get(&path.resource, &path.namespace, &name).cloned();
    if method == Method::POST {
        if there.is_some() {
            return status(409, "AlreadyExists", &format!("{} {name:?} already exists", path.resource));
        }
        if !path.namespace.is_empty() && store.get("namespaces", "", &path.namespace).is_none() {
            return status(404, "NotFound", &format!("namespaces {:?} not found", path.namespace));
        }
        return ok(&store.put(&path.resource, &path.namespace, sent));
    }
    let Some(mut there) = there else {
        return status(404, "NotFound", &format!("{} {name:?} not found", path.resource));
    };
    match method.as_str() {
        "GET" => ok(&there),
        "PUT" => {
            let version = &sent["metadata"]["resourceVersion"];
            if !version.is_null() && *version != there["metadata"]["resourceVersion"] {
                return status(409, "Conflict", "the object has been modified");
            }
            ok(&store.put(&path.resource, &path.namespace, sent))
        }
        "PATCH" => {
            let version = &sent["metadata"]["resourceVersion"];
            if !version.is_null() && *version != there["metadata"]["resourceVersion"] {
                return status(409, "Conflict", "the object has been modified");
            }
            merge(&mut there, &sent);
            let put = store.put(&path.resource, &path.namespace, there);
            if path.sub.as_deref() != Some("scale") {
                return ok(&put);
            }
            ok(&json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": put["metadata"],
                "spec": {"replicas": put["spec"]["replicas"]}}))
        }
        "DELETE" => {
            let uid = &sent["preconditions"]["uid"];
            if !uid.is_null() && *uid != there["metadata"]["uid"] {
                return status(409, "Conflict", "the UID in the precondition does not match");
            }
            store.delete(&path.resource, &path.namespace, &name);
            ok(&json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}))
        }
        _ => status(405, "MethodNotAllowed", "no such method"),
    }
}

/// A JSON merge patch.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else { return patch.clone_into(target) };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        match value {
            Value::Null => drop(target.as_object_mut().unwrap().remove(key)),
            value => merge(&mut target[key], value),
        }
    }
}
