//! Desired state on disk: one file a function, `functions/NS/NAME.json`.
//!
//! A file that cannot be read is no function lost: it is shown with what is wrong, and replacing it keeps it aside.

use crate::disk;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wire::function::FunctionDeployment;
use wire::{FunctionName, annotation, quantity};

/// The form of the file this version writes; an unknown one is not touched.
const FORMAT: u32 = 1;
const SUFFIX: &str = ".json";

/// What is to run of one function.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Desired {
    pub(crate) format: u32,
    /// As it was deployed, its namespace written out.
    pub(crate) deployment: FunctionDeployment,
    /// The image's manifest digest when it was deployed: a tag that moves changes nothing until the next deploy.
    pub(crate) digest: String,
    /// RFC 3339.
    pub(crate) created_at: String,
    /// Grows with every change over all functions, so that no two specifications share one.
    pub(crate) generation: u64,
    pub(crate) replicas: u32,
    #[serde(default, skip_serializing_if = "Standing::is_proven")]
    pub(crate) standing: Standing,
    /// The last version that proved itself, until this one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<Version>,
}

/// How far the wanted version has come.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Standing {
    /// It has been ready, and, when there is a version before it, has stayed so for a while.
    #[default]
    Proven,
    /// Nothing is known of it yet.
    New,
    /// It does not work, why, and the version before it runs in its place.
    TakenBack(String),
}

impl Standing {
    const fn is_proven(&self) -> bool {
        matches!(self, Self::Proven)
    }
}

/// A specification that worked.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Version {
    pub(crate) deployment: FunctionDeployment,
    pub(crate) digest: String,
    generation: u64,
}

impl Desired {
    pub(crate) fn new(deployment: FunctionDeployment, digest: String, created_at: String, generation: u64) -> Self {
        let standing = Standing::New;
        Self { format: FORMAT, deployment, digest, created_at, generation, replicas: 1, standing, before: None }
    }

    /// The version to go back to from this one's successor: this one if it has proved itself, else the one before it.
    pub(crate) fn worked(&self) -> Option<Version> {
        match self.standing {
            Standing::Proven => Some(Version {
                deployment: self.deployment.clone(),
                digest: self.digest.clone(),
                generation: self.generation,
            }),
            Standing::New | Standing::TakenBack(_) => self.before.clone(),
        }
    }

    /// Whether it may still be taken back.
    pub(crate) const fn is_on_probation(&self) -> bool {
        matches!(self.standing, Standing::New) && self.before.is_some()
    }

    /// This one, having shown that it works.
    pub(crate) fn proven(&self) -> Self {
        Self { standing: Standing::Proven, before: None, ..self.clone() }
    }

    /// This one, given up for the version before it.
    pub(crate) fn taken_back(&self, why: &str) -> Self {
        Self { standing: Standing::TakenBack(why.to_owned()), ..self.clone() }
    }

    /// What is to run: this, or, when it has been taken back, the version before.
    pub(crate) fn to_run(self: &Arc<Self>) -> Arc<Self> {
        match (&self.standing, &self.before) {
            (Standing::TakenBack(_), Some(Version { deployment, digest, generation })) => {
                let mut before = Self {
                    format: self.format,
                    deployment: deployment.clone(),
                    digest: digest.clone(),
                    created_at: self.created_at.clone(),
                    generation: *generation,
                    replicas: self.replicas,
                    standing: Standing::Proven,
                    before: None,
                };
                if before.is_exclusive() {
                    // They were counted for a version without data.
                    before.replicas = before.replicas.min(1);
                }
                Arc::new(before)
            }
            _ => Arc::clone(self),
        }
    }

    /// Whether two replicas must never run at once: they would share a data directory.
    pub(crate) fn is_exclusive(&self) -> bool {
        provider::check::has_data(&self.deployment.annotations)
    }
}

