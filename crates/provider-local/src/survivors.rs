//! What outlives its parent: processes that a replica had started when it ended, and what an earlier process of the
//! platform left behind, with sockets and directories.
//!
//! A replica dies with the platform by itself; this is for what it had started in its turn, and for machines where
//! the kernel's order did not get through. A process is killed only when it is the recorded one, or was given a
//! replica's own directory, beyond doubt.

use crate::disk;
use crate::usage::Stat;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use wire::env;

const FILE: &str = "record.json";

/// How often and how fast to look for what a replica has left behind, until nothing is: a second in all.
const SWEEPS: u32 = 100;
const SWEEP_PAUSE: Duration = Duration::from_millis(10);

/// Which process a replica's directory belongs to.
#[derive(Debug, Deserialize, Serialize)]
struct Record {
    pid: i32,
    started_at: u64,
    /// Ticks count from the machine's start: after another start they say nothing.
    boot: String,
}

/// Notes a replica's process in its directory.
pub(crate) fn record(dir: &Path, pid: i32) -> io::Result<()> {
    // A process that has ended already leaves nothing to find.
    let Some(stat) = Stat::of(pid) else { return Ok(()) };
    let record = Record { pid, started_at: stat.started_at, boot: boot() };
    // Only a crash of the platform needs it, not one of the machine: no sync.
    fs::write(dir.join(FILE), serde_json::to_vec(&record)?)
}

/// Ends what is left, and removes all directories.
pub(crate) async fn clear(run: PathBuf) -> io::Result<()> {
    sweep(&run).await;
    tokio::task::spawn_blocking(move || clear_dirs(&run)).await.map_err(io::Error::other)?
}

/// Ends the processes of the replica, or of all replicas, whose directory is this one or below it, whatever group they
/// are in and whoever their parent is: a replica's children may have made groups of their own and have been orphaned.
/// They are gone when this returns.
pub(crate) async fn sweep(dir: &Path) {
    let dir: Arc<Path> = dir.into();
    for _ in 0..SWEEPS {
        let killed = tokio::task::spawn_blocking({
            let dir = Arc::clone(&dir);
            move || kill_below(&dir)
        });
        // Again until there are none: one may have been forked meanwhile, and an end takes a moment.
        if killed.await.unwrap_or_default() == 0 {
            return;
        }
        tokio::time::sleep(SWEEP_PAUSE).await;
    }
    tracing::warn!(dir = %dir.display(), "Processes of a replica that has ended cannot be ended");
}

fn clear_dirs(run: &Path) -> io::Result<()> {
    for (_, dir) in disk::entries(run)? {
        let record = fs::read(dir.join(FILE)).ok().and_then(|text| serde_json::from_slice::<Record>(&text).ok());
        if let Some(record) = record.filter(|record| record.boot == boot()) {
            kill_if(record.pid, || Stat::of(record.pid).is_some_and(|stat| stat.started_at == record.started_at));
        }
        if let Err(error) = disk::remove_dir(&dir, disk::briefly()) {
            tracing::warn!(%error, dir = %dir.display(), "What an earlier run left cannot be removed");
        }
    }
    Ok(())
}

/// Kills the processes given secrets below a directory; how many there were.
fn kill_below(dir: &Path) -> usize {
    let Ok(processes) = fs::read_dir("/proc") else { return 0 };
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // First without a handle: most processes are others.
    pids.filter(|pid| belongs(*pid, dir) && kill_if(*pid, || belongs(*pid, dir))).count()
}

/// Whether a process has been given its secrets below a directory. Every replica is, and hands it on to what it starts;
/// one that has ended and waits to be reaped has no environment any more.
fn belongs(pid: i32, dir: &Path) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    environment.split(|byte| *byte == 0).any(|variable| {
        let value = variable.strip_prefix(env::SECRET_MOUNT_PATH.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
        value.is_some_and(|value| Path::new(OsStr::from_bytes(value)).starts_with(dir))
    })
}

/// Kills a process if it is the one meant, which is asked while its number can go to no other unseen.
fn kill_if(pid: i32, is_meant: impl FnOnce() -> bool) -> bool {
    let Some(handle) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
        return false;
    };
    if !is_meant() {
        return false;
    }
    tracing::debug!(pid, "What a replica has left behind is ended");
    match pidfd_send_signal(&handle, Signal::KILL) {
        // It has ended by itself.
        Err(Errno::SRCH) => {}
        Err(error) => tracing::debug!(%error, pid, "What a replica has left behind cannot be ended"),
        Ok(()) => {}
    }
    true
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned()).unwrap_or_default()
}
