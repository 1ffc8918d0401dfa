//! The YAML of stack files, environment files and template.yml: scalars stay as they were written, `null` is empty,
//! unknown keys are ignored, of several documents the first counts.

use crate::error::StackError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use wire::function::{Resources, TextMap};

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Document {
    #[serde(default)]
    pub(crate) version: Option<String>,
    #[serde(default)]
    pub(crate) provider: Option<Provider>,
    #[serde(default)]
    pub(crate) functions: Option<BTreeMap<String, Option<FunctionEntry>>>,
    /// Ours; faas-cli passes over keys it does not know.
    #[serde(default, rename = "x-crema")]
    pub(crate) extension: Option<Extension>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Extension {
    pub(crate) generate_secrets: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Provider {
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) gateway: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct FunctionEntry {
    #[serde(default, deserialize_with = "text")]
    pub(crate) lang: String,
    #[serde(default, deserialize_with = "text")]
    pub(crate) handler: String,
    #[serde(default, deserialize_with = "text")]
    pub(crate) image: String,
    #[serde(default, deserialize_with = "text")]
    pub(crate) fprocess: String,
    #[serde(default, deserialize_with = "map")]
    pub(crate) environment: TextMap,
    #[serde(default, deserialize_with = "list")]
    pub(crate) environment_file: Vec<PathBuf>,
    #[serde(default, deserialize_with = "list")]
    pub(crate) secrets: Vec<String>,
    #[serde(default, deserialize_with = "list")]
    pub(crate) constraints: Vec<String>,
    #[serde(default, deserialize_with = "map")]
    pub(crate) labels: TextMap,
    #[serde(default, deserialize_with = "map")]
    pub(crate) annotations: TextMap,
    #[serde(default)]
    pub(crate) limits: Option<ResourcesEntry>,
    #[serde(default)]
    pub(crate) requests: Option<ResourcesEntry>,
    #[serde(default)]
    pub(crate) readonly_root_filesystem: Option<bool>,
    #[serde(default)]
    pub(crate) skip_build: Option<bool>,
    #[serde(default, deserialize_with = "text")]
    pub(crate) namespace: String,
    #[serde(default, deserialize_with = "map")]
    pub(crate) build_args: TextMap,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct ResourcesEntry {
    #[serde(default, deserialize_with = "text")]
    memory: String,
    #[serde(default, deserialize_with = "text")]
    cpu: String,
}

impl From<ResourcesEntry> for Resources {
    fn from(entry: ResourcesEntry) -> Self {
        Self { memory: entry.memory, cpu: entry.cpu, ..Self::default() }
    }
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct EnvironmentFile {
    #[serde(default, deserialize_with = "map")]
    pub(crate) environment: TextMap,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Template {
    #[serde(default, deserialize_with = "text")]
    pub(crate) fprocess: String,
}

/// Reads the first document; an empty file is an empty document.
pub(crate) fn first<T: DeserializeOwned + Default>(path: &Path, text: &str) -> Result<T, StackError> {
    let mut reader = text.as_bytes();
    let document = serde_saphyr::read::<_, T>(&mut reader).next();
    document.transpose().map(Option::unwrap_or_default).map_err(|error| {
        let line = error.location().map(|location| location.line());
        let text = error.without_snippet().to_string();
        let why = text.lines().next().unwrap_or("it is no YAML");
        StackError::new(path, format!("{why}; compare it with the stack.yml reference of OpenFaaS")).at_line(line)
    })
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Option::<String>::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TextMap, D::Error> {
    let map = Option::<BTreeMap<String, Option<String>>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(map.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect())
}

fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Option::<Vec<T>>::deserialize(deserializer).map(Option::unwrap_or_default)
}
