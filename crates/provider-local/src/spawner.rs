//! The thread every replica is forked from.
//!
//! A replica asks the kernel to be killed when its parent dies, and for the kernel the parent is the *thread* that
//! forked it. Threads of a pool come and go; this one lives as long as the replicas do.

use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use rustix::thread::set_no_new_privs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// Tries to start a file that someone still has open for writing: a process being forked elsewhere holds what is
/// being unpacked for a moment.
const BUSY_TRIES: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(5);

struct Job {
    command: Command,
    reply: oneshot::Sender<(Command, io::Result<Child>)>,
}

/// Starts processes. Dropping it ends the thread, and with it whatever was started.
#[derive(Debug)]
pub(crate) struct Spawner(mpsc::Sender<Job>);

impl Spawner {
    pub(crate) fn new() -> io::Result<Self> {
        let (sender, jobs) = mpsc::channel::<Job>();
        thread::Builder::new().name("spawner".to_owned()).spawn(move || {
            for mut job in jobs {
                let child = job.command.spawn();
                if let Err((_, Ok(mut orphan))) = job.reply.send((job.command, child)) {
                    // Whoever asked is gone.
                    orphan.kill().and_then(|()| orphan.wait()).map(drop).unwrap_or_default();
                }
            }
        })?;
        Ok(Self(sender))
    }

    /// Starts a process in a group of its own that dies with this process.
    pub(crate) async fn spawn(&self, mut command: Command) -> io::Result<Child> {
        for _ in 0..BUSY_TRIES {
            let (same, child) = self.try_spawn(command).await;
            match child {
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => command = same,
                child => return child,
            }
            tokio::time::sleep(BUSY_PAUSE).await;
        }
        Err(io::ErrorKind::ExecutableFileBusy.into())
    }

    /// The command comes back for another try.
    async fn try_spawn(&self, command: Command) -> (Command, io::Result<Child>) {
        let (reply, answer) = oneshot::channel();
        match self.0.send(Job { command, reply }) {
            Ok(()) => answer.await.unwrap_or_else(|_| (Command::new(""), Err(gone()))),
            Err(mpsc::SendError(job)) => (job.command, Err(gone())),
        }
    }
}

/// Makes a command's process the leader of its own group, lets it die with this process, also by SIGKILL, and keeps
/// it and all it starts from becoming another user by running a set-user-id program.
///
/// The standard library gives the child an empty signal mask and the default SIGPIPE before this runs.
#[expect(unsafe_code, reason = "only between fork and exec can a process ask for its parent's death signal")]
pub(crate) fn bind_to_parent(command: &mut Command) {
    let parent = rustix::process::getpid();
    command.process_group(0);
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; these are three system calls without
    // allocation or lock, and the error is made from a number.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            set_no_new_privs(true)?;
            // The parent may have died before the signal was asked for.
            match getppid() == Some(parent) {
                true => Ok(()),
                false => Err(io::Error::from_raw_os_error(rustix::io::Errno::SRCH.raw_os_error())),
            }
        });
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that starts processes has ended")
}
