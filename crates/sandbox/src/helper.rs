//! The helper: a process with one thread that makes a confined process and ends, or stays as its agent.
//!
//! It is this very program, started again under another name. It makes what belongs outside (user, network, sockets),
//! forks the function's process as a child of the platform, and lets it go on once the platform knows of it; what
//! belongs inside is made by that process itself ([`inside`]).

mod ahead;
mod devices;
mod inside;
mod mounts;
mod network;
mod program;
mod serve;
mod sys;
mod texts;
mod user;

use crate::exchange::{self, Failure, Go, Reply, Step};
use crate::{Level, Network, Spec};
use ahead::{Ahead, EmptyRoot};
use mounts::{Below, Sources};
use rustix::fs::Mode;
use rustix::process::{Signal, set_parent_process_death_signal};
use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use sys::{Forked, Idle};

/// The name the helper is started under.
pub const NAME: &str = "crema-sandbox";
/// The word for one that is to make what it can before it is told what for.
pub(crate) const AHEAD: &str = "ahead";

/// Works as the helper if this process was started as one; to be called first of all in `main`.
///
/// Where the answer is a code, `main` returns it and does nothing else.
#[must_use]
pub fn intercept() -> Option<ExitCode> {
    let mut words = std::env::args_os();
    if words.next()? != NAME {
        return None;
    }
    let is_ahead = words.next().is_some_and(|word| word == AHEAD);
    // Whom to tell of an error is what failed.
    let Ok(platform) = take_platform() else { return Some(ExitCode::FAILURE) };
    match run(&platform, is_ahead) {
        Ok(agent) => {
            // Its end tells the platform that there is nothing more to hear.
            drop(platform);
            Some(agent.map_or(Ok(()), stay).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS))
        }
        Err(failure) => {
            tell(&platform, failure);
            Some(ExitCode::FAILURE)
        }
    }
}

/// Where an agent is called, and what tells it that its function has ended.
type AgentParts = (UnixListener, OwnedFd);

/// The socket to the platform, which comes as standard input and goes to where nothing looks for it.
fn take_platform() -> io::Result<OwnedFd> {
    let platform = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(platform)
}

/// Says what failed. If the platform has gone, nobody wants to know.
fn tell(platform: &OwnedFd, failure: Failure) {
    exchange::send_reply(platform, &Reply::Failed(failure), &[]).unwrap_or_default();
}

fn run(platform: &OwnedFd, is_ahead: bool) -> Result<Option<AgentParts>, Failure> {
    die_with_platform(platform)?;
    let ahead = if is_ahead { Ahead::make()? } else { Ahead::default() };
    match exchange::receive_spec(platform).step("read what to start")? {
        Some((go, spec)) => start(platform, &spec, go, ahead),
        None => Ok(None),
    }
}

/// Asks to be killed when the platform dies. Becoming another user takes that back, so it is asked again then.
fn die_with_platform(platform: &OwnedFd) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL)).step("ask for the platform's death signal")?;
    match is_hung_up(platform.as_fd()) {
        false => Ok(()),
        true => Err(Failure::because("look for the platform", "it has ended")),
    }
}

