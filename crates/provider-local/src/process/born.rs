//! A replica's process right after its start.

use provider::Door;
use rustix::process::Pid;
use sandbox::Started;
use sandbox::agent::Agent;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::Arc;

/// A process of ours that runs, and what is to be kept as long as it does.
pub(super) struct Born {
    pub(super) pid: Pid,
    /// What it writes.
    pub(super) output: Vec<OwnedFd>,
    /// The directory that it shares.
    pub(super) shared: Option<OwnedFd>,
    /// The listeners in its network, served by the gateway.
    _doors: Vec<Box<dyn Send + Sync>>,
    _agent: Option<Agent>,
}

impl Born {
    pub(super) fn plain(mut child: Child) -> Self {
        let output = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
        let output = output.into_iter().flatten().collect();
        Self { pid: Pid::from_child(&child), output, shared: None, _doors: Vec::new(), _agent: None }
    }

    pub(super) fn confined(started: Started, door: Option<&Arc<dyn Door>>) -> io::Result<Self> {
        let Started { pid, stdout, stderr, listeners, agent, shared } = started;
        let output = [stdout.map(OwnedFd::from), stderr.map(OwnedFd::from)].into_iter().flatten().collect();
        let served = listeners.into_iter().filter_map(|listener| Some(door?.add(listener))).collect();
        match served {
            Ok(doors) => Ok(Self { pid, output, shared, _doors: doors, _agent: agent }),
            Err(error) => {
                // It has hardly begun.
                rustix::process::kill_process_group(pid, rustix::process::Signal::KILL).unwrap_or_default();
                sandbox::reap(pid)?;
                Err(error)
            }
        }
    }
}
