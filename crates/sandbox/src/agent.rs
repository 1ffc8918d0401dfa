//! Sockets of a function's own network, handed out by the agent that stays in it.
//!
//! Protocol: each byte sent to the agent's Unix socket is answered with the same byte and one new TCP socket that is
//! not connected and does not block. Connecting it reaches what listens inside.

use crate::exchange;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;
use std::time::Duration;
use tokio::io::Interest;

/// Asks for a socket for IPv4 addresses.
pub(crate) const FOUR: u8 = b'4';
/// Asks for a socket for IPv6 addresses.
pub(crate) const SIX: u8 = b'6';

/// How long an agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The agent of a function. Dropping it ends it; the function goes on, but nothing new can be connected to it.
#[derive(Debug)]
pub struct Agent(pub(crate) Child);

impl Agent {
    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It ends by itself with the function; what is killed at once needs no wait worth the name.
        self.0.kill().and_then(|()| self.0.wait()).map(drop).unwrap_or_default();
    }
}

/// A socket of the network that the agent at `path` is in: TCP, IPv4, not connected, not blocking.
pub fn connect_socket(path: &Path) -> io::Result<OwnedFd> {
    let agent = UnixStream::connect(path)?;
    agent.set_read_timeout(Some(PATIENCE))?;
    exchange::send(&agent, &[FOUR], &[])?;
    only(exchange::receive(&agent)?)
}

/// The same without blocking the thread.
pub async fn connect_socket_async(path: &Path) -> io::Result<OwnedFd> {
    let asked = async {
        let agent = tokio::net::UnixStream::connect(path).await?;
        agent.async_io(Interest::WRITABLE, || Ok(exchange::send(agent.as_fd(), &[FOUR], &[])?)).await?;
        only(agent.async_io(Interest::READABLE, || Ok(exchange::receive(agent.as_fd())?)).await?)
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn only((_, sockets): (Vec<u8>, Vec<OwnedFd>)) -> io::Result<OwnedFd> {
    let gone = || io::Error::new(io::ErrorKind::ConnectionRefused, "the function's network is gone");
    sockets.into_iter().next().ok_or_else(gone)
}
