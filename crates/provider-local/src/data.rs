//! Data directories: `data/NS/NAME/`, one a function, which outlive its replicas and, unless purged, the function.

use crate::disk;
use crate::quota::{self, Unavailable};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wire::FunctionName;

/// What is being removed is called so; no function can be.
pub(crate) const ASIDE: &str = ".purged-";

/// How long one is removed before the next may be.
const PATIENCE: Duration = Duration::from_secs(600);

/// Where data directories are.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    dir: PathBuf,
    stopped: Arc<AtomicBool>,
}

impl Data {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), stopped: Arc::default() }
    }

    /// Ends what may take long, here and for whoever asks; the next start goes on with it.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// The directory of a function, made when it is not there.
    pub(crate) fn open(&self, name: &FunctionName) -> io::Result<PathBuf> {
        let dir = self.path(name);
        disk::make_lasting_dir(&dir)?;
        Ok(dir)
    }

    /// How many bytes a function's directory takes on disk; 0 when there is none.
    pub(crate) fn size(&self, name: &FunctionName) -> io::Result<u64> {
        let (mut bytes, mut todo) = (0, vec![self.path(name)]);
        while let Some(dir) = todo.pop() {
            // What is removed meanwhile takes no room.
            let Some(entries) = disk::unless_gone(fs::read_dir(dir))? else { continue };
            for entry in entries {
                let entry = entry?;
                let Some(metadata) = disk::unless_gone(entry.metadata())? else { continue };
                bytes += metadata.blocks() * 512;
                if metadata.is_dir() {
                    todo.push(entry.path());
                }
            }
        }
        Ok(bytes)
    }

    /// Takes a function's directory out of the way, for good once this returns: replicas that are still ending keep what
    /// they have open, and a function of the same name starts with an empty one. Where it is now, to be removed.
    pub(crate) fn set_aside(&self, name: &FunctionName) -> io::Result<Option<PathBuf>> {
        let namespace = self.dir.join(name.namespace());
        // While it has the name: what has it next may be of the same project.
        if let Err(error) = quota::forget(&self.path(name)) {
            tracing::warn!(function = %name, %error, "The quota of what is removed stays behind");
        }
        let aside = namespace.join(format!("{ASIDE}{:08x}", rand::random::<u32>()));
        if disk::unless_gone(fs::rename(self.path(name), &aside))?.is_none() {
            return Ok(None);
        }
        disk::sync_dir(&namespace)?;
        Ok(Some(aside))
    }

    /// Removes what was taken out of the way.
    pub(crate) fn purge(&self, name: &FunctionName, aside: &Path) {
        if let Err(error) = self.remove(aside) {
            tracing::warn!(function = %name, %error, "Not all of the data is removed: what still ends may write to it. It is tried again");
        }
    }

    /// Whether the file system can hold these directories to a size.
    pub(crate) fn can_bound(&self, has_users: bool) -> Result<(), Unavailable> {
        quota::available(&self.dir, has_users)
    }

    /// Goes on with removals that a crash has interrupted, or that replicas which were still ending have spoilt.
    pub(crate) fn finish_purges(&self) -> io::Result<()> {
        let mut finished = Ok(());
        for (_, namespace) in disk::entries(&self.dir)? {
            for (_, path) in disk::entries(&namespace)?.into_iter().filter(|(name, _)| name.starts_with(ASIDE)) {
                // One that cannot be removed is no reason to keep the others.
                finished = self.remove(&path).and(finished);
            }
        }
        finished
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn remove(&self, aside: &Path) -> io::Result<()> {
        let in_time = disk::within(PATIENCE);
        let removed = disk::remove_dir(aside, || in_time() && !self.is_stopped());
        removed.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", aside.display())))
    }

    fn path(&self, name: &FunctionName) -> PathBuf {
        self.dir.join(name.namespace()).join(name.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purge_gives_way_to_a_stop_and_the_next_start_goes_on_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let (data, name) = (Data::new(folder.path()), "order".parse().unwrap());
        fs::write(data.open(&name).unwrap().join("file"), "").unwrap();
        let aside = data.set_aside(&name).unwrap().unwrap();
        data.stop();
        data.purge(&name, &aside);
        assert!(data.finish_purges().unwrap_err().to_string().contains("not all is removed"));
        assert!(aside.join("file").exists());
        Data::new(folder.path()).finish_purges().unwrap();
        assert!(!aside.exists());
    }
}
