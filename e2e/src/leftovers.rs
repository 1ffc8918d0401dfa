//! What functions are on a machine beside their files, and what is left of it: processes, mounts, control groups,
//! network namespaces, users.

use crate::eventually;
use crate::platform::State;
use crate::system::{is_root, mounts_of, processes_of};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

/// The children of a process: its functions, its helpers, their agents.
#[must_use]
pub fn children(parent: u32) -> BTreeMap<u32, String> {
    let line = format!("PPid:\t{parent}");
    pids()
        .filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|text| text.lines().any(|l| l == line))
        })
        .map(|pid| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            (pid, String::from_utf8_lossy(&command).replace('\0', " "))
        })
        .collect()
}

/// The network namespaces that processes are in at a moment, without this process's own.
#[derive(Clone, Debug)]
pub struct Networks {
    at: u64,
    all: BTreeSet<PathBuf>,
}

impl Networks {
    /// Those of a platform's functions.
    #[must_use]
    pub fn of_children(platform: u32) -> Self {
        let own = network("self");
        let all = children(platform).into_keys().filter_map(|pid| network(&pid.to_string()));
        Self { all: all.filter(|network| Some(network) != own.as_ref()).collect(), at: now() }
    }

    /// The processes that are in one of them still. A namespace's number is given again: who began later is in another.
    fn processes(&self) -> Vec<u32> {
        let is_in = |pid: &u32| network(&pid.to_string()).is_some_and(|network| self.all.contains(&network));
        pids().filter(|pid| is_in(pid) && began(*pid).is_some_and(|began| began <= self.at)).collect()
    }
}

fn network(process: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{process}/ns/net")).ok()
}

/// The time since the machine's start, in hundredths of a second, as the kernel counts the beginnings of processes.
fn now() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap();
    text.split(' ').next().unwrap().replace('.', "").parse().unwrap()
}

/// When a process began.
fn began(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Waits until nothing of a platform that has ended is left but its files. `seen` are its functions' networks.
pub async fn nothing_is_left(state: &State, seen: &Networks) {
    no_process_is_left(state, seen).await;
    let groups = control_groups(state);
    assert!(groups.is_empty(), "{groups:?}");
    let mounts = mounts_of(&state.path());
    assert!(mounts.is_empty(), "{mounts:?}");
    let run = files_below(&state.path().join("run"));
    assert!(run.is_empty(), "{run:?}");
}

/// Waits until none of its processes is left, nor any in a network of its functions; gives when one was last seen.
pub async fn no_process_is_left(state: &State, seen: &Networks) -> Option<(Instant, String)> {
    let last = Mutex::new(None);
    eventually("its processes are gone", || async {
        let at = Instant::now();
        let left = processes_of(&state.path());
        let inside: Vec<u32> = seen.processes();
        if left.is_empty() && inside.is_empty() {
            return Ok(());
        }
        *last.lock().unwrap() = Some((at, format!("{left:?}, and in its networks {inside:?}")));
        Err((left, inside))
    })
    .await;
    last.into_inner().unwrap()
}

/// Removes the control groups that a platform which was killed has left.
pub(crate) fn remove_control_groups(state: &State) {
    for parent in control_groups(state) {
        let groups = fs::read_dir(&parent).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        for group in groups.filter(|path| path.is_dir()).chain([parent.clone()]) {
            // What is not empty yet stays.
            fs::remove_dir(group).unwrap_or_default();
        }
    }
}

/// The control groups of a platform's functions.
fn control_groups(state: &State) -> Vec<PathBuf> {
    let Ok(metadata) = fs::metadata(state.path()) else { return Vec::new() };
    let name = format!("crema-{:x}-{:x}", metadata.dev(), metadata.ino());
    let mut found = Vec::new();
    let mut todo = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if entry.file_name() == *name {
                found.push(entry.path());
            }
            todo.push(entry.path());
        }
    }
    found
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// The users given to functions. None is given twice.
#[must_use]
pub fn users(state: &State) -> BTreeMap<String, u64> {
    let Ok(text) = fs::read(state.path().join("uids.json")) else { return BTreeMap::new() };
    let given: Value = serde_json::from_slice(&text).unwrap();
    let users: BTreeMap<String, u64> = serde_json::from_value(given["uids"].clone()).unwrap();
    assert_eq!(users.values().collect::<BTreeSet<_>>().len(), users.len(), "{users:?}");
    users
}

/// Fails unless all in a function's data directory belongs to the function, and is there.
pub fn data_belongs_to(state: &State, function: &str) {
    let folder = state.path().join("data/openfaas-fn").join(function);
    let owner = match is_root() {
        true => users(state)[&format!("openfaas-fn/{function}")],
        false => u64::from(rustix::process::geteuid().as_raw()),
    };
    let files = files_below(&folder);
    assert!(!files.is_empty(), "{} is empty", folder.display());
    for path in files.iter().chain([&folder]) {
        assert_eq!(u64::from(fs::metadata(path).unwrap().uid()), owner, "{}", path.display());
    }
}
