//! Advisory locks between threads and processes. The kernel drops them when their holder dies.

use crate::error::{At, ImageError};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use std::os::fd::OwnedFd;
use std::path::Path;

/// A lock on a file or directory, held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _descriptor: OwnedFd,
}

impl Lock {
    /// Waits until nobody writes; others may read too.
    pub(crate) fn shared(path: &Path) -> Result<Self, ImageError> {
        Self::take(path, FlockOperation::LockShared).at("lock", path)
    }

    /// Waits until nobody else reads or writes.
    pub(crate) fn exclusive(path: &Path) -> Result<Self, ImageError> {
        Self::take(path, FlockOperation::LockExclusive).at("lock", path)
    }

    /// The lock, if nobody at all holds it.
    pub(crate) fn if_unused(path: &Path) -> Option<Self> {
        Self::take(path, FlockOperation::NonBlockingLockExclusive).ok()
    }

    fn take(path: &Path, operation: FlockOperation) -> rustix::io::Result<Self> {
        let descriptor = open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
        rustix::io::retry_on_intr(|| flock(&descriptor, operation))?;
        Ok(Self { _descriptor: descriptor })
    }
}
