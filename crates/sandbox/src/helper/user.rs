//! Who the function's process is, and what that user may do: nothing beyond what it owns.

use super::{die_with_platform, sys};
use crate::exchange::{Failure, Step};
use crate::{Level, Spec, User};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

/// Enters a user namespace with one user in it. Root becomes the function's user first and is not in it.
pub(super) fn enter_namespace(platform: &OwnedFd, spec: &Spec, is_root: bool) -> Result<(), Failure> {
    let user = spec.user.ok_or_else(|| Failure::because("become the function's user", "none is named"))?;
    if is_root {
        become_user(user)?;
        die_with_platform(platform)?;
    }
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    sys::unshare(UnshareFlags::NEWUSER).step("unshare the user namespace")?;
    // Having become another user, this process may not write its own maps unless others may look at it.
    sys::set_dumpable(true).step("open the user map")?;
    let write = |file: &str, text: String| {
        std::fs::write(format!("/proc/self/{file}"), text).step_with(|| format!("write {file}"))
    };
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("{} {uid} 1", user.uid))?;
    write("gid_map", format!("{} {gid} 1", user.gid))?;
    sys::set_dumpable(false).step("close the user map")
}

/// A map that shows root's files as this user's: the user namespace of a process that has had none. Only root can make
/// one.
pub(super) fn map_of_root(user: User, idle: &sys::Idle) -> io::Result<OwnedFd> {
    let dir = format!("/proc/{}", idle.0.as_raw_nonzero());
    std::fs::write(format!("{dir}/uid_map"), format!("0 {} 1", user.uid))?;
    std::fs::write(format!("{dir}/gid_map"), format!("0 {} 1", user.gid))?;
    Ok(File::open(format!("{dir}/ns/user"))?.into())
}

/// Becomes the function's user where this process may choose.
pub(super) fn settle(spec: &Spec) -> Result<(), Failure> {
    match (spec.level, spec.user) {
        // Done when its namespace was entered.
        (Level::None | Level::Userns, _) => Ok(()),
        (Level::Process | Level::Full, Some(user)) if rustix::process::geteuid().is_root() => become_user(user),
        (Level::Process | Level::Full, None) if rustix::process::geteuid().is_root() => {
            Err(Failure::because("become the function's user", "none is named"))
        }
        (Level::Process | Level::Full, _) => Ok(()),
    }
}

fn become_user(user: User) -> Result<(), Failure> {
    if user.uid == 0 {
        return Err(Failure::because("become the function's user", "it is root"));
    }
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    rustix::thread::set_thread_groups(&[]).step("leave all groups")?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).step("become the function's group")?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).step("become the function's user")
}

/// Gives up every right to regain capabilities, while that right is there.
pub(super) fn bound() -> Result<(), Failure> {
    for number in 0..64 {
        // A number the kernel does not know is answered with EINVAL: the end of the list.
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // Who may not drop it can gain nothing from it, once no_new_privs is set.
            Err(Errno::INVAL | Errno::PERM) => break,
            Err(error) => return Err(error).step("drop the bounding set"),
        }
    }
    Ok(())
}

/// Gives up every capability there is.
pub(super) fn drop_capabilities() -> Result<(), Failure> {
    rustix::thread::clear_ambient_capability_set().step("drop ambient capabilities")?;
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets).step("drop capabilities")?;
    rustix::thread::set_no_new_privs(true).step("set no_new_privs")
}
