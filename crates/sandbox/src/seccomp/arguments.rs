//! The system calls that are allowed by their arguments.
//!
//! A kernel that takes a 32-bit argument ignores the upper half of the register: such arguments are compared as 32
//! bits, or a caller could slip past by setting a bit the kernel does not see.

use super::SeccompError;
use crate::Level;
use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};
use std::collections::BTreeMap;

/// The flags of `clone` and `unshare` that make namespaces.
const NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32 as u64;
/// `CLONE_NEWTIME`: only `unshare` knows it, in `clone` these bits are the signal sent at the end.
const TIME_NAMESPACE: u64 = 0x80;
/// The personalities that Docker lets through: Linux, 32-bit machine name, old `uname`, both, and the question which.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x20000, 0x20008, 0xffff_ffff];
/// `FS_IOC_FSSETXATTR`.
pub(super) const SET_ATTRIBUTES: u64 = 0x401c_5820;
/// `FS_IOC_SETFLAGS`.
pub(super) const SET_FLAGS: u64 = 0x4008_6602;
/// The bits of a socket's type that are no flags.
const SOCKET_TYPE: u64 = 0xf;

/// The calls with rules: a call goes through where one of its rules holds.
pub(super) fn rules(level: Level) -> Result<BTreeMap<i64, Vec<SeccompRule>>, SeccompError> {
    let mut rules = BTreeMap::from([
        (libc::SYS_clone, vec![rule([none_of(0, NAMESPACES)?])?]),
        (libc::SYS_unshare, vec![rule([none_of(0, NAMESPACES | TIME_NAMESPACE)?])?]),
        (libc::SYS_personality, PERSONALITIES.iter().map(|value| rule([is(0, *value)?])).collect::<Result<_, _>>()?),
        (libc::SYS_ioctl, vec![requests()?]),
        (libc::SYS_socket, sockets()?),
    ]);
    if level <= Level::Process {
        // A child of its own parent would be the platform's, which does not wait for it.
        let not_ours = NAMESPACES | libc::CLONE_PARENT as u64;
        rules.insert(libc::SYS_clone, vec![rule([none_of(0, not_ours)?])?]);
        // Landlock does not see the connection that is opened by sending to it.
        let fast_open = libc::MSG_FASTOPEN as u64;
        rules.extend([
            (libc::SYS_sendto, vec![rule([none_of(3, fast_open)?])?]),
            (libc::SYS_sendmsg, vec![rule([none_of(2, fast_open)?])?]),
            (libc::SYS_sendmmsg, vec![rule([none_of(3, fast_open)?])?]),
            // Another process of the same user would get its limits from here.
            (libc::SYS_prlimit64, vec![rule([is(0, 0)?])?]),
        ]);
    }
    Ok(rules)
}

/// The calls that have no rules at this level, but have some below.
pub(super) fn allowed(level: Level) -> &'static [i64] {
    match level {
        Level::None | Level::Process => &[],
        Level::Userns | Level::Full => &[libc::SYS_sendto, libc::SYS_sendmsg, libc::SYS_sendmmsg, libc::SYS_prlimit64],
    }
}

/// Not those that put characters into the input of a terminal, which a shell outside would then run; nor those that take
/// a file out of its project, which the owner of a file may, and out of its quota with it.
fn requests() -> Result<SeccompRule, SeccompError> {
    let refused = [libc::TIOCSTI, libc::TIOCLINUX, SET_ATTRIBUTES, SET_FLAGS];
    let conditions = refused.into_iter().map(|request| is_not(1, request)).collect::<Result<_, _>>()?;
    Ok(SeccompRule::new(conditions)?)
}

/// Unix sockets; IP sockets for TCP and UDP; netlink for routes and addresses, which C libraries read. No raw and
/// packet sockets, and none of the lesser families, where kernels have their bugs. Of stream sockets only plain TCP:
/// landlock's rules do not reach MPTCP and SCTP, and callers fall back to TCP. Of datagram sockets only UDP: asking for
/// another protocol, such as L2TP, loads its module.
fn sockets() -> Result<Vec<SeccompRule>, SeccompError> {
    let mut rules = vec![
        rule([is(0, libc::AF_UNIX as u64)?])?,
        rule([is(0, libc::AF_NETLINK as u64)?, is(2, libc::NETLINK_ROUTE as u64)?])?,
    ];
    for family in [libc::AF_INET as u64, libc::AF_INET6 as u64] {
        for (kind, usual) in [(libc::SOCK_STREAM, libc::IPPROTO_TCP), (libc::SOCK_DGRAM, libc::IPPROTO_UDP)] {
            for protocol in [0, usual as u64] {
                rules.push(rule([is(0, family)?, type_is(kind)?, is(2, protocol)?])?);
            }
        }
    }
    Ok(rules)
}

fn rule<const N: usize>(conditions: [SeccompCondition; N]) -> Result<SeccompRule, SeccompError> {
    Ok(SeccompRule::new(conditions.into())?)
}

fn is(argument: u8, value: u64) -> Result<SeccompCondition, SeccompError> {
    condition(argument, SeccompCmpOp::Eq, value)
}

fn is_not(argument: u8, value: u64) -> Result<SeccompCondition, SeccompError> {
    condition(argument, SeccompCmpOp::Ne, value)
}

fn none_of(argument: u8, flags: u64) -> Result<SeccompCondition, SeccompError> {
    condition(argument, SeccompCmpOp::MaskedEq(flags), 0)
}

fn type_is(kind: i32) -> Result<SeccompCondition, SeccompError> {
    condition(1, SeccompCmpOp::MaskedEq(SOCKET_TYPE), kind as u64)
}

fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, SeccompError> {
    Ok(SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?)
}
