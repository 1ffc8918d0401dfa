//! The tree of mounts the function's process sees.
//!
//! Sources are taken as trees of their own, unattached, with their attributes set; they are attached at places that
//! are looked up inside the new root, so that no link of an image leads out of it.

use super::sys::{self, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY, Reach};
use super::{devices, texts, user};
use crate::exchange::{Failure, Step};
use crate::{Level, Shared, Spec, User};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};
use rustix::process::{Gid, Uid};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// What every mount of a function has.
const PLAIN: u64 = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;

/// What of this machine is shown inside.
pub(super) struct Sources {
    root: OwnedFd,
    mounts: Vec<OwnedFd>,
    devices: Vec<(&'static str, OwnedFd)>,
}

impl Sources {
    /// Takes what the spec names. The idle process gives its user namespace for the map of owners, and may have ended
    /// then.
    pub(super) fn open(spec: &Spec, idle: Option<&sys::Idle>) -> Result<Self, Failure> {
        let read_only = |yes| if yes { PLAIN | MOUNT_ATTR_RDONLY } else { PLAIN };
        let mounts = spec.mounts.iter().map(|mount| open(&mount.source, read_only(mount.read_only)));
        let root = open(&spec.root, PLAIN | MOUNT_ATTR_RDONLY)?;
        if let (Some(user), Some(idle)) = (spec.user, idle) {
            // A file system that cannot do it shows root's files as root's: what others may read can be read.
            user::map_of_root(user, idle).and_then(|map| sys::map_mount(&root, &map)).unwrap_or_default();
            idle.end();
        }
        Ok(Self { root, mounts: mounts.collect::<Result<_, _>>()?, devices: devices::open()? })
    }
}

/// Whether the image can be shown with other owners: as it is from Linux 5.12 on, below an overlay from 5.19 on.
pub(super) fn can_map(spec: &Spec) -> bool {
    let release = rustix::system::uname();
    let mut numbers = release.release().to_str().unwrap_or_default().split(['.', '-']).map(|word| word.parse().ok());
    let version: (Option<u32>, Option<u32>) = (numbers.next().flatten(), numbers.next().flatten());
    spec.writable.is_none() || version >= (Some(5), Some(19))
}

/// A copy of the mounts at a path of this machine, attached nowhere.
pub(super) fn open(path: &Path, attributes: u64) -> Result<OwnedFd, Failure> {
    open_at(CWD, path, attributes)
}

/// The same from a directory on.
pub(super) fn open_at(dir: BorrowedFd<'_>, path: &Path, attributes: u64) -> Result<OwnedFd, Failure> {
    let name = || format!("open {}", path.display());
    let tree = clone(dir, path).step_with(name)?;
    sys::set_mount(&tree, attributes, Reach::Tree).step_with(name)?;
    Ok(tree)
}

fn clone(dir: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    rustix::mount::open_tree(dir, path, flags)
}

/// A new file system, attached nowhere.
pub(super) fn new(kind: &str, options: &[(&str, &str)], attributes: u64) -> rustix::io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        rustix::mount::fsconfig_set_string(context.as_fd(), *key, *value)?;
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    // Both kinds of flags have the same bits.
    let attributes = MountAttrFlags::from_bits_retain(attributes as u32);
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// A directory that stays empty.
pub(super) fn empty() -> rustix::io::Result<OwnedFd> {
    let options = [("size", "4k"), ("nr_inodes", "1"), ("mode", "755")];
    new("tmpfs", &options, PLAIN | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_RDONLY)
}

/// The root being built.
pub(super) struct Root(pub(super) OwnedFd);

impl Root {
    /// Makes the image's tree the one to build on, above everything else in this namespace.
    pub(super) fn begin(spec: &Spec, root: OwnedFd) -> Result<Self, Failure> {
        let Some(bytes) = spec.writable else {
            attach_above(&root).step("mount the image")?;
            return Ok(Self(root));
        };
        let over = overlay(spec, root, bytes)?;
        attach_above(&over).step("mount the overlay")?;
        Ok(Self(over))
    }

    /// A place inside; links lead nowhere but inside.
    pub(super) fn place(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.0, path, flags, Mode::empty(), resolve)
    }

    /// Attaches a tree at a place inside.
    pub(super) fn attach(&self, tree: &OwnedFd, path: &Path) -> rustix::io::Result<()> {
        let place = self.place(path)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(tree, "", &place, "", flags)
    }

    /// Shows what is at a place inside once more at another, or the same, with other attributes.
    pub(super) fn again(&self, from: &Path, path: &Path, attributes: u64) -> Result<(), Failure> {
        let name = || format!("mount {} again at {}", from.display(), path.display());
        let place = self.place(from).step_with(name)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE
            | OpenTreeFlags::AT_EMPTY_PATH;
        let tree = rustix::mount::open_tree(&place, "", flags).step_with(name)?;
        sys::set_mount(&tree, attributes, Reach::Tree).step_with(name)?;
        self.attach(&tree, path).step_with(name)
    }

