//! The group of one function.

use super::{CgroupError, Limits, failed, kill, make, v1, v2};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The group of one function. Dropping it leaves it where it is: a function may outlive the platform.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cgroup {
    pub(super) folders: Folders,
}

/// The folders of a group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Folders {
    V1(v1::Folders),
    V2(PathBuf),
}

/// Whether a group is gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Removal {
    /// It is.
    Done,
    /// Its processes have not all ended: to be tried again.
    Busy,
}

impl Cgroup {
    pub(super) fn make(&self, limits: &Limits) -> Result<(), CgroupError> {
        for folder in self.all() {
            folder.parent().map_or(Ok(()), make)?;
            std::fs::create_dir(folder).map_err(failed("making", folder))?;
        }
        match &self.folders {
            Folders::V1(folders) => folders.set(limits),
            Folders::V2(folder) => v2::set(folder, limits),
        }
    }

    pub(super) fn is_there(&self) -> bool {
        self.all().iter().all(|folder| folder.is_dir())
    }

    fn all(&self) -> Vec<&Path> {
        match &self.folders {
            Folders::V1(folders) => folders.all(),
            Folders::V2(folder) => vec![folder],
        }
    }

    /// The files that a process with one thread writes `0` into, each, to be in the group with all it starts from then
    /// on.
    #[must_use]
    pub fn procs_files(&self) -> Vec<PathBuf> {
        // To move a whole process the kernel waits for every processor, which takes about ten milliseconds; a thread that
        // moves itself need not wait (Linux 5.4). Version 2 has no file for that in groups with limits.
        let name = if matches!(self.folders, Folders::V1(_)) { "tasks" } else { "cgroup.procs" };
        self.all().into_iter().map(|folder| folder.join(name)).collect()
    }

    /// How many of its processes were killed because it had used up its memory; 0 where memory is not counted.
    pub fn oom_kills(&self) -> Result<u64, CgroupError> {
        match &self.folders {
            Folders::V1(folders) => folders.oom_kills(),
            Folders::V2(folder) => v2::oom_kills(folder),
        }
    }

    /// The memory it uses; `None` where it is not counted.
    pub fn memory_bytes(&self) -> Result<Option<u64>, CgroupError> {
        match &self.folders {
            Folders::V1(folders) => folders.memory_bytes(),
            Folders::V2(folder) => v2::memory_bytes(folder),
        }
    }

    /// The processor time it has used; `None` where it is not counted.
    pub fn cpu_time(&self) -> Result<Option<Duration>, CgroupError> {
        match &self.folders {
            Folders::V1(folders) => folders.cpu_time(),
            Folders::V2(folder) => v2::cpu_time(folder),
        }
    }

    /// Kills all its processes. They have not all ended when this returns.
    pub fn kill_all(&self) -> Result<(), CgroupError> {
        // The folder that bounds how many there are is the last, and the one to start with.
        self.all().into_iter().rev().try_for_each(kill::all)
    }

    /// Removes the group if its processes have ended. Does not wait for them.
    pub fn remove(&self) -> Result<Removal, CgroupError> {
        let mut removal = Removal::Done;
        for folder in self.all() {
            if remove(folder)? == Removal::Busy {
                removal = Removal::Busy;
            }
        }
        Ok(removal)
    }
}

/// Removes one folder of a group.
pub(super) fn remove(folder: &Path) -> Result<Removal, CgroupError> {
    match rustix::fs::rmdir(folder) {
        Ok(()) => Ok(Removal::Done),
        Err(error) => match std::io::Error::from(error) {
            error if error.kind() == ErrorKind::NotFound => Ok(Removal::Done),
            error if error.kind() == ErrorKind::ResourceBusy => Ok(Removal::Busy),
            error => Err(failed("removing", folder)(error)),
        },
    }
}
