//! The pair of devices between the box and one function.

use super::netlink::{Message, Netlink, attribute};
use super::pool::{Block, Pair};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

/// What every such device's name begins with, of whichever platform on the box.
pub(super) const ALL: &str = "crema";
/// What the device is called in the function's network.
const INSIDE: &str = "eth0";

/// The attribute of a pair's kind that holds its other device.
const VETH_INFO_PEER: u16 = 1;

/// Makes the pair, gives both ends their addresses and the function its way out.
pub(super) fn connect(name: &str, pair: Pair, inside: BorrowedFd<'_>) -> io::Result<()> {
    let mut netlink = Netlink::open()?;
    let peer = link(0, 0)
        .name(libc::IFLA_IFNAME, INSIDE)
        .attribute(libc::IFLA_NET_NS_FD, &(inside.as_raw_fd() as u32).to_ne_bytes());
    let data = Message::default().nested(VETH_INFO_PEER, peer);
    let kind = Message::default().name(libc::IFLA_INFO_KIND, "veth").nested(libc::IFLA_INFO_DATA, data);
    let pair_of_devices = link(0, 0).name(libc::IFLA_IFNAME, name).nested(libc::IFLA_LINKINFO, kind);
    netlink.request(libc::RTM_NEWLINK, libc::NLM_F_CREATE | libc::NLM_F_EXCL, pair_of_devices)?;
    let connected = bring_up(&mut netlink, name, pair.outside).and_then(|_index| {
        inside_of(inside, || {
            let mut netlink = Netlink::open()?;
            let index = bring_up(&mut netlink, INSIDE, pair.inside)?;
            netlink.request(libc::RTM_NEWROUTE, libc::NLM_F_CREATE, default_route(index, pair.outside))
        })
    });
    if connected.is_err() {
        // The first error says what was wrong; a device that stays is removed at the next start.
        let _removed = remove(name);
    }
    connected
}

/// Removes the pair; it may be gone already, with the function's network.
pub(super) fn remove(name: &str) -> io::Result<()> {
    let removed = Netlink::open()?.request(libc::RTM_DELLINK, 0, link(0, 0).name(libc::IFLA_IFNAME, name));
    match removed {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        removed => removed,
    }
}

/// The names of all devices.
pub(super) fn names() -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    Netlink::open()?.list(libc::RTM_GETLINK, link(0, 0), |body| {
        let name = body.get(16..).and_then(|attributes| attribute(attributes, libc::IFLA_IFNAME));
        names.extend(
            name.and_then(|name| name.strip_suffix(&[0])).map(|name| String::from_utf8_lossy(name).into_owned()),
        );
    })?;
    Ok(names)
}

/// All that is routed somewhere, in any table: networks, and the box's own addresses.
pub(super) fn routed() -> io::Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let all = Message::default().bytes(&[libc::AF_INET as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    Netlink::open()?.list(libc::RTM_GETROUTE, all, |body| {
        let length = body.get(1).copied().unwrap_or_default();
        let address = body.get(12..).and_then(|attributes| attribute(attributes, libc::RTA_DST));
        let address = address.and_then(|address| address.first_chunk::<4>());
        blocks.extend(address.map(|address| Block { first: Ipv4Addr::from(*address), length }));
    })?;
    Ok(blocks)
}

/// Runs something in another network, in a thread of its own: this one stays where it is.
pub(super) fn inside_of<T: Send>(
    network: BorrowedFd<'_>,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().name("egress".to_owned()).spawn_scoped(scope, move || {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
            work()
        })?;
        worker.join().unwrap_or_else(|_| Err(ErrorKind::Other.into()))
    })
}

fn bring_up(netlink: &mut Netlink, name: &str, address: Ipv4Addr) -> io::Result<u32> {
    without_ipv6(name)?;
    let any = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    let index = rustix::net::netdevice::name_to_index(&any, name)?;
    let octets = address.octets();
    let entry = Message::default()
        .bytes(&[libc::AF_INET as u8, Pair::LENGTH, 0, libc::RT_SCOPE_UNIVERSE])
        .bytes(&index.to_ne_bytes())
        .attribute(libc::IFA_LOCAL, &octets)
        .attribute(libc::IFA_ADDRESS, &octets);
    netlink.request(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_EXCL, entry)?;
    netlink.request(libc::RTM_NEWLINK, 0, link(index, libc::IFF_UP as u32))?;
    Ok(index)
}

/// Brings a device of this network up.
#[cfg(test)]
pub(super) fn up(name: &str) -> io::Result<()> {
    let up = link(0, libc::IFF_UP as u32).name(libc::IFLA_IFNAME, name);
    Netlink::open()?.request(libc::RTM_NEWLINK, 0, up)
}

/// A device that comes up gets an IPv6 address by itself, by which the other end would reach the box past all rules
/// for IPv4.
fn without_ipv6(name: &str) -> io::Result<()> {
    let folder = Path::new("/proc/sys/net/ipv6/conf").join(name);
    match std::fs::write(folder.join("disable_ipv6"), "1") {
        // A kernel without IPv6.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        written => written,
    }
}

/// The fixed part of a message about a device: its number, or 0 where its name follows, and flags to set.
fn link(index: u32, flags: u32) -> Message {
    Message::default()
        .bytes(&[libc::AF_UNSPEC as u8, 0, 0, 0])
        .bytes(&index.to_ne_bytes())
        .bytes(&flags.to_ne_bytes())
        .bytes(&flags.to_ne_bytes())
}

fn default_route(index: u32, gateway: Ipv4Addr) -> Message {
    Message::default()
        .bytes(&[libc::AF_INET as u8, 0, 0, 0])
        .bytes(&[libc::RT_TABLE_MAIN, libc::RTPROT_BOOT, libc::RT_SCOPE_UNIVERSE, libc::RTN_UNICAST, 0, 0, 0, 0])
        .attribute(libc::RTA_GATEWAY, &gateway.octets())
        .attribute(libc::RTA_OIF, &index.to_ne_bytes())
}