/// How many bytes a deployment's data directory is to stay below.
pub(crate) fn data_size(deployment: &FunctionDeployment) -> Option<u64> {
    let text = deployment.annotations.get(annotation::DATA_SIZE)?;
    quantity::memory(text).ok()
}

/// What is on disk of one function.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Known(Arc<Desired>),
    /// The file cannot be read; why.
    Unreadable(String),
}

/// The files.
#[derive(Debug)]
pub(crate) struct Files(PathBuf);

impl Files {
    pub(crate) fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    /// All of them.
    pub(crate) fn load(&self) -> io::Result<BTreeMap<FunctionName, Entry>> {
        let mut all = BTreeMap::new();
        for (namespace, dir) in disk::entries(&self.0)? {
            for (file, path) in disk::entries(&dir)? {
                let Some(name) = file.strip_suffix(SUFFIX) else { continue };
                match FunctionName::new(name, &namespace) {
                    Ok(name) => drop(all.insert(name.clone(), read(&name, &path))),
                    Err(error) => {
                        tracing::warn!(%error, path = %path.display(), "A file of no function was left alone");
                    }
                }
            }
        }
        Ok(all)
    }

    /// Puts a function's desired state on disk.
    pub(crate) fn write(&self, name: &FunctionName, desired: &Desired) -> io::Result<()> {
        disk::write(&self.path(name), &serde_json::to_vec_pretty(desired)?)
    }

    /// Keeps an unreadable file aside, so that what is in it is not lost.
    pub(crate) fn keep_aside(&self, name: &FunctionName) -> io::Result<()> {
        let path = self.path(name);
        fs::rename(&path, path.with_extension("unreadable"))
    }

    pub(crate) fn remove(&self, name: &FunctionName) -> io::Result<()> {
        disk::remove(&self.path(name)).map(drop)
    }

    fn path(&self, name: &FunctionName) -> PathBuf {
        self.0.join(name.namespace()).join(format!("{}{SUFFIX}", name.name()))
    }
}

fn read(name: &FunctionName, path: &Path) -> Entry {
    let desired = fs::read(path)
        .map_err(|error| error.to_string())
        .and_then(|content| serde_json::from_slice::<Desired>(&content).map_err(|error| error.to_string()))
        .and_then(|desired| match desired.format {
            FORMAT => Ok(desired),
            other => Err(format!("its format is {other}, this version knows {FORMAT}")),
        });
    match desired {
        Ok(desired) => Entry::Known(Arc::new(desired)),
        Err(why) => {
            tracing::error!(function = %name, path = %path.display(), why, "A function's desired state cannot be read");
            Entry::Unreadable(format!(
                "its desired state in {} cannot be read: {why}; deploy the function again or repair the file",
                path.display()
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desired() -> Desired {
        let deployment = FunctionDeployment { service: "a".to_owned(), ..FunctionDeployment::default() };
        Desired::new(deployment, "sha256:1".to_owned(), "2026-01-01T00:00:00Z".to_owned(), 7)
    }

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        let name: FunctionName = "a.ns".parse().unwrap();
        files.write(&name, &desired()).unwrap();
        let all = files.load().unwrap();
        assert!(matches!(&all[&name], Entry::Known(known) if **known == desired()));
        files.remove(&name).unwrap();
        assert!(files.load().unwrap().is_empty());
    }

    #[test]
    fn an_unreadable_file_is_a_function_with_a_reason_and_stays_when_it_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        let name: FunctionName = "a.ns".parse().unwrap();
        files.write(&name, &desired()).unwrap();
        let path = dir.path().join("ns/a.json");
        for content in ["{", r#"{"format":2}"#, ""] {
            fs::write(&path, content).unwrap();
            assert!(matches!(&files.load().unwrap()[&name], Entry::Unreadable(why) if why.contains("a.json")));
        }
        files.keep_aside(&name).unwrap();
        files.write(&name, &desired()).unwrap();
        assert!(dir.path().join("ns/a.unreadable").is_file());
        assert_eq!(files.load().unwrap().len(), 1);
    }
}
