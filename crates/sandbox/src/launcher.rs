//! The platform's side: starts a helper, tells it what to start, and hears how it went.

use crate::agent::Agent;
use crate::exchange::{self, Failure, Go, Reply};
use crate::{Level, Network, Spec, helper};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions};
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long a start may take: a machine under load included.
pub const START_WITHIN: Duration = Duration::from_secs(20);

/// Starts confined processes through a program that calls [`helper::intercept`].
#[derive(Clone, Debug)]
pub struct Launcher {
    program: PathBuf,
}

/// The way to a helper that has not been told yet what to start: it may wait for long, started ahead of need.
/// Dropped unused, it lets the helper end, which whoever started it must reap.
#[derive(Debug)]
pub struct Control(OwnedFd);

/// A confined process that runs its program.
#[derive(Debug)]
pub struct Started {
    /// Its number: a child of this process (of the thread that started the helper), to be reaped with [`reap`] or
    /// `waitid`. It leads a session and a process group of its own. From [`crate::Level::Userns`] on it is the first
    /// process of its namespace: its end ends all others in there, and a signal it has no handler for does nothing
    /// to it, SIGKILL excepted.
    pub pid: Pid,
    /// What it writes, where the command said so.
    pub stdout: Option<ChildStdout>,
    /// What it writes, where the command said so.
    pub stderr: Option<ChildStderr>,
    /// The sockets that listen inside, in the order of the spec. They block.
    pub listeners: Vec<TcpListener>,
    /// Where one was asked for. To be kept as long as the function.
    pub agent: Option<Agent>,
    /// The directory of [`Spec::shared`].
    pub shared: Option<OwnedFd>,
}

/// Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A step of the helper failed.
    #[error("{step}: {}{}", .source, .hint.as_ref().map(|hint| format!(": {hint}")).unwrap_or_default())]
    Step {
        /// What was being done, as in `mount /proc`.
        step: String,
        /// More about it in words.
        hint: Option<String>,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A step of the helper failed for a reason that is not the kernel's.
    #[error("{step}: {hint}")]
    Refused {
        /// What was being done.
        step: String,
        /// Why it was not done.
        hint: String,
    },
    /// What the caller wanted to do before the program runs failed.
    #[error("prepare the start: {0}")]
    Prepare(#[source] io::Error),
    /// The helper ended without a word.
    #[error("the helper that confines the process ended without a word ({0})")]
    Silent(String),
    /// The helper took too long.
    #[error("the helper that confines the process did not answer within {0:?}")]
    Late(Duration),
    /// The helper could not be started or spoken with.
    #[error("the helper that confines the process cannot be started or spoken with: {0}")]
    Exchange(#[from] io::Error),
}

impl Launcher {
    /// Helpers are this very program, also after its file has been replaced.
    #[must_use]
    pub fn of_this_program() -> Self {
        Self::new("/proc/self/exe")
    }

    /// Helpers are `program`.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into() }
    }

    /// A command that starts a helper, and the way to speak to it.
    ///
    /// The caller may say where output goes; standard input is taken. The thread that spawns it must live as long as
    /// the function. The command must be dropped before [`Control::start`]: it holds an end of the socket. It needs
    /// nothing done between fork and exec, which would make the fork slower.
    pub fn command(&self) -> io::Result<(Command, Control)> {
        self.command_with(None)
    }

    /// The same for a helper that is started ahead of need, for functions at a level: it makes ahead what does not
    /// depend on the function.
    pub fn command_ahead(&self, level: Level) -> io::Result<(Command, Control)> {
        // Below, networks and mounts belong to the function's user namespace.
        self.command_with((level == Level::Full).then_some(helper::AHEAD))
    }

    fn command_with(&self, ahead: Option<&str>) -> io::Result<(Command, Control)> {
        let (ours, theirs) = exchange::pair()?;
        let mut command = Command::new(&self.program);
        command.arg0(helper::NAME).args(ahead).env_clear().process_group(0);
        command.stdin(Stdio::from(theirs)).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok((command, Control(ours)))
    }
}

impl Control {
    /// Tells the helper what to start and waits until its program runs.
    pub async fn start(self, helper: Child, spec: &Spec) -> Result<Started, StartError> {
        self.start_with(helper, spec, Go::AtOnce, |_| async { Ok(()) }).await
    }

    /// The same, but the program does not run before `prepare`, which is told the number of its process, is done: by
    /// then the process is in its namespaces. Where `prepare` fails, nothing is started.
    pub async fn start_after<P, F>(self, helper: Child, spec: &Spec, prepare: P) -> Result<Started, StartError>
    where
        P: FnOnce(Pid) -> F,
        F: Future<Output = io::Result<()>>,
    {
        self.start_with(helper, spec, Go::WhenTold, prepare).await
    }

    async fn start_with<P, F>(self, helper: Child, spec: &Spec, go: Go, prepare: P) -> Result<Started, StartError>
    where
        P: FnOnce(Pid) -> F,
        F: Future<Output = io::Result<()>>,
    {
        // Only readiness is asked of the socket: what it carries are messages, not a stream.
        let mut birth = Birth { socket: UnixStream::from_std(self.0.into())?, helper: Some(helper), pid: None };
        let exchanged = timeout(START_WITHIN, exchange_with(&mut birth, spec, go, prepare)).await;
        let Handed { listeners, shared } = match exchanged {
            Ok(Ok(handed)) => handed,
            Ok(Err(error)) => return Err(birth.undo(error)),
            Err(_) => return Err(birth.undo(StartError::Late(START_WITHIN))),
        };
        let Some(mut helper) = birth.helper.take() else {
            return Err(birth.undo(StartError::Silent("it was not there".to_owned())));
        };
        let (stdout, stderr) = (helper.stdout.take(), helper.stderr.take());
        let agent = match &spec.network {
            Network::Own { agent: Some(_), .. } if spec.level >= Level::Userns => Some(Agent(helper)),
            _ => {
                reap_helper(helper).await?;
                None
            }
        };
        let Some(pid) = birth.pid.take() else {
            return Err(birth.undo(StartError::Silent("it named no process".to_owned())));
        };
        Ok(Started { pid, stdout, stderr, listeners, agent, shared })
    }
}

/// Its end of the socket is closed, so it is at its very end.
async fn reap_helper(mut helper: Child) -> io::Result<()> {
    match helper.try_wait()? {
        Some(_) => Ok(()),
        None => tokio::task::spawn_blocking(move || helper.wait()).await.map_err(io::Error::other)?.map(drop),
    }
}

/// What a helper hands out.
#[derive(Default)]
struct Handed {
    listeners: Vec<TcpListener>,
    shared: Option<OwnedFd>,
}

/// Sends the spec and takes answers until the socket closes.
async fn exchange_with<P, F>(birth: &mut Birth, spec: &Spec, go: Go, prepare: P) -> Result<Handed, StartError>
where
    P: FnOnce(Pid) -> F,
    F: Future<Output = io::Result<()>>,
{
    let socket = &birth.socket;
    let mut unsent = None;
    for piece in exchange::pieces(spec, go)? {
        let sent = socket.async_io(Interest::WRITABLE, || Ok(exchange::send(socket, &piece, &[])?)).await;
        if let Err(error) = sent {
            // The helper may have said why it no longer listens.
            unsent = Some(error);
            break;
        }
    }
    let mut prepare = Some(prepare).filter(|_| go == Go::WhenTold);
    let mut handed = Handed::default();
    loop {
        let received = socket.async_io(Interest::READABLE, || Ok(exchange::receive(socket)?)).await;
        let (message, descriptors) = match received {
            Ok((message, _)) if message.is_empty() => break,
            Ok(received) => received,
            // It ended with something of ours unread.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error.into()),
        };
        match postcard::from_bytes(&message).map_err(io::Error::other)? {
            Reply::Forked { pid } => {
                birth.pid = Pid::from_raw(pid);
                handed.listeners = descriptors.into_iter().map(TcpListener::from).collect();
                if let (Some(prepare), Some(pid)) = (prepare.take(), birth.pid) {
                    prepare(pid).await.map_err(StartError::Prepare)?;
                    socket.async_io(Interest::WRITABLE, || Ok(exchange::send(socket, b"go", &[])?)).await?;
                }
            }
            Reply::Shared => handed.shared = descriptors.into_iter().next(),
            Reply::Failed(failure) => return Err(failure.into()),
        }
    }
    match (unsent, birth.pid) {
        (None, Some(_)) => Ok(handed),
        (Some(error), _) => Err(error.into()),
        (None, None) => Err(StartError::Silent("before it made a process".to_owned())),
    }
}

impl From<Failure> for StartError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure { step, errno: 0, hint } => Self::Refused { step, hint: hint.unwrap_or_default() },
            Failure { step, errno, hint } => Self::Step { step, hint, source: io::Error::from_raw_os_error(errno) },
        }
    }
}

