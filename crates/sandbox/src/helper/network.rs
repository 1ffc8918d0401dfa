//! A network of its own: the loopback device and the sockets that listen there.

use super::sys;
use crate::exchange::{Failure, MOST_DESCRIPTORS, Step};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;

/// Callers that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// Where the kernel keeps the first port that any user may listen on, for this network.
const FIRST_PORT: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

/// Brings the new network up and listens on it.
pub(super) fn set_up(listen: &[SocketAddr]) -> Result<Vec<TcpListener>, Failure> {
    if listen.len() > MOST_DESCRIPTORS {
        return Err(Failure::because("listen inside", format!("more than {MOST_DESCRIPTORS} addresses")));
    }
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .step("make a socket")?;
    sys::loopback_up(socket.as_fd()).step("bring the loopback device up")?;
    // Images made for root listen on port 80; nobody else is here. A kernel that does not let us is no reason to fail.
    std::fs::write(FIRST_PORT, "0").unwrap_or_default();
    listen.iter().map(open).collect()
}

fn open(address: &SocketAddr) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(address).step_with(|| format!("listen on {address} inside"))?;
    rustix::net::listen(&listener, BACKLOG).step_with(|| format!("listen on {address} inside"))?;
    Ok(listener)
}
