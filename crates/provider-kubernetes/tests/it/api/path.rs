//! Paths and queries of the Kubernetes API.

use http::Uri;
use serde_json::Value;
use std::collections::HashMap;

/// Which objects a request is about. What is not given is empty.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) sub: Option<String>,
}

impl Path {
    pub(crate) fn of(path: &str) -> Option<Self> {
        let mut parts = path.trim_matches('/').split('/');
        let skipped = if parts.next()? == "api" { 1 } else { 2 };
        let rest: Vec<&str> = parts.skip(skipped).collect();
        let (namespace, rest) = match rest.as_slice() {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let own = |text: Option<&&str>| text.map(|text| (*text).to_owned());
        Some(Self {
            resource: own(rest.first())?,
            namespace: namespace.to_owned(),
            name: own(rest.get(1)).unwrap_or_default(),
            sub: own(rest.get(2)),
        })
    }

    /// Whether an object of a namespace is asked for.
    pub(crate) fn takes(&self, resource: &str, namespace: &str) -> bool {
        self.resource == resource && (self.namespace.is_empty() || self.namespace == namespace)
    }
}

/// A request's query.
#[derive(Clone, Debug)]
pub(crate) struct Query(HashMap<String, String>);

impl Query {
    pub(crate) fn of(uri: &Uri) -> Self {
        let decode = |text: &str| text.replace("%3D", "=").replace("%2F", "/").replace("%3A", ":").replace("%2C", ",");
        let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        Self(pairs.map(|(key, value)| (key.to_owned(), decode(value))).collect())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.get(key) == Some("true")
    }

    /// Whether an object has the labels that are asked for: `key`, or `key=value`.
    pub(crate) fn selects(&self, object: &Value) -> bool {
        let Some(selector) = self.get("labelSelector") else { return true };
        let labels = &object["metadata"]["labels"];
        selector.split(',').all(|wanted| match wanted.split_once('=') {
            Some((key, value)) => labels[key] == value,
            None => !labels[wanted].is_null(),
        })
    }
}
