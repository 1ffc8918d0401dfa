//! The agent's work: a socket of this network for each byte it is sent, until the function's process has ended.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;

/// Callers served at a time: only the platform calls.
const MOST_CALLERS: usize = 64;

pub(super) fn run(listener: UnixListener, end: OwnedFd) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut callers: Vec<OwnedFd> = Vec::new();
    loop {
        let mut watched = vec![PollFd::new(&end, PollFlags::IN), PollFd::new(&listener, PollFlags::IN)];
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
        let family = if *byte == crate::agent::SIX { AddressFamily::INET6 } else { AddressFamily::INET };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        crate::exchange::send(caller, &[*byte], &[socket.as_fd()])?;
    }
    Ok(())
}
