//! Namespaces on disk: `namespaces/NS.json`. The default one is always there.

use crate::disk;
use provider::{ProviderError, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use wire::DEFAULT_NAMESPACE;
use wire::namespace::{MARK, Namespace};

use std::collections::BTreeMap;

/// The namespaces.
#[derive(Debug)]
pub(crate) struct Namespaces {
    dir: PathBuf,
    /// Held for map operations; writers of the files are serialised by the provider.
    known: Mutex<BTreeMap<String, Namespace>>,
}

impl Namespaces {
    pub(crate) fn open(dir: &Path) -> std::io::Result<Self> {
        let mut known = BTreeMap::from([(DEFAULT_NAMESPACE.to_owned(), default())]);
        for (file, path) in disk::entries(dir)? {
            let Some(name) = file.strip_suffix(".json").filter(|name| provider::check::namespace(name).is_ok()) else {
                continue;
            };
            let namespace = serde_json::from_slice(&fs::read(&path)?).unwrap_or_else(|error| {
                // Its functions and secrets are there: it is not lost with its labels.
                tracing::error!(%error, path = %path.display(), "A namespace's labels cannot be read");
                default()
            });
            known.insert(name.to_owned(), Namespace { name: name.to_owned(), ..namespace });
        }
        Ok(Self { dir: dir.to_owned(), known: Mutex::new(known) })
    }

    pub(crate) fn list(&self) -> Vec<Namespace> {
        self.known().values().cloned().collect()
    }

    /// Checks that a namespace is there.
    pub(crate) fn find(&self, name: &str) -> Result<()> {
        provider::check::namespace(name)?;
        match self.known().contains_key(name) {
            true => Ok(()),
            false => Err(ProviderError::NoNamespace(name.to_owned())),
        }
    }

    pub(crate) fn create(&self, namespace: Namespace) -> Result<()> {
        provider::check::namespace(&namespace.name)?;
        if self.known().contains_key(&namespace.name) {
            return Err(ProviderError::Exists(format!("namespace {}", namespace.name)));
        }
        self.write(namespace)
    }

    pub(crate) fn update(&self, namespace: Namespace) -> Result<()> {
        self.find(&namespace.name)?;
        self.write(namespace)
    }

    pub(crate) fn delete(&self, name: &str) -> Result<()> {
        self.find(name)?;
        if name == DEFAULT_NAMESPACE {
            return Err(ProviderError::Conflict(format!("namespace {name} is the default one and cannot be deleted")));
        }
        disk::remove(&self.path(name))
            .map_err(|error| ProviderError::failed(format!("delete namespace {name}"), error))?;
        self.known().remove(name);
        Ok(())
    }

    fn write(&self, namespace: Namespace) -> Result<()> {
        let failed = |error| ProviderError::failed(format!("write namespace {}", namespace.name), error);
        let content = serde_json::to_vec_pretty(&namespace).map_err(|error| failed(error.into()))?;
        disk::write(&self.path(&namespace.name), &content).map_err(failed)?;
        self.known().insert(namespace.name.clone(), namespace);
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.json"))
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Namespace>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn default() -> Namespace {
    let mark = || [MARK].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    Namespace { name: DEFAULT_NAMESPACE.to_owned(), labels: mark(), annotations: mark() }
}
