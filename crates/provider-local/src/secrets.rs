//! Secrets: `secrets/NS/NAME`, and a copy in the directory of every running replica that mounts them.
//!
//! A function's process sees exactly its own secrets: a directory of its own, not the store.

use crate::disk;
use provider::{ProviderError, Result};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The secrets and where they are mounted.
#[derive(Debug)]
pub(crate) struct Secrets {
    dir: PathBuf,
    /// Held while a replica's copy is made and while a secret is written, so that none misses a new value. Taken on
    /// blocking threads only.
    mounts: Mutex<HashMap<PathBuf, Mount>>,
}

#[derive(Debug)]
struct Mount {
    namespace: String,
    names: Vec<String>,
    owner: Option<u32>,
}

impl Secrets {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), mounts: Mutex::default() }
    }

    pub(crate) fn list(&self, namespace: &str) -> Result<Vec<String>> {
        let entries = disk::entries(&self.dir.join(namespace)).map_err(|error| failed("list the secrets", error))?;
        // What is being written starts with a dot.
        Ok(entries.into_iter().map(|(name, _)| name).filter(|name| provider::check::secret(name).is_ok()).collect())
    }

    /// Whether a secret is there. Both names have been checked.
    pub(crate) fn has(&self, namespace: &str, name: &str) -> bool {
        self.path(namespace, name).is_file()
    }

    pub(crate) fn create(&self, namespace: &str, name: &str, value: &[u8]) -> Result<()> {
        if self.has(namespace, name) {
            return Err(ProviderError::Exists(format!("secret {name} in namespace {namespace}")));
        }
        self.write(namespace, name, value)
    }

    pub(crate) fn update(&self, namespace: &str, name: &str, value: &[u8]) -> Result<()> {
        if !self.has(namespace, name) {
            return Err(missing(namespace, name));
        }
        self.write(namespace, name, value)
    }

    pub(crate) fn delete(&self, namespace: &str, name: &str) -> Result<()> {
        match disk::remove(&self.path(namespace, name)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(missing(namespace, name)),
            Err(error) => Err(failed("delete a secret", error)),
        }
    }

    /// Removes all secrets of a namespace.
    pub(crate) fn delete_all(&self, namespace: &str) -> Result<()> {
        disk::remove_dir(&self.dir.join(namespace), disk::briefly())
            .map_err(|error| failed("delete a namespace's secrets", error))
    }

    /// Fills a replica's directory, which becomes `owner`'s, and keeps it up to date until [`Secrets::unmount`].
    pub(crate) fn mount(&self, dir: &Path, namespace: &str, names: &[String], owner: Option<u32>) -> io::Result<()> {
        let mut mounts = self.mounts();
        disk::make_dir(dir)?;
        disk::give(dir, owner)?;
        for name in names {
            let value = fs::read(self.path(namespace, name))
                .map_err(|error| io::Error::new(error.kind(), format!("read the secret {name}: {error}")))?;
            disk::put(&dir.join(name), &value, owner)?;
        }
        mounts.insert(dir.to_owned(), Mount { namespace: namespace.to_owned(), names: names.to_vec(), owner });
        Ok(())
    }

    /// Forgets a replica's directory.
    pub(crate) fn unmount(&self, dir: &Path) {
        self.mounts().remove(dir);
    }

    fn write(&self, namespace: &str, name: &str, value: &[u8]) -> Result<()> {
        let mounts = self.mounts();
        disk::write(&self.path(namespace, name), value)
            .map_err(|error| failed(&format!("write the secret {name}"), error))?;
        for (dir, mount) in mounts.iter() {
            if mount.namespace == namespace && mount.names.iter().any(|mounted| mounted == name) {
                disk::put(&dir.join(name), value, mount.owner)
                    .map_err(|error| failed(&format!("give the secret {name} to a running replica"), error))?;
            }
        }
        Ok(())
    }

    fn path(&self, namespace: &str, name: &str) -> PathBuf {
        self.dir.join(namespace).join(name)
    }

    fn mounts(&self) -> MutexGuard<'_, HashMap<PathBuf, Mount>> {
        self.mounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn missing(namespace: &str, name: &str) -> ProviderError {
    ProviderError::NoSecret { name: name.to_owned(), namespace: namespace.to_owned() }
}

fn failed(what: &str, error: io::Error) -> ProviderError {
    ProviderError::failed(what, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_running_replica_sees_a_new_value_and_no_other_secret() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(&dir.path().join("secrets"));
        secrets.create("ns", "mine", b"1").unwrap();
        secrets.create("ns", "other", b"x").unwrap();
        secrets.create("elsewhere", "mine", b"y").unwrap();
        let mounted = dir.path().join("replica/secrets");
        secrets.mount(&mounted, "ns", &["mine".to_owned()], None).unwrap();
        secrets.update("ns", "mine", b"2").unwrap();
        secrets.update("elsewhere", "mine", b"3").unwrap();
        assert_eq!(fs::read(mounted.join("mine")).unwrap(), b"2");
        assert_eq!(disk::entries(&mounted).unwrap().len(), 1);
        let mode = fs::metadata(dir.path().join("secrets/ns/mine")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        secrets.unmount(&mounted);
        secrets.update("ns", "mine", b"4").unwrap();
        assert_eq!(fs::read(mounted.join("mine")).unwrap(), b"2");
    }
}
