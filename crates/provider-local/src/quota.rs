//! How large a data directory may become, held by the file system: project quota of ext4 and xfs.
//!
//! A function's project has the number of its user, which no other function of this platform has or gets. What is
//! someone else's is not touched: neither a directory that is in another project, nor a project of that number that has
//! files or a limit before the directory is in it (another platform's on the same file system).

mod sys;
#[cfg(test)]
mod tests;

use crate::data::ASIDE;
use crate::disk;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sandbox::uids;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// A project that was ours a moment ago may still be being emptied.
const EMPTY_TRIES: u32 = 10;
const EMPTY_PAUSE: Duration = Duration::from_millis(25);

/// What keeps a directory small.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Kept {
    /// The file system does, and did before.
    Enforced,
    /// The file system does from now on.
    Newly,
    /// Nothing does, since nothing is to.
    Free,
    /// Nothing does: it is measured, and why.
    Measured(Unavailable),
}

/// Why the file system does not hold a directory to its size.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unavailable {
    /// Functions are no users of their own.
    NoUsers,
    /// It has no project quota, or the kernel does not.
    Off,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoUsers => "functions are no users of their own here, which takes root and isolation",
            Self::Off => {
                "the file system of the data directories has no project quota in force (ext4 or xfs, prjquota)"
            }
        })
    }
}

/// Why a quota that is in force could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QuotaError {
    /// The directory is someone else's to bound.
    #[error("{} belongs to project {project}, which is not ours: take it out (chattr -R -p 0 -P), or set that one's quota", dir.display())]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// The project.
        project: u32,
    },
    /// Someone else has the number.
    #[error("project {project} of the file system of {} is in use by others, perhaps another platform there: give this one a file system of its own", dir.display())]
    Taken {
        /// The directory.
        dir: PathBuf,
        /// The project.
        project: u32,
    },
    /// The system refused.
    #[error("{what} {}: {source}", path.display())]
    System {
        /// What was being done.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
}

/// Whether a directory below `dir` can be held to a size.
pub(crate) fn available(dir: &Path, has_users: bool) -> Result<(), Unavailable> {
    if !has_users {
        return Err(Unavailable::NoUsers);
    }
    match open(dir, OFlags::DIRECTORY).map(|dir| sys::is_enforced(&dir)) {
        Ok(Ok(true)) => Ok(()),
        // Without it there is nothing that could say more, and an older kernel has not even the question.
        _ => Err(Unavailable::Off),
    }
}

/// Holds a directory to so many bytes, or no longer to any number of them. No one is writing to it now.
pub(crate) fn keep_below(dir: &Path, user: Option<u32>, most_bytes: Option<u64>) -> Result<Kept, QuotaError> {
    let project = match available(dir, user.is_some()).map(|()| user) {
        Ok(Some(user)) => user,
        Ok(None) => return Ok(Kept::Measured(Unavailable::NoUsers)),
        Err(unavailable) => return Ok(Kept::Measured(unavailable)),
    };
    let failed = |what| move |source: Errno| QuotaError::System { what, path: dir.to_owned(), source: source.into() };
    let file = open(dir, OFlags::DIRECTORY).map_err(failed("open"))?;
    let mut attributes = sys::attributes(&file).map_err(failed("read the project of"))?;
    let Some(most_bytes) = most_bytes else {
        if attributes.project == project {
            sys::set_most_blocks(&file, project, 0).map_err(failed("lift the quota of"))?;
        }
        return Ok(Kept::Free);
    };
    if attributes.project != project {
        if attributes.project != 0 && !is_ours(attributes.project) {
            return Err(QuotaError::Foreign { dir: dir.to_owned(), project: attributes.project });
        }
        if !is_empty(&file, project).map_err(failed("read the quota of"))? && !is_being_purged(dir, project) {
            return Err(QuotaError::Taken { dir: dir.to_owned(), project });
        }
        // Claimed first, and open for what is made in it last: that says that all of it is done.
        attributes = attributes.of(project).inherited(false);
        sys::set_attributes(&file, attributes).map_err(failed("set the project of"))?;
    }
    let is_done = attributes.is_inherited();
    if !is_done {
        claim_below(dir, project)?;
        sys::set_attributes(&file, attributes.inherited(true)).map_err(failed("set the project of"))?;
    }
    // No block would be any number of them.
    let most_blocks = most_bytes.div_ceil(sys::BLOCK).max(1);
    let before = sys::quota(&file, project).map_err(failed("read the quota of"))?;
    if (before.most_blocks, before.most_inodes) == (most_blocks, sys::most_inodes(most_blocks)) {
        return Ok(if is_done { Kept::Enforced } else { Kept::Newly });
    }
    sys::set_most_blocks(&file, project, most_blocks).map_err(failed("set the quota of"))?;
    Ok(Kept::Newly)
}

