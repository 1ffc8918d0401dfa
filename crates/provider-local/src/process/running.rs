//! A replica's process while it runs and until nothing of it is left.

use super::ReplicaDir;
use crate::logs::{Captured, FunctionLog, Reader};
use crate::readiness;
use crate::runtime::{Running, Sample};
use crate::secrets::Secrets;
use crate::spawner::Spawner;
use crate::survivors;
use crate::usage;
use async_trait::async_trait;
use provider::Address;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long to read on what an ended process has written: something outside its group may keep the pipe open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How much likelier than by its size the kernel chooses a function when memory runs out.
const OOM_SCORE: &str = "300";

/// What a process is watched with.
pub(super) struct Parts {
    pub(super) dir: ReplicaDir,
    pub(super) ready_path: Option<String>,
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
    dir: ReplicaDir,
    ready_path: String,
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
    fn reap(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let mut pid = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = pid.take() {
            signal_group(pid, Signal::KILL);
        }
        child.wait()
    }
}

impl Process {
    /// Watches a process that has just been started: its end, and what it writes.
    pub(super) fn watch(mut child: Child, parts: Parts) -> io::Result<Self> {
        match Self::try_watch(&mut child, &parts) {
            Ok((pid, ends, output)) => {
                let group = Arc::new(Group(Mutex::new(Some(pid))));
                let (sender, ended) = watch::channel(None);
                Ok(Self {
                    dir: parts.dir.clone(),
                    ready_path: path(parts.ready_path.as_deref()),
                    grace: parts.grace,
                    ended,
                    _watcher: tokio::spawn(until_gone(child, Arc::clone(&group), ends, output, parts, sender)),
                    group,
                })
            }
            Err(error) => {
                child.kill().and_then(|()| child.wait()).map(drop).unwrap_or_default();
                Err(error)
            }
        }
    }

    fn try_watch(child: &mut Child, parts: &Parts) -> io::Result<(Pid, unix::Signal, Vec<Captured>)> {
        let pid = Pid::from_child(child);
        let ends = unix::signal(SignalKind::child())?;
        survivors::record(&parts.dir.0, pid.as_raw_nonzero().get())?;
        // When memory runs out, functions go before the platform. A kernel that does not let us is no reason to fail.
        std::fs::write(format!("/proc/{pid}/oom_score_adj"), OOM_SCORE).unwrap_or_default();
        let pipes = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
        let capture = |pipe| parts.reader.capture(pipe, Arc::clone(&parts.log), parts.instance.clone());
        let output = pipes.into_iter().flatten().map(capture).collect::<io::Result<_>>()?;
        Ok((pid, ends, output))
    }
}

/// Waits for a process's end and clears up after it.
async fn until_gone(
    mut child: Child,
    group: Arc<Group>,
    mut ends: unix::Signal,
    mut output: Vec<Captured>,
    parts: Parts,
    ended: watch::Sender<Option<String>>,
) {
    // Signals of several ends may come as one, and one may have come before this line: look first.
    while !has_ended(Pid::from_child(&child)) {
        // The stream of signals does not end.
        ends.recv().await.unwrap_or_default();
    }
    let how = group.reap(&mut child).map_or_else(|error| format!("ended, how is not known: {error}"), in_words);
    survivors::sweep(&parts.dir.0).await;
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
        Address::Unix(self.dir.socket())
    }

    async fn ready(&self) {
        readiness::wait(&self.dir.socket(), &self.ready_path).await;
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
        let pid = *self.group.0.lock().unwrap_or_else(PoisonError::into_inner);
        usage::sample(pid?.as_raw_nonzero().get())
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

/// The path to ask for readiness.
fn path(annotation: Option<&str>) -> String {
    match annotation.map(str::trim) {
        None | Some("") => readiness::DEFAULT_PATH.to_owned(),
        Some(path) if path.starts_with('/') => path.to_owned(),
        Some(path) => format!("/{path}"),
    }
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