/// Whether the other end is closed, which the platform's end does only by its death.
fn is_hung_up(socket: BorrowedFd<'_>) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut sockets = [PollFd::from_borrowed_fd(socket, PollFlags::empty())];
    let seen = poll(&mut sockets, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    seen.is_ok_and(|seen| seen > 0) && sockets[0].revents().contains(PollFlags::HUP)
}

/// What is made outside for the function's process.
struct Outside {
    /// Mounts that were opened before the right to do so was given up.
    sources: Option<Sources>,
    listeners: Vec<TcpListener>,
    agent: Option<UnixListener>,
    /// What gave its user namespace: its end is waited for when the function is on its way.
    idle: Option<Idle>,
}

fn start(platform: &OwnedFd, spec: &Spec, go: Go, mut ahead: Ahead) -> Result<Option<AgentParts>, Failure> {
    sys::close_on_exec_from(3).step("close what was inherited")?;
    // What is made for the function is for it to use, and it begins as programs expect, whatever the platform has.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let groups = open_groups(spec)?;
    let root = ahead.take_root(spec.level);
    let outside = prepare(platform, spec, ahead)?;
    let (gate, opener) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).step("make a pipe")?;
    match fork(spec.level, root.as_ref())? {
        Forked::Child => {
            // It has no such child.
            std::mem::forget(outside.idle);
            let below = if root.is_some() { Below::Nothing } else { Below::Machine };
            drop((opener, root));
            inside::enter(platform, spec, (outside.sources, below), groups, &gate)?;
            Ok(None)
        }
        Forked::Parent(pid, end) => {
            drop(groups);
            root.map_or(Ok(()), EmptyRoot::leave)?;
            let listeners: Vec<_> = outside.listeners.iter().map(AsFd::as_fd).collect();
            exchange::send_reply(platform, &Reply::Forked { pid: pid.as_raw_nonzero().get() }, &listeners)
                .step("tell the platform")?;
            if go == Go::WhenTold {
                let told = exchange::receive(platform).step("wait for the platform")?;
                if told.0.is_empty() {
                    return Err(Failure::because("wait for the platform", "it has given the start up"));
                }
            }
            rustix::io::write(&opener, b"!").step("let the function's process go on")?;
            let Some(agent) = outside.agent else { return Ok(None) };
            user::settle(spec)?;
            user::bound()?;
            user::drop_capabilities()?;
            die_with_platform(platform)?;
            Ok(Some((agent, end)))
        }
    }
}

/// Forks the function's process with namespaces of its own.
fn fork(level: Level, root: Option<&EmptyRoot>) -> Result<Forked, Failure> {
    let others = libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    let namespaces = match (level, root) {
        (Level::None | Level::Process, _) => 0,
        (Level::Userns | Level::Full, None) => libc::CLONE_NEWNS | others,
        (Level::Userns | Level::Full, Some(root)) => {
            root.enter()?;
            others
        }
    };
    sys::fork(namespaces).step("clone with new namespaces")
}

/// The control groups' files, opened while that is allowed.
fn open_groups(spec: &Spec) -> Result<Vec<File>, Failure> {
    let open = |path: &std::path::PathBuf| {
        File::options().write(true).open(path).step_with(|| format!("open {}", path.display()))
    };
    spec.cgroups.iter().map(open).collect()
}

/// Makes what belongs outside, and becomes whoever may make the rest.
fn prepare(platform: &OwnedFd, spec: &Spec, mut ahead: Ahead) -> Result<Outside, Failure> {
    let mut outside = Outside { sources: None, listeners: Vec::new(), agent: None, idle: None };
    let has_network = ahead.fit_network(spec)?;
    if spec.level < Level::Userns {
        return Ok(outside);
    }
    let is_root = rustix::process::geteuid().is_root();
    if let Network::Own { agent: Some(path), .. } = &spec.network {
        outside.agent = Some(UnixListener::bind(path).step_with(|| format!("listen on {}", path.display()))?);
    }
    if is_root {
        if spec.user.is_some() && mounts::can_map(spec) {
            outside.idle = ahead.take_idle().or_else(|| Idle::fork().ok());
        }
        outside.sources = Some(Sources::open(spec, outside.idle.as_ref())?);
    }
    if spec.level == Level::Userns {
        user::enter_namespace(platform, spec, is_root)?;
    }
    if let Network::Own { listen, .. } = &spec.network {
        if !has_network {
            network::make()?;
        }
        outside.listeners = network::listen_on(listen)?;
    }
    Ok(outside)
}

/// Serves as agent. The function's output is not ours to hold open.
fn stay((agent, end): AgentParts) -> io::Result<()> {
    let null = File::options().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    drop(null);
    rustix::process::chdir("/")?;
    serve::confine()?;
    serve::run(&agent, &end)
}
