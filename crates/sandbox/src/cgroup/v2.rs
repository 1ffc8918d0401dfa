//! Version 2: one tree; the controllers of a group are passed on by the group above it.
//!
//! A group that passes controllers on must have no processes of its own, the root excepted. So the platform moves from
//! the group it was started in to `platform` below it, unless it was started in a group of that name.

use super::controllers::{Available, Unavailable};
use super::group::{Cgroup, Folders};
use super::{
    CPU_PERIOD_MICROS, CgroupError, Limits, cpu_quota_micros, failed, make, read, read_field, read_number, write,
};
use rustix::fs::{Access, access};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The group of the platform's own processes; also the name to give to `DelegateSubgroup=` of systemd.
const PLATFORM: &str = "platform";
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];

/// Where the functions' groups lie.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    parent: PathBuf,
    available: Available,
}

/// Whether the root of a tree is mounted here.
pub(super) fn is_there(root: &Path) -> bool {
    root.join("cgroup.controllers").exists()
}

impl Tree {
    pub(super) fn probe(root: &Path, own: &str, parent: &str) -> Result<Self, Unavailable> {
        let own = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/").trim_start_matches('/');
        let mut own = root.join(own);
        if !own.is_dir() {
            own = root.to_owned();
        }
        let started_below = own != root && own.file_name().is_some_and(|name| name == PLATFORM);
        let base = if started_below { own.parent().unwrap_or(root) } else { &own };
        let has = read(base, "cgroup.controllers").map_err(unusable)?;
        let has: Vec<_> =
            CONTROLLERS.into_iter().filter(|name| has.split_whitespace().any(|has| has == *name)).collect();
        if has.is_empty() {
            return Err(Unavailable {
                reason: format!("{} has none of memory, cpu and pids", base.display()),
                remedy: "start the platform as a systemd unit with Delegate=yes",
            });
        }
        writable(base)?;
        // The true root has no type; a container's root looks like one and is a group with processes.
        if !started_below && base.join("cgroup.type").exists() {
            let platform = base.join(PLATFORM);
            make(&platform).map_err(unusable)?;
            write(&platform, "cgroup.procs", 0).map_err(unusable)?;
        }
        let parent = base.join(parent);
        make(&parent).map_err(unusable)?;
        let pass_on: Vec<_> = has.iter().map(|name| format!("+{name}")).collect();
        for folder in [base, &parent] {
            write(folder, "cgroup.subtree_control", pass_on.join(" ")).map_err(unusable)?;
        }
        let has = |name| has.contains(&name);
        let available =
            Available { version: 2, memory: has("memory"), swap: has("memory"), cpu: has("cpu"), pids: has("pids") };
        Ok(Self { parent, available })
    }

    pub(super) fn available(&self) -> Available {
        self.available
    }

    pub(super) fn group(&self, id: &str) -> Cgroup {
        Cgroup { folders: Folders::V2(self.parent.join(id)) }
    }
}

/// Whether this process may make groups below `base` and move itself there.
fn writable(base: &Path) -> Result<(), Unavailable> {
    for path in [base.to_owned(), base.join("cgroup.procs"), base.join("cgroup.subtree_control")] {
        access(&path, Access::WRITE_OK).map_err(|error| unusable(failed("writing", &path)(error.into())))?;
    }
    Ok(())
}

fn unusable(error: CgroupError) -> Unavailable {
    Unavailable {
        reason: error.to_string(),
        remedy: "start the platform as a systemd unit (of the user, where it runs as one) with Delegate=yes and \
                 nothing else in it",
    }
}

pub(super) fn set(folder: &Path, limits: &Limits) -> Result<(), CgroupError> {
    if let Some(bytes) = limits.memory_bytes {
        write(folder, "memory.max", bytes)?;
        // Counted apart from memory: none of it keeps the bound what it says. Not there without swap in the kernel.
        if folder.join("memory.swap.max").exists() {
            write(folder, "memory.swap.max", 0)?;
        }
    }
    if let Some(millis) = limits.cpu_millis {
        write(folder, "cpu.max", format_args!("{} {CPU_PERIOD_MICROS}", cpu_quota_micros(millis)))?;
    }
    if let Some(pids) = limits.pids {
        write(folder, "pids.max", pids)?;
    }
    Ok(())
}

pub(super) fn oom_kills(folder: &Path) -> Result<u64, CgroupError> {
    if !folder.join("memory.events").exists() {
        return Ok(0);
    }
    read_field(folder, "memory.events", "oom_kill")
}

pub(super) fn memory_bytes(folder: &Path) -> Result<Option<u64>, CgroupError> {
    folder.join("memory.current").exists().then(|| read_number(folder, "memory.current")).transpose()
}

pub(super) fn cpu_time(folder: &Path) -> Result<Option<Duration>, CgroupError> {
    let there = folder.join("cpu.stat").exists();
    Ok(there.then(|| read_field(folder, "cpu.stat", "usage_usec")).transpose()?.map(Duration::from_micros))
}
