//! A replica's process while it runs and until nothing of it is left.

use super::born::Born;
use super::confined::{Listens, SOCKETS};
use super::{ReplicaDir, SOCKET};
use crate::logs::{Captured, FunctionLog, Reader};
use crate::readiness::{self, Probe};
use crate::runtime::{Running, Sample};
use crate::secrets::Secrets;
use crate::spawner::Spawner;
use crate::survivors;
use crate::usage;
use async_trait::async_trait;
use forward::UnixSocket;
use provider::Address;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use sandbox::cgroup::{Cgroup, Removal};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// How long to read on what an ended process has written: something outside its group may keep the pipe open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long to wait for what is in a control group to end after it has been killed.
const CLEARING: Duration = Duration::from_secs(2);
const CLEARING_PAUSE: Duration = Duration::from_millis(2);

/// How much likelier than by its size the kernel chooses a function when memory runs out.
const OOM_SCORE: &str = "300";

/// What a process is watched with.
pub(super) struct Parts {
    pub(super) dir: ReplicaDir,
    pub(super) cgroup: Option<Cgroup>,
    /// Whether all that it starts is in a namespace of processes, which ends with it.
    pub(super) has_own_processes: bool,
    pub(super) grace: Duration,
    pub(super) secrets: Arc<Secrets>,
    pub(super) log: Arc<FunctionLog>,
    pub(super) reader: Arc<Reader>,
    pub(super) instance: String,
    /// Its thread is the process's parent and must outlive it.
    pub(super) spawner: Arc<Spawner>,
}

/// The process group of a replica. Dropping it kills it.
pub(super) struct Process {
    group: Arc<Group>,
    address: Address,
    cgroup: Option<Cgroup>,
    grace: Duration,
    ended: watch::Receiver<Option<String>>,
    /// Goes on after a drop, which makes it end.
    _watcher: JoinHandle<()>,
}

/// The group's number as long as it is ours: after the leader has been reaped it may be anyone's.
struct Group(Mutex<Option<Pid>>);

impl Group {
    fn signal(&self, signal: Signal) {
        let pid = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = *pid {
            signal_group(pid, signal);
        }
    }

    /// Kills what the leader left behind and reaps it. Its end has been seen, so nothing here waits.
    fn reap(&self) -> io::Result<ExitStatus> {
        let mut pid = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pid) = pid.take() else { return Err(io::ErrorKind::NotFound.into()) };
        signal_group(pid, Signal::KILL);
        sandbox::reap(pid)
    }
}

impl Process {
    /// Watches a process that has just been started: its end, and what it writes.
    pub(super) async fn watch(mut born: Born, listens: Listens, parts: Parts) -> io::Result<Self> {
        let group = Arc::new(Group(Mutex::new(Some(born.pid))));
        let watched =
            address(listens, &mut born).and_then(|address| Ok((address, Self::try_watch(&mut born, &parts)?)));
        match watched {
            Ok((address, (ends, output))) => {
                let (sender, ended) = watch::channel(None);
                Ok(Self {
                    address,
                    cgroup: parts.cgroup.clone(),
                    grace: parts.grace,
                    ended,
                    _watcher: tokio::spawn(until_gone(born, Arc::clone(&group), ends, output, parts, sender)),
                    group,
                })
            }
            Err(error) => {
                group.signal(Signal::KILL);
                tokio::task::spawn_blocking(move || group.reap().map(drop).unwrap_or_default())
                    .await
                    .unwrap_or_default();
                remove_cgroup(parts.cgroup.as_ref()).await;
                Err(error)
            }
        }
    }

    fn try_watch(born: &mut Born, parts: &Parts) -> io::Result<(unix::Signal, Vec<Captured>)> {
        let ends = unix::signal(SignalKind::child())?;
        survivors::record(&parts.dir.0, born.pid.as_raw_nonzero().get())?;
        // When memory runs out, functions go before the platform. A kernel that does not let us is no reason to fail.
        std::fs::write(format!("/proc/{}/oom_score_adj", born.pid), OOM_SCORE).unwrap_or_default();
        let capture = |pipe| parts.reader.capture(pipe, Arc::clone(&parts.log), parts.instance.clone());
        let output = born.output.drain(..).map(capture).collect::<io::Result<_>>()?;
        Ok((ends, output))
    }
}