/// A start that is under way. Dropped, it leaves nothing behind.
struct Birth {
    socket: UnixStream,
    helper: Option<Child>,
    pid: Option<Pid>,
}

impl Birth {
    /// Ends what there is of it, and adds how the helper ended where it has said nothing.
    fn undo(mut self, error: StartError) -> StartError {
        match (error, self.clear()) {
            (StartError::Silent(_), Some(status)) => StartError::Silent(status.to_string()),
            (error, _) => error,
        }
    }

    fn clear(&mut self) -> Option<ExitStatus> {
        let helper = self.helper.take();
        let group = helper.as_ref().map(Pid::from_child);
        if let Some(group) = group {
            // All there is of it that it has not named is in its group; the number stays taken until it is reaped.
            rustix::process::kill_process_group(group, Signal::KILL).unwrap_or_default();
            let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while let Err(Errno::INTR) = rustix::process::waitid(WaitId::Pid(group), ended) {}
        }
        if let Some(pid) = self.pid.take().or_else(|| self.named()) {
            // It may lead its group by now, with others in it.
            rustix::process::kill_process_group(pid, Signal::KILL).unwrap_or_default();
            rustix::process::kill_process(pid, Signal::KILL).unwrap_or_default();
            reap(pid).map(drop).unwrap_or_default();
        }
        let status = helper?.wait().ok();
        while let Ok(Some(_)) | Err(Errno::INTR) = rustix::process::waitpgid(group?, WaitOptions::empty()) {}
        status
    }

    /// The process that the helper, which has ended, has named and let go on before anyone read of it.
    fn named(&self) -> Option<Pid> {
        loop {
            match exchange::receive(&self.socket) {
                Ok((message, _)) if message.is_empty() => return None,
                Ok((message, _)) => {
                    if let Ok(Reply::Forked { pid }) = postcard::from_bytes(&message) {
                        return Pid::from_raw(pid);
                    }
                }
                // It is said once, when the helper has left something of ours unread.
                Err(Errno::CONNRESET) => {}
                Err(_) => return None,
            }
        }
    }
}

impl Drop for Birth {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Waits for the end of a process of ours and reaps it.
pub fn reap(pid: Pid) -> io::Result<ExitStatus> {
    loop {
        match rustix::process::waitpid(Some(pid), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(ExitStatus::from_raw(status.as_raw())),
            Ok(None) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
