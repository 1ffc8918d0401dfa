//! Where sockets are while the platform runs: in the state directory, or, when its path is too long for a socket's
//! address, in a private directory under /tmp.

use crate::state_dir::StateDir;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The longest path of the directory: a socket's address has 107 bytes (unix(7)), and names in it need the rest.
const LONGEST: usize = 91;

/// The directory; when it is not part of the state it goes with this.
#[derive(Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
    temporary: bool,
}

impl RunDir {
    /// The directory for this state, empty of what an earlier process left.
    pub(crate) fn open(state: &StateDir) -> io::Result<Self> {
        let inside = state.join("run");
        if inside.as_os_str().len() <= LONGEST {
            return Ok(Self { path: inside, temporary: false });
        }
        let path = PathBuf::from(format!("/tmp/crema-{:016x}", rand::random::<u64>()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path, temporary: true })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        if self.temporary {
            fs::remove_dir_all(&self.path).unwrap_or_default();
        }
    }
}