/// Waits for a process's end and clears up after it.
async fn until_gone(
    born: Born,
    group: Arc<Group>,
    mut ends: unix::Signal,
    mut output: Vec<Captured>,
    parts: Parts,
    ended: watch::Sender<Option<String>>,
) {
    // Signals of several ends may come as one, and one may have come before this line: look first.
    while !has_ended(born.pid) {
        // The stream of signals does not end.
        ends.recv().await.unwrap_or_default();
    }
    let how = group.reap().map_or_else(|error| format!("ended, how is not known: {error}"), in_words);
    let how = match parts.cgroup.as_ref().and_then(|cgroup| cgroup.oom_kills().ok()) {
        Some(1..) => format!("{how}: it used more memory than its limit"),
        _ => how,
    };
    // Whatever else is in its network and its group goes with it.
    drop(born);
    remove_cgroup(parts.cgroup.as_ref()).await;
    if !parts.has_own_processes {
        survivors::sweep(&parts.dir.0).await;
    }
    let drained = async {
        for pipe in &mut output {
            pipe.at_end().await;
        }
    };
    // What is not read by then is given up.
    timeout(LAST_WORDS, drained).await.unwrap_or_default();
    let Parts { dir, secrets, spawner, .. } = parts;
    tokio::task::spawn_blocking(move || dir.remove(&secrets)).await.unwrap_or_default();
    drop(spawner);
    ended.send_replace(Some(how));
}

#[async_trait]
impl Running for Process {
    fn address(&self) -> Address {
        self.address.clone()
    }

    async fn ready(&self, probe: &Probe) {
        readiness::until_ready(&self.address, probe).await;
    }

    async fn ended(&self) -> String {
        let mut ended = self.ended.clone();
        let how = ended.wait_for(Option::is_some).await.ok().and_then(|how| how.clone());
        how.unwrap_or_else(|| "is no longer watched".to_owned())
    }

    fn terminate(&self) {
        self.group.signal(Signal::TERM);
    }

    fn kill(&self) {
        self.group.signal(Signal::KILL);
    }

    fn sample(&self) -> Option<Sample> {
        let counted = self.cgroup.as_ref().and_then(|cgroup| {
            Some(Sample { cpu: cgroup.cpu_time().ok()??, memory_bytes: cgroup.memory_bytes().ok()?? })
        });
        let pid = *self.group.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.or_else(|| usage::sample(pid?.as_raw_nonzero().get()))
    }

    fn grace(&self) -> Duration {
        self.grace
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.group.signal(Signal::KILL);
    }
}

/// Where it listens, now that it is there.
fn address(listens: Listens, born: &mut Born) -> io::Result<Address> {
    match listens {
        Listens::At(address) => Ok(address),
        Listens::InShared => {
            let dir = born.shared.take().ok_or_else(|| io::Error::other("it was given no directory for its socket"))?;
            Ok(Address::Unix(UnixSocket::within(dir, &Path::new(SOCKETS).join(SOCKET))))
        }
    }
}

/// Whether a child of ours has ended; it stays to be reaped.
fn has_ended(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    // An error means that there is no such child, which is an end too.
    waitid(WaitId::Pid(pid), options).map_or(true, |status| status.is_some())
}

fn signal_group(pid: Pid, signal: Signal) {
    // The only error a group of ours can give is that it has ended.
    kill_process_group(pid, signal).unwrap_or_default();
}

/// Removes a control group with all that is still in it.
pub(super) async fn remove_cgroup(cgroup: Option<&Cgroup>) {
    let Some(cgroup) = cgroup else { return };
    let begun = Instant::now();
    loop {
        let removed = cgroup.kill_all().and_then(|()| cgroup.remove());
        match removed {
            Ok(Removal::Busy) if begun.elapsed() < CLEARING => sleep(CLEARING_PAUSE).await,
            Ok(Removal::Busy) => {
                tracing::warn!("Processes in a function's control group do not end");
                return;
            }
            Ok(Removal::Done) => return,
            Err(error) => {
                tracing::warn!(%error, "A function's control group cannot be removed");
                return;
            }
        }
    }
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
