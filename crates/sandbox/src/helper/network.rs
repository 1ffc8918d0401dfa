//! A network of its own: the loopback device and the sockets that listen there.

use super::sys;
use crate::exchange::{Failure, MOST_DESCRIPTORS, Step};
use crate::{Level, Network, Spec};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

/// Callers that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// Where the kernel keeps the first port that any user may listen on, for this network.
const FIRST_PORT: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

/// A network that is there before it is known for whom.
pub(super) struct NetworkAhead {
    /// The network it was made in.
    outside: OwnedFd,
}

impl NetworkAhead {
    /// Makes one and goes there. What cannot be made now is tried again when it is needed, and says then why not.
    pub(super) fn make() -> Result<Option<Self>, Failure> {
        let ahead = Self { outside: File::open("/proc/self/ns/net").step("open the network namespace")?.into() };
        match make() {
            Ok(()) => Ok(Some(ahead)),
            Err(_) => ahead.leave().map(|()| None),
        }
    }

    /// Goes back unless it is what the spec wants.
    pub(super) fn fit(self, spec: &Spec) -> Result<Option<Self>, Failure> {
        match spec.network {
            // Below, a network belongs to the function's user namespace.
            Network::Own { .. } if spec.level == Level::Full => Ok(Some(self)),
            Network::Own { .. } | Network::Host => self.leave().map(|()| None),
        }
    }

    /// Goes back.
    fn leave(self) -> Result<(), Failure> {
        let network = Some(LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(self.outside.as_fd(), network).step("leave the network made ahead")
    }
}

/// Makes a network, goes there and brings it up.
pub(super) fn make() -> Result<(), Failure> {
    sys::unshare(UnshareFlags::NEWNET).step("unshare the network namespace")?;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .step("make a socket")?;
    sys::loopback_up(socket.as_fd()).step("bring the loopback device up")?;
    // Images made for root listen on port 80; nobody else is here. A kernel that does not let us is no reason to fail.
    std::fs::write(FIRST_PORT, "0").unwrap_or_default();
    Ok(())
}

/// Listens in the network.
pub(super) fn listen_on(listen: &[SocketAddr]) -> Result<Vec<TcpListener>, Failure> {
    if listen.len() > MOST_DESCRIPTORS {
        return Err(Failure::because("listen inside", format!("more than {MOST_DESCRIPTORS} addresses")));
    }
    listen.iter().map(open).collect()
}

fn open(address: &SocketAddr) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(address).step_with(|| format!("listen on {address} inside"))?;
    rustix::net::listen(&listener, BACKLOG).step_with(|| format!("listen on {address} inside"))?;
    Ok(listener)
}
