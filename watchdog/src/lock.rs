//! The lock file: exec probes look whether it exists.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where the lock file is: `$TMPDIR/.lock`, else `/tmp/.lock`.
pub(crate) fn path(env: impl Fn(&str) -> Option<String>) -> PathBuf {
    Path::new(env("TMPDIR").as_deref().unwrap_or("/tmp")).join(".lock")
}

/// Whether a watchdog serves here.
#[must_use]
pub fn is_locked(env: impl Fn(&str) -> Option<String>) -> bool {
    path(env).exists()
}

/// The lock file; removed when dropped.
#[derive(Debug)]
pub(crate) struct Lock(PathBuf);

impl Lock {
    pub(crate) fn take(path: &Path) -> io::Result<Self> {
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o660).open(path)?;
        Ok(Self(path.to_owned()))
    }

    /// Whether the file is still there: removing it by hand takes the function out.
    pub(crate) fn is_held(&self) -> bool {
        self.0.exists()
    }

    pub(crate) fn release(&self) {
        // It may be gone already.
        fs::remove_file(&self.0).unwrap_or_default();
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.release();
    }
}
