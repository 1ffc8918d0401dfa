//! The function's process on its way in: from a copy of the helper to the function's program.

use super::mounts::{self, Below, Sources};
use super::{die_with_platform, program, sys, user};
use crate::exchange::{self, Failure, Reply, Step};
use crate::{Level, Spec, confine, seccomp};
use rustix::thread::UnshareFlags;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

/// Confines this process and becomes the function's program; comes back only when there is none to run.
pub(super) fn enter(
    platform: &OwnedFd,
    spec: &Spec,
    (sources, below): (Option<Sources>, Below),
    groups: Vec<File>,
    gate: &OwnedFd,
) -> Result<(), Failure> {
    if spec.level >= Level::Userns {
        rustix::system::sethostname(spec.hostname.as_bytes()).step("set the host name")?;
        if let Some(dir) = mounts::build(spec, sources, below)? {
            exchange::send_reply(platform, &Reply::Shared, &[dir.as_fd()]).step("hand out the shared directory")?;
        }
    }
    join(groups)?;
    wait_for(gate)?;
    if spec.level >= Level::Userns {
        // Only now is it in its groups, which become the roots it sees.
        sys::unshare(UnshareFlags::NEWCGROUP).step("unshare the cgroup namespace")?;
    }
    rustix::process::setsid().step("begin a session")?;
    if spec.level > Level::None {
        // In a scheduling group of its own it would interrupt the platform for each call, and find fewer at once. A kernel
        // that does not let us costs that, and nothing else.
        sys::be_patient().unwrap_or_default();
        confine::rlimits(&spec.limits).map_err(|error| Failure::because("set limits", error.to_string()))?;
        user::bound()?;
        user::settle(spec)?;
        user::drop_capabilities()?;
    }
    die_with_platform(platform)?;
    program::enter_working_dir(spec)?;
    let program = program::Program::new(spec)?;
    let refused = |error: confine::LandlockError| Failure::because("restrict files and ports", error.to_string());
    if let (true, Some(rules)) = (spec.level > Level::None, &spec.files) {
        confine::landlock(rules).map_err(refused)?;
    } else if spec.level == Level::Userns {
        // An ordinary user's platform is a file of the function's own user.
        confine::run_below_root_only().map_err(refused)?;
    }
    if let (true, Some(filter)) = (spec.level > Level::None, &spec.seccomp) {
        seccomp::apply(filter).map_err(|error| Failure::because("load the system call filter", error.to_string()))?;
    }
    program.map_or(Ok(()), |program| Err(program.run()))
}

/// Goes into its control groups by itself: for anyone else to put it there takes the kernel some milliseconds.
fn join(groups: Vec<File>) -> Result<(), Failure> {
    groups.into_iter().try_for_each(|mut group| group.write_all(b"0")).step("join a control group")
}

/// Waits until the helper has told the platform of this process. If it was killed before, nobody knows of us.
fn wait_for(gate: &OwnedFd) -> Result<(), Failure> {
    let mut byte = [0];
    match rustix::io::read(gate, &mut byte).step("wait for the helper")? {
        0 => Err(Failure::because("wait for the helper", "it was ended")),
        _ => Ok(()),
    }
}
