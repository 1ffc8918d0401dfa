//! Where sockets are while the platform runs: in the state directory, or, when its path is too long for a socket's
//! address, in a private directory under /tmp.

use daemon::StateDir;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The longest path of the directory: a socket's address has 107 bytes (unix(7)), and names in it need the rest.
const LONGEST: usize = 91;

/// The directory; when it is not part of the state it goes with this.
#[derive(Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
    /// Where its path is written down, when it is not part of the state.
    record: Option<PathBuf>,
}

impl RunDir {
    /// The directory for this state: the one it had before, when a process that was killed left it behind, so that
    /// whoever looks for survivors finds them.
    pub(crate) fn open(state: &StateDir) -> io::Result<Self> {
        let inside = state.join("run");
        if inside.as_os_str().len() <= LONGEST {
            return Ok(Self { path: inside, record: None });
        }
        let record = state.join("run-dir");
        let before = fs::read_to_string(&record).map(PathBuf::from).ok().filter(|path| is_ours(path));
        let path = match before {
            Some(path) => path,
            None => {
                let path = PathBuf::from(format!("/tmp/crema-{:016x}", rand::random::<u64>()));
                // First the record: a directory nobody remembers would keep copies of secrets.
                fs::write(&record, path.as_os_str().as_encoded_bytes())?;
                fs::DirBuilder::new().mode(0o700).create(&path)?;
                path
            }
        };
        Ok(Self { path, record: Some(record) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        if let Some(record) = &self.record {
            fs::remove_dir_all(&self.path).and_then(|()| fs::remove_file(record)).unwrap_or_default();
        }
    }
}

/// A private directory of ours, and no link to another one.
fn is_ours(path: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == user && found.mode() & 0o077 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_state_path_gets_a_short_private_directory_that_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("x".repeat(100))).unwrap();
        let first = RunDir::open(&state).unwrap();
        let path = first.path().to_owned();
        assert!(path.as_os_str().len() <= LONGEST && is_ours(&path));
        // As if the process had been killed.
        std::mem::forget(first);
        let again = RunDir::open(&state).unwrap();
        assert_eq!(again.path(), path);
        drop(again);
        assert!(!path.exists());
    }

    #[test]
    fn a_short_state_path_has_it_inside() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("state")).unwrap();
        assert_eq!(RunDir::open(&state).unwrap().path(), state.join("run"));
    }
}