    /// Makes it the root, and lets go of everything else or stays above the nothing there is.
    fn enter(&self, below: Below) -> Result<(), Failure> {
        match below {
            Below::Machine => become_root(&self.0),
            Below::Nothing => {
                rustix::process::fchdir(&self.0).step("enter the root")?;
                rustix::process::chroot(".").step("chroot")
            }
        }
    }
}

/// Makes a tree that is attached the root, and lets go of everything else, for which the kernel takes a millisecond or two.
pub(super) fn become_root(tree: &OwnedFd) -> Result<(), Failure> {
    rustix::process::fchdir(tree).step("enter the root")?;
    // The old root comes to lie on the new one and is taken off it.
    rustix::process::pivot_root(".", ".").step("pivot_root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).step("let go of the old root")?;
    rustix::process::chdir("/").step("enter the root")
}

/// Cuts this namespace's mounts off from those of others.
pub(super) fn make_private() -> Result<(), Failure> {
    let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    rustix::mount::mount_change("/", private).step("make mounts private")
}

/// What the namespace has that a function's tree is built in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Below {
    /// A copy of the machine's mounts.
    Machine,
    /// An empty root.
    Nothing,
}

/// Builds the whole tree and enters it; gives the directory that is shared.
pub(super) fn build(spec: &Spec, sources: Option<Sources>, below: Below) -> Result<Option<OwnedFd>, Failure> {
    if below == Below::Machine {
        make_private()?;
    }
    let Sources { root, mounts, devices } = match sources {
        Some(sources) => sources,
        None => Sources::open(spec, None)?,
    };
    let made = texts::make(&spec.texts)?;
    let root = Root::begin(spec, root)?;
    devices::mount_dev(&root, devices, spec.shm_bytes)?;
    devices::mount_proc(&root)?;
    let size = spec.tmp_bytes.to_string();
    let files = most_files(spec.tmp_bytes);
    let tmp = [("size", size.as_str()), ("nr_inodes", &files), ("mode", "1777")];
    let tmp = new("tmpfs", &tmp, PLAIN).step("make /tmp")?;
    root.attach(&tmp, Path::new("/tmp")).step("mount /tmp")?;
    for (mount, tree) in spec.mounts.iter().zip(&mounts) {
        root.attach(tree, &mount.target).step_with(|| format!("mount {}", mount.target.display()))?;
    }
    texts::show(&root, &spec.texts, &made)?;
    let shared = spec.shared.as_ref().map(|shared| share(&root, shared, spec.user)).transpose()?;
    root.enter(below)?;
    Ok(shared)
}

/// Makes a directory that the function's user can write to, and shows it.
fn share(root: &Root, shared: &Shared, user: Option<User>) -> Result<OwnedFd, Failure> {
    /// A few sockets.
    const FILES: &str = "64";
    let name = || format!("mount {}", shared.target.display());
    let size = shared.bytes.to_string();
    let mut options = vec![("size", size.as_str()), ("nr_inodes", FILES), ("mode", "700")];
    let owner = user.map(|user| (user.uid.to_string(), user.gid.to_string()));
    if let Some((uid, gid)) = &owner {
        options.extend([("uid", uid.as_str()), ("gid", gid)]);
    }
    let dir = new("tmpfs", &options, PLAIN | MOUNT_ATTR_NOEXEC).step_with(name)?;
    root.attach(&dir, &shared.target).step_with(name)?;
    Ok(dir)
}

/// How many files a file system in memory of that size may have: empty ones take memory too.
fn most_files(bytes: u64) -> String {
    (bytes / 4096).max(64).to_string()
}

/// The image below, a bounded file system in memory above.
fn overlay(spec: &Spec, image: OwnedFd, bytes: u64) -> Result<OwnedFd, Failure> {
    let (size, files) = (bytes.to_string(), most_files(bytes));
    let options = [("size", size.as_str()), ("nr_inodes", &files), ("mode", "700")];
    let upper = new("tmpfs", &options, PLAIN).step("make the layer to write to")?;
    attach_above(&upper).step("mount the layer to write to")?;
    rustix::process::fchdir(&upper).step("mount the layer to write to")?;
    for dir in ["lower", "upper", "work"] {
        rustix::fs::mkdir(dir, Mode::from_raw_mode(0o755)).step("make the layer to write to")?;
    }
    if let (Level::Full, Some(user)) = (spec.level, spec.user) {
        // The root's owner is that of its upper part.
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        rustix::fs::chown("upper", Some(uid), Some(gid)).step("make the layer to write to")?;
    }
    let to = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(&image, "", CWD, "lower", to).step("mount the image")?;
    let plain = [("lowerdir", "lower"), ("upperdir", "upper"), ("workdir", "work")];
    new("overlay", &plain, PLAIN).step("make the overlay")
}

/// Attaches a tree above the root of this namespace; who has the root open goes on seeing what is below.
pub(super) fn attach_above(tree: &OwnedFd) -> rustix::io::Result<()> {
    rustix::mount::move_mount(tree, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}
