//! `/proc` and `/dev` as a function sees them: what programs need, nothing that tells of or changes the machine.

use super::mounts::{self, Root};
use super::sys::{self, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY, Reach};
use crate::exchange::{Failure, Step};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::mount::MoveMountFlags;
use std::os::fd::OwnedFd;
use std::path::Path;

const PLAIN: u64 = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

/// The devices that are shown; a machine may lack the last two.
const DEVICES: [&str; 6] = ["null", "zero", "random", "urandom", "full", "tty"];
const NEEDED: usize = 4;
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// What of `/proc` is hidden: it tells of the machine's memory, keys, hardware and other processes.
const HIDDEN: [&str; 11] = [
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
    "kallsyms",
];
/// What of `/proc` can only be read: writing there changes the machine.
const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// The devices of this machine, each as a mount of its own.
pub(super) fn open() -> Result<Vec<(&'static str, OwnedFd)>, Failure> {
    let mut devices = Vec::with_capacity(DEVICES.len());
    for (index, name) in DEVICES.into_iter().enumerate() {
        match mounts::open(&Path::new("/dev").join(name), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC) {
            Ok(device) => devices.push((name, device)),
            Err(_) if index >= NEEDED => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(devices)
}

/// Mounts `/proc` of this process namespace, without what is no business of a function. `/dev` is there already.
pub(super) fn mount_proc(root: &Root) -> Result<(), Failure> {
    let proc = mounts::new("proc", &[], PLAIN).step("make /proc")?;
    root.attach(&proc, Path::new("/proc")).step("mount /proc")?;
    for name in HIDDEN {
        let Ok(status) = rustix::fs::statat(&proc, name, rustix::fs::AtFlags::empty()) else { continue };
        let place = Path::new("/proc").join(name);
        let hide = || format!("hide {}", place.display());
        if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
            let cover = mounts::empty().step_with(hide)?;
            root.attach(&cover, &place).step_with(hide)?;
        } else {
            let attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_RDONLY;
            root.again(Path::new("/dev/null"), &place, attributes)?;
        }
    }
    for name in READ_ONLY {
        if rustix::fs::statat(&proc, name, rustix::fs::AtFlags::empty()).is_ok() {
            let place = Path::new("/proc").join(name);
            root.again(&place, &place, PLAIN | MOUNT_ATTR_RDONLY)?;
        }
    }
    Ok(())
}

/// Mounts `/dev` with a few devices, terminals of its own and shared memory of bounded size.
pub(super) fn mount_dev(root: &Root, devices: Vec<(&'static str, OwnedFd)>, shm: u64) -> Result<(), Failure> {
    let options = [("size", "64k"), ("nr_inodes", "64"), ("mode", "755")];
    let dev = mounts::new("tmpfs", &options, PLAIN).step("make /dev")?;
    for (name, _) in &devices {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat(&dev, *name, flags, Mode::from_raw_mode(0o666)).step("fill /dev")?;
    }
    for dir in ["shm", "pts"] {
        rustix::fs::mkdirat(&dev, dir, Mode::from_raw_mode(0o755)).step("fill /dev")?;
    }
    for (name, target) in LINKS {
        rustix::fs::symlinkat(target, &dev, name).step("fill /dev")?;
    }
    root.attach(&dev, Path::new("/dev")).step("mount /dev")?;
    for (name, device) in devices {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(&device, "", &dev, name, flags).step_with(|| format!("mount /dev/{name}"))?;
    }
    let size = shm.to_string();
    let files = (shm / 4096).max(64).to_string();
    let shm = mounts::new("tmpfs", &[("size", &size), ("nr_inodes", &files), ("mode", "1777")], PLAIN);
    root.attach(&shm.step("make /dev/shm")?, Path::new("/dev/shm")).step("mount /dev/shm")?;
    // Terminals are seldom wanted: where the kernel does not give them, there are none.
    let options = [("ptmxmode", "0666"), ("mode", "0620"), ("max", "64")];
    if let Ok(pts) = mounts::new("devpts", &options, PLAIN & !MOUNT_ATTR_NODEV) {
        root.attach(&pts, Path::new("/dev/pts")).step("mount /dev/pts")?;
    }
    // Where the function's user is whoever made it, it could be written to.
    sys::set_mount(&dev, PLAIN | MOUNT_ATTR_RDONLY, Reach::One).step("make /dev read-only")
}
