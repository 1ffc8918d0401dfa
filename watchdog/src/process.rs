//! A process of the function: a process group of its own, which ends with the watchdog and as a whole.

use crate::reaper::Awaited;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpid, getppid, kill_process_group, waitid};
use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use tokio::io::AsyncRead;
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::signal::unix::{SignalKind, signal};
use wire::env;

/// A process that cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("fork/exec {command}: {why}")]
pub(crate) struct SpawnError {
    command: String,
    why: String,
}

/// A process and those it started; dropping it kills them.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    group: Option<Awaited>,
    combined: Option<pipe::Receiver>,
}

/// Where a process reads and writes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Streams {
    /// A pipe for each output, and nothing to read.
    NoInput,
    /// A pipe for each.
    Each,
    /// A pipe to read, and one for both outputs.
    Combined,
}

impl Process {
    /// Starts `command` with `variables` added to the watchdog's own; `streams` says where it reads and writes.
    pub(crate) fn spawn(
        command: &[String],
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        streams: Streams,
    ) -> Result<Self, SpawnError> {
        let (program, arguments) = command.split_first().expect("a command has a program");
        let mut ready = Command::new(program);
        ready
            .args(arguments)
            .envs(variables)
            // They are the watchdog's: a process that knows them as well would serve there.
            .env_remove(env::SOCKET)
            .env_remove(env::METRICS_SOCKET)
            .stdin(if streams == Streams::NoInput { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        ends_with_us(&mut ready);
        let started = match streams {
            Streams::NoInput | Streams::Each => ready.spawn().map(|child| (child, None)),
            Streams::Combined => combined(ready),
        };
        let (child, combined) = started.map_err(|error| SpawnError { command: program.clone(), why: words(&error) })?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).map(Awaited::mark);
        Ok(Self { child, group, combined })
    }

    pub(crate) fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// What is the answer: both outputs if they are one.
    pub(crate) fn output(&mut self) -> Option<Box<dyn AsyncRead + Unpin>> {
        match self.combined.take() {
            Some(combined) => Some(Box::new(combined)),
            None => Some(Box::new(self.stdout()?)),
        }
    }

    pub(crate) fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    pub(crate) fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Signals the whole group.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(group) = &self.group {
            // All of it may be gone already.
            kill_process_group(group.id(), signal).unwrap_or_default();
        }
    }

    /// Waits for the process's end, and ends with it whatever it leaves behind. May be called again.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        if let Some(process) = self.group.as_ref().map(Awaited::id) {
            // Before the first look, so that no end is missed.
            let mut ends = signal(SignalKind::child())?;
            while !is_over(process) && ends.recv().await.is_some() {}
            // While the process is not reaped its id is nobody else's.
            self.signal(Signal::KILL);
        }
        let status = self.child.wait().await?;
        self.group = None;
        Ok(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Not after `ended`: the id may be another's by then. tokio reaps what is killed here.
        self.signal(Signal::KILL);
    }
}

/// Starts a process with one pipe for both outputs, in the order it writes.
fn combined(mut ready: Command) -> io::Result<(Child, Option<pipe::Receiver>)> {
    let (from, to) = io::pipe()?;
    let from = pipe::Receiver::from_owned_fd(from.into())?;
    let child = ready.stdout(to.try_clone()?).stderr(to).spawn()?;
    Ok((child, Some(from)))
}

/// Whether a process of ours has ended, without reaping it.
fn is_over(process: Pid) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    // An error: it is reaped already.
    waitid(WaitId::Pid(process), look).map_or(true, |status| status.is_some())
}

/// Has the kernel kill the process when the watchdog dies, however it does.
#[expect(unsafe_code, reason = "runs between fork and exec; it calls prctl and getppid only, which is allowed there")]
fn ends_with_us(command: &mut Command) {
    let us = getpid();
    let last_words = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // If the watchdog died before that call, no signal will come.
        if getppid() == Some(us) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: `last_words` allocates nothing, takes no lock, and makes two system calls.
    unsafe {
        command.pre_exec(last_words);
    }
}

/// An error in words, without the number that Rust puts behind it.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    text.to_lowercase()
}
