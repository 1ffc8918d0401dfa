//! A way out for a function that has a network of its own: to other machines, and to nothing of this one.
//!
//! A pair of devices joins the function's network to the box's; the box passes on what comes from there under its own
//! address (NAT). Rules of our own refuse what is meant for an address of the box (its loopback services, every other
//! address it has, and ports it publishes for something else), for another function's link, or for the link-local
//! range with the metadata services of clouds, and whatever comes unasked from outside or from the box itself.
//! IPv4 only: IPv6 is off on these devices.
//!
//! The rules stand in a table or chains of our own, made at the start and removed at the end; what an earlier process
//! left is removed at the start. All calls block, for some milliseconds each: they start programs and wait for them.

mod firewall;
mod forwarding;
mod iptables;
mod links;
mod netlink;
mod nft;
mod pool;
#[cfg(test)]
mod tests;

use firewall::{Firewall, Rules};
use pool::Block;
use rustix::fs::{CWD, Mode, OFlags, fstat, open, openat};
use rustix::process::Pid;
use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Where firewall programs are looked for.
const PROGRAMS: [&str; 5] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin"];

/// The way out for the functions of one platform.
pub struct Egress {
    /// The beginning of its devices' names.
    prefix: String,
    block: Block,
    firewall: Firewall,
    made: Mutex<Made>,
}

/// What has been made on the box so far. One thread at a time makes more: rules are looked at and then set.
#[derive(Default)]
struct Made {
    /// The number of the last link: numbers go round, so that answers to a link that is gone do not reach a new one.
    last: u32,
    /// The devices between which the box is not to pass anything on; none where forwarding is somebody else's. The rules
    /// have them too, but those may be gone.
    unrouted: Option<Vec<String>>,
}

/// A function's link. It ends with the function's network by itself; [`Egress::detach`] ends it sooner.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link {
    name: String,
    /// The function's address.
    pub address: Ipv4Addr,
    /// The box's end, where the function's way out begins.
    pub gateway: Ipv4Addr,
}