/// Forgets the limit of a directory that is about to be removed.
pub(crate) fn forget(dir: &Path) -> io::Result<()> {
    let Ok(file) = open(dir, OFlags::DIRECTORY) else { return Ok(()) };
    match sys::attributes(&file) {
        Ok(attributes) if is_ours(attributes.project) && sys::is_enforced(&file) == Ok(true) => {
            Ok(sys::set_most_blocks(&file, attributes.project, 0)?)
        }
        _ => Ok(()),
    }
}

/// Whether a project's number is one that a platform gives; after a move with a new `uids.json` it is another one's.
fn is_ours(project: u32) -> bool {
    (uids::FIRST..uids::FIRST + uids::COUNT).contains(&project)
}

#[expect(clippy::disallowed_methods, reason = "the kernel tells no one when it is done; this is a blocking thread")]
fn is_empty(file: &OwnedFd, project: u32) -> rustix::io::Result<bool> {
    for _ in 0..EMPTY_TRIES {
        let quota = sys::quota(file, project)?;
        if quota.most_blocks != 0 {
            return Ok(false);
        }
        if quota.inodes == 0 && quota.bytes == 0 {
            return Ok(true);
        }
        thread::sleep(EMPTY_PAUSE);
    }
    Ok(false)
}

/// Whether what a project holds is the data of a deleted function of the directory's name, which is being removed: it
/// counts until it is gone.
fn is_being_purged(dir: &Path, project: u32) -> bool {
    let of_project = |aside: &Path| {
        let attributes = open(aside, OFlags::DIRECTORY).and_then(|aside| sys::attributes(&aside));
        attributes.is_ok_and(|attributes| attributes.project == project)
    };
    let beside = dir.parent().map_or(Ok(Vec::new()), disk::entries).unwrap_or_default();
    beside.iter().any(|(name, path)| name.starts_with(ASIDE) && of_project(path))
}

/// Puts what is in a directory into a project. Links, sockets and the like take no room and are left out.
fn claim_below(dir: &Path, project: u32) -> Result<(), QuotaError> {
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        let failed = |path: &Path, what| {
            let path = path.to_owned();
            move |source| QuotaError::System { what, path, source }
        };
        for entry in fs::read_dir(&dir).map_err(failed(&dir, "list"))? {
            let entry = entry.map_err(failed(&dir, "list"))?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(failed(&dir, "list"))?);
            if !kind.is_dir() && !kind.is_file() {
                continue;
            }
            claim(&path, project, kind.is_dir()).map_err(|error| failed(&path, "set the project of")(error.into()))?;
            if kind.is_dir() {
                todo.push(path);
            }
        }
    }
    Ok(())
}

fn claim(path: &Path, project: u32, is_dir: bool) -> rustix::io::Result<()> {
    let file = open(path, OFlags::empty())?;
    let attributes = sys::attributes(&file)?;
    match attributes.project == project && attributes.is_inherited() == is_dir {
        true => Ok(()),
        false => sys::set_attributes(&file, attributes.of(project).inherited(is_dir)),
    }
}

/// What is in the directory is a function's: nothing there is followed or waited for.
fn open(path: &Path, also: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags | also, Mode::empty())
}
