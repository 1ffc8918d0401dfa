//! Version 1: one hierarchy per controller, or one for several.

use super::controllers::{Available, Unavailable};
use super::group::Cgroup;
use super::{
    CPU_PERIOD_MICROS, CgroupError, Limits, cpu_quota_micros, failed, group, make, read_field, read_number, write,
};
use rustix::fs::Access;
use std::path::{Path, PathBuf};
use std::time::Duration;

const CONTROLLERS: [&str; 4] = ["memory", "cpu", "cpuacct", "pids"];

/// The parent group in the hierarchy of each controller, where there is one.
#[derive(Clone, Debug)]
pub(super) struct Hierarchies {
    roots: Vec<PathBuf>,
    /// The parents below, each once: controllers may share a hierarchy, which shows under the name of each.
    parents: Vec<PathBuf>,
    memory: Option<PathBuf>,
    cpu: Option<PathBuf>,
    accounting: Option<PathBuf>,
    pids: Option<PathBuf>,
    swap: bool,
}

/// A group's folder in each hierarchy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Folders {
    /// Each of them once.
    all: Vec<PathBuf>,
    memory: Option<PathBuf>,
    cpu: Option<PathBuf>,
    accounting: Option<PathBuf>,
    pids: Option<PathBuf>,
}

/// Whether any hierarchy of version 1 is mounted here.
pub(super) fn is_there(root: &Path) -> bool {
    CONTROLLERS.iter().any(|controller| root.join(controller).join("cgroup.procs").exists())
}

impl Hierarchies {
    pub(super) fn probe(root: &Path, own: &str, parent: &str) -> Result<Self, Unavailable> {
        if !is_there(root) {
            return Err(Unavailable {
                reason: format!("none are mounted at {}", root.display()),
                remedy: "mount them, or start this container with them",
            });
        }
        let mut refused = None;
        let mut use_of = |controller: &str| {
            let root = root.join(controller);
            let base = base(&root, own, controller);
            let parent = base.join(parent);
            // Being allowed to make the parent is what counts: the file system may be read-only for root too.
            match base.is_dir().then(|| make(&parent).and_then(|()| writable(&parent))) {
                Some(Ok(())) => Some(parent),
                Some(Err(error)) => {
                    refused = Some(error);
                    None
                }
                None => None,
            }
        };
        let [memory, cpu, accounting, pids] = CONTROLLERS.map(&mut use_of);
        if memory.is_none() && cpu.is_none() && pids.is_none() {
            let reason = refused.map_or_else(|| "no memory, cpu or pids here".to_owned(), |error| error.to_string());
            let remedy = "version 1 needs root and a writable /sys/fs/cgroup";
            return Err(Unavailable { reason, remedy });
        }
        if let Some(memory) = &memory {
            // Older kernels count children apart unless told otherwise; newer ones know nothing else.
            let _told = write(memory, "memory.use_hierarchy", 1);
        }
        let swap = memory.as_ref().is_some_and(|memory| memory.join("memory.memsw.limit_in_bytes").exists());
        let roots = CONTROLLERS.iter().map(|controller| root.join(controller)).filter(|root| root.is_dir()).collect();
        let parents = once([&memory, &cpu, &accounting, &pids].into_iter().flatten());
        Ok(Self { roots, parents, memory, cpu, accounting, pids, swap })
    }

    pub(super) fn roots(&self) -> Vec<PathBuf> {
        self.roots.clone()
    }

    pub(super) fn available(&self) -> Available {
        Available {
            version: 1,
            memory: self.memory.is_some(),
            swap: self.swap,
            cpu: self.cpu.is_some(),
            pids: self.pids.is_some(),
        }
    }

    pub(super) fn group(&self, id: &str) -> Cgroup {
        let folder = |parent: &Option<PathBuf>| parent.as_ref().map(|parent| parent.join(id));
        let folders = Folders {
            all: self.parents.iter().map(|parent| parent.join(id)).collect(),
            memory: folder(&self.memory),
            cpu: folder(&self.cpu),
            accounting: folder(&self.accounting),
            pids: folder(&self.pids),
        };
        Cgroup { folders: group::Folders::V1(folders) }
    }
}

/// Whether groups can be made in a parent that may have been there: of an earlier platform, which another user ran.
fn writable(parent: &Path) -> Result<(), CgroupError> {
    rustix::fs::access(parent, Access::WRITE_OK).map_err(|error| failed("making groups in", parent)(error.into()))
}

/// The platform's own group in the hierarchy, or its root where that is not to be seen (in a container).
fn base(root: &Path, own: &str, controller: &str) -> PathBuf {
    let path = own.lines().find_map(|line| {
        let (_number, line) = line.split_once(':')?;
        let (controllers, path) = line.split_once(':')?;
        controllers.split(',').any(|name| name == controller).then_some(path)
    });
    let own = path.map(|path| root.join(path.trim_start_matches('/'))).filter(|own| own.is_dir());
    own.unwrap_or_else(|| root.to_owned())
}

/// Each folder once, whatever names it has.
fn once<'a>(folders: impl Iterator<Item = &'a PathBuf>) -> Vec<PathBuf> {
    let mut seen = Vec::new();
    let is_new = |folder: &&PathBuf| {
        let real = folder.canonicalize().unwrap_or_else(|_| PathBuf::from(folder));
        let new = !seen.contains(&real);
        seen.push(real);
        new
    };
    folders.filter(is_new).cloned().collect()
}

impl Folders {
    pub(super) fn all(&self) -> Vec<&Path> {
        self.all.iter().map(PathBuf::as_path).collect()
    }

    pub(super) fn set(&self, limits: &Limits) -> Result<(), CgroupError> {
        if let (Some(folder), Some(bytes)) = (&self.memory, limits.memory_bytes) {
            write(folder, "memory.limit_in_bytes", bytes)?;
            if folder.join("memory.memsw.limit_in_bytes").exists() {
                write(folder, "memory.memsw.limit_in_bytes", bytes)?;
            }
        }
        if let (Some(folder), Some(millis)) = (&self.cpu, limits.cpu_millis) {
            write(folder, "cpu.cfs_period_us", CPU_PERIOD_MICROS)?;
            match write(folder, "cpu.cfs_quota_us", cpu_quota_micros(millis)) {
                // More than the group above has: that one's bound holds.
                Err(error) if error.source.raw_os_error() == Some(libc::EINVAL) => {}
                written => written?,
            }
        }
        if let (Some(folder), Some(pids)) = (&self.pids, limits.pids) {
            write(folder, "pids.max", pids)?;
        }
        Ok(())
    }

    pub(super) fn oom_kills(&self) -> Result<u64, CgroupError> {
        self.memory.as_ref().map_or(Ok(0), |folder| read_field(folder, "memory.oom_control", "oom_kill"))
    }

    pub(super) fn memory_bytes(&self) -> Result<Option<u64>, CgroupError> {
        self.memory.as_ref().map(|folder| read_number(folder, "memory.usage_in_bytes")).transpose()
    }

    pub(super) fn cpu_time(&self) -> Result<Option<Duration>, CgroupError> {
        let folder = self.accounting.as_ref();
        Ok(folder.map(|folder| read_number(folder, "cpuacct.usage")).transpose()?.map(Duration::from_nanos))
    }
}