/// Why a function cannot be given a way out.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// This machine gives none.
    #[error("no way out for functions (com.crema.network: egress): {reason}; {remedy}")]
    Unavailable {
        /// What is in the way.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
    /// A link could not be made or removed.
    #[error("the link {name} cannot be {doing}: {source}")]
    Link {
        /// The device.
        name: String,
        /// What was being done.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// All links are taken.
    #[error("no link is left: {} functions have a way out already", Block::LINKS)]
    UsedUp,
}

impl EgressError {
    fn unavailable(reason: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self::Unavailable { reason: reason.to_string(), remedy: remedy.to_string() }
    }
}

impl Egress {
    /// Prepares the box: removes what an earlier process with this tag left, chooses addresses, sets the rules and
    /// turns forwarding on. `tag` tells the platforms of one box apart: one to four small letters or digits.
    pub fn open(tag: &str) -> Result<Self, EgressError> {
        Self::open_with(tag, &PROGRAMS.map(PathBuf::from))
    }

    fn open_with(tag: &str, programs: &[PathBuf]) -> Result<Self, EgressError> {
        let plain = tag.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if tag.is_empty() || tag.len() > 4 || !plain {
            return Err(EgressError::unavailable(
                format!("{tag:?} is no tag"),
                "give one to four small letters or digits",
            ));
        }
        if !rustix::process::geteuid().is_root() {
            return Err(EgressError::unavailable(
                "the platform is not root",
                "run it as root or choose another network",
            ));
        }
        let prefix = format!("{}{tag}-", links::ALL);
        let failed = |source| EgressError::Link { name: format!("{prefix}*"), doing: "cleared", source };
        for name in links::names().map_err(failed)?.iter().filter(|name| name.starts_with(&prefix)) {
            links::remove(name).map_err(failed)?;
        }
        let block = Block::choose(tag, &links::routed().map_err(failed)?).ok_or_else(|| {
            EgressError::unavailable(
                "every private range that links can have is routed on this box already",
                "free 4096 addresses of 10.213.0.0/16, 172.29.0.0/16 or 192.168.192.0/18",
            )
        })?;
        let firewall = Firewall::find(tag, programs)?;
        let made = Made { last: 0, unrouted: forwarding::unrouted(&firewall)? };
        let egress = Self { prefix, block, firewall, made: Mutex::new(made) };
        egress.prepare(&egress.made())?;
        Ok(egress)
    }

    /// Sets the rules, then turns forwarding on where that is ours to do, in this order: nothing is passed on that the rules do not see.
    fn prepare(&self, made: &Made) -> Result<(), EgressError> {
        let rules = Rules { prefix: &self.prefix, block: self.block, unrouted: made.unrouted.as_deref() };
        self.firewall.set(&rules)?;
        match made.unrouted {
            Some(_) => forwarding::turn_on(),
            None if forwarding::is_on()? => Ok(()),
            // Whoever had turned it on has devices of their own, containers' for one, that a rule of ours would cut off.
            None => Err(EgressError::unavailable(
                "this box passes packets on no more (net.ipv4.ip_forward was 1 when the platform started, and is 0)",
                "set it to 1 with sysctl",
            )),
        }
    }

    /// Sets right what others have undone on the box: whoever loads a firewall anew takes all rules away, ours too.
    /// Whether there was anything to be done.
    pub fn uphold(&self) -> Result<bool, EgressError> {
        self.uphold_with(&self.made())
    }

    fn uphold_with(&self, made: &Made) -> Result<bool, EgressError> {
        let undone = !forwarding::is_on()? || !self.firewall.is_set();
        if undone {
            self.prepare(made)?;
        }
        self.firewall.pass()?;
        Ok(undone)
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the network `inside` a way out. What others have undone meanwhile on the box is set right first.
    pub fn attach(&self, inside: impl AsFd) -> Result<Link, EgressError> {
        let failed = |name: &str| {
            let name = name.to_owned();
            move |source| EgressError::Link { name, doing: "made", source }
        };
        refuse_own(inside.as_fd()).map_err(failed(&self.prefix))?;
        let mut made = self.made();
        self.uphold_with(&made)?;
        for _ in 0..Block::LINKS {
            let number = made.last;
            made.last = (number + 1) % Block::LINKS;
            let (name, pair) = (format!("{}{number}", self.prefix), self.block.pair(number));
            match links::connect(&name, pair, inside.as_fd()) {
                Ok(()) => return Ok(Link { name, address: pair.inside, gateway: pair.outside }),
                // Another link has this number still.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_there(&name) => {}
                Err(error) => return Err(failed(&name)(error)),
            }
        }
        Err(EgressError::UsedUp)
    }

    /// Ends a link, if it has not ended with its function's network.
    pub fn detach(&self, link: &Link) -> Result<(), EgressError> {
        links::remove(&link.name).map_err(|source| EgressError::Link {
            name: link.name.clone(),
            doing: "removed",
            source,
        })
    }

    /// Ends all links and removes the rules. Forwarding is turned off if it was off before and nothing on the box
    /// has come to need it; else the rule stays that keeps the box from passing on what it did not before.
    pub fn close(self) -> Result<(), EgressError> {
        let failed = |source| EgressError::Link { name: format!("{}*", self.prefix), doing: "removed", source };
        for name in links::names().map_err(failed)?.iter().filter(|name| name.starts_with(&self.prefix)) {
            links::remove(name).map_err(failed)?;
        }
        let remembered = self.made().unrouted.take();
        match self.firewall.unrouted().or(remembered) {
            Some(unrouted) if forwarding::is_needed(&unrouted)? => self.firewall.leave(&unrouted),
            Some(_) => {
                forwarding::turn_off()?;
                self.firewall.clear()
            }
            None => self.firewall.clear(),
        }
    }
}

/// The network of a process, to be given to [`Egress::attach`].
pub fn network_of(process: Pid) -> io::Result<OwnedFd> {
    let path = Path::new("/proc").join(process.as_raw_nonzero().to_string()).join("ns/net");
    Ok(open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// The box's own network would lose its way out, not get one.
fn refuse_own(network: impl AsFd) -> io::Result<()> {
    let own = openat(CWD, "/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let (own, other) = (fstat(own)?, fstat(network)?);
    if (own.st_dev, own.st_ino) == (other.st_dev, other.st_ino) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is the box's own network"));
    }
    Ok(())
}

fn is_there(name: &str) -> bool {
    links::names().is_ok_and(|names| names.iter().any(|there| there == name))
}

/// The lines of the box's `resolv.conf` that are of use inside: a name server on a loopback address is none there.
/// `None` where no name server is left; on a box with systemd-resolved, `/run/systemd/resolve/resolv.conf` has them.
#[must_use]
pub fn resolvers_inside(resolv_conf: &str) -> Option<String> {
    let server = |line: &str| line.split_whitespace().next() == Some("nameserver");
    let of_use = |line: &str| {
        let address = line.split_whitespace().nth(1).and_then(|address| address.parse::<Ipv4Addr>().ok());
        !server(line) || address.is_some_and(|address| !address.is_loopback() && !address.is_unspecified())
    };
    let lines: Vec<_> = resolv_conf.lines().filter(|line| of_use(line)).collect();
    lines.iter().any(|line| server(line)).then(|| lines.join("\n") + "\n")
}
