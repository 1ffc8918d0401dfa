//! Killing all that is in a group.

use super::{CgroupError, failed, read, write};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::Path;

/// How often the list of processes is gone through: those that were being started while it was read show up in the
/// next one.
const ROUNDS: usize = 16;

/// Kills all processes of the group whose folder this is. At once where the kernel can (version 2, Linux 5.14).
pub(super) fn all(folder: &Path) -> Result<(), CgroupError> {
    if folder.join("cgroup.kill").exists() {
        return write(folder, "cgroup.kill", 1);
    }
    // What multiplies faster than it is killed may not start anything more.
    if folder.join("pids.max").exists() {
        write(folder, "pids.max", 0)?;
    }
    for _ in 0..ROUNDS {
        let listed = processes(folder)?;
        if listed.is_empty() {
            break;
        }
        let open: Vec<_> =
            listed.into_iter().filter_map(|pid| Some((pid, pidfd_open(pid, PidfdFlags::empty()).ok()?))).collect();
        // A number read before may be another process by now: one that is still listed here is not.
        let listed = processes(folder)?;
        for (pid, process) in open.iter().filter(|(pid, _)| listed.contains(pid)) {
            match pidfd_send_signal(process, Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => {
                    let path = folder.join(format!("cgroup.procs (process {})", pid.as_raw_nonzero()));
                    return Err(failed("killing what is in", &path)(error.into()));
                }
            }
        }
    }
    Ok(())
}

fn processes(folder: &Path) -> Result<HashSet<Pid>, CgroupError> {
    match read(folder, "cgroup.procs") {
        // Processes of other process namespaces are listed as 0.
        Ok(text) => Ok(text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect()),
        Err(error) if error.source.kind() == ErrorKind::NotFound => Ok(HashSet::new()),
        // ENODEV: the group went while its file was open.
        Err(error) if error.source.raw_os_error() == Some(libc::ENODEV) => Ok(HashSet::new()),
        Err(error) => Err(error),
    }
}
