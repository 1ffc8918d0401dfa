//! The agent's work: a socket of this network for each byte it is sent, until the function's process has ended.

use super::sys;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;

/// Callers served at a time: only the platform calls.
const MOST_CALLERS: usize = 64;

/// Gives up what the agent does not need: all but sockets and what memory takes.
pub(super) fn confine() -> io::Result<()> {
    sys::set_dumpable(false)?;
    let plain = CALLS.iter().map(|call| (*call, Vec::new()));
    let filter = || -> Result<BpfProgram, BackendError> {
        let inet = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, libc::AF_INET as u64)?;
        let rules = plain.chain([(libc::SYS_socket, vec![SeccompRule::new(vec![inet])?])]).collect();
        let (others, these) = (SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow);
        SeccompFilter::new(rules, others, these, std::env::consts::ARCH.try_into()?)?.try_into()
    };
    seccompiler::apply_filter(&filter().map_err(io::Error::other)?).map_err(io::Error::other)
}

/// What the agent calls, besides making sockets.
const CALLS: &[libc::c_long] = &[
    libc::SYS_accept4,
    libc::SYS_brk,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_futex,
    libc::SYS_getrandom,
    libc::SYS_ioctl,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mremap,
    libc::SYS_munmap,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_read,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigreturn,
    libc::SYS_sendmsg,
    libc::SYS_sigaltstack,
];

pub(super) fn run(listener: &UnixListener, end: &OwnedFd) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut callers: Vec<OwnedFd> = Vec::new();
    loop {
        let mut watched = vec![PollFd::new(end, PollFlags::IN), PollFd::new(listener, PollFlags::IN)];
        watched.extend(callers.iter().map(|caller| PollFd::new(caller, PollFlags::IN)));
        poll(&mut watched, None)?;
        let ready: Vec<bool> = watched.iter().map(|watched| !watched.revents().is_empty()).collect();
        if ready.first() == Some(&true) {
            return Ok(());
        }
        let mut ready_callers = ready.iter().skip(2);
        callers.retain(|caller| !ready_callers.next().is_some_and(|ready| *ready) || answer(caller).is_ok());
        if ready.get(1) == Some(&true)
            && callers.len() < MOST_CALLERS
            && let Ok((caller, _)) = listener.accept()
        {
            caller.set_nonblocking(true)?;
            callers.push(caller.into());
        }
    }
}

fn answer(caller: &OwnedFd) -> rustix::io::Result<()> {
    let mut bytes = [0; 16];
    let count = rustix::io::read(caller, &mut bytes)?;
    if count == 0 {
        return Err(rustix::io::Errno::PIPE);
    }
    for byte in &bytes[..count] {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        crate::exchange::send(caller, &[*byte], &[socket.as_fd()])?;
    }
    Ok(())
}
