//! What an earlier process of the platform left behind: replicas that outlived it, their sockets and directories.
//!
//! A replica dies with the platform by itself; this is for what it had started in its turn, and for machines where
//! the kernel's order did not get through. A process is killed only when it is the recorded one beyond doubt.

use crate::disk;
use crate::usage::{self, Stat};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::Path;

const FILE: &str = "record.json";

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
pub(crate) fn clear(run: &Path) -> io::Result<()> {
    for (_, dir) in disk::entries(run)? {
        let record = fs::read(dir.join(FILE)).ok().and_then(|text| serde_json::from_slice::<Record>(&text).ok());
        if let Some(record) = record.filter(|record| record.boot == boot()) {
            kill_group(&record, &dir);
        }
        disk::remove_dir(&dir)?;
    }
    Ok(())
}

/// The leader is known by its start time, the others by the socket in their environment: a group's number may have
/// been given away.
fn kill_group(record: &Record, dir: &Path) {
    let socket = format!("{}={}", wire::env::SOCKET, dir.display());
    let is_ours = |stat: &Stat| {
        let is_leader = stat.pid == record.pid && stat.started_at == record.started_at;
        is_leader
            || fs::read(format!("/proc/{}/environ", stat.pid)).is_ok_and(|text| contains(&text, socket.as_bytes()))
    };
    for stat in usage::group(record.pid).into_iter().filter(is_ours) {
        let Some(pid) = Pid::from_raw(stat.pid) else { continue };
        tracing::warn!(pid = stat.pid, "A process of an earlier run is ended");
        if let Err(error) = kill_process(pid, Signal::KILL) {
            tracing::warn!(%error, pid = stat.pid, "A process of an earlier run cannot be ended");
        }
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned()).unwrap_or_default()
}
