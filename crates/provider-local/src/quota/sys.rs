//! The kernel's side of project quota, which is in no crate: two ioctls and one system call.

#![expect(unsafe_code, reason = "rustix cannot know the types of these calls")]

use rustix::fd::{AsFd, AsRawFd};
use rustix::io::{Errno, Result};
use rustix::ioctl::{Getter, Opcode, Setter, ioctl, opcode};

const GET_ATTRIBUTES: Opcode = opcode::read::<Attributes>(b'X', 31);
const SET_ATTRIBUTES: Opcode = opcode::write::<Attributes>(b'X', 32);
/// `FS_XFLAG_PROJINHERIT`: what is made in the directory is the directory's project's.
const INHERIT: u32 = 0x200;

const PROJECTS: u32 = 2;
/// `Q_GETQUOTA`, `Q_SETQUOTA` and `Q_XGETQSTAT`; ext4 and xfs both know all three.
const GET_QUOTA: u32 = 0x80_0007;
const SET_QUOTA: u32 = 0x80_0008;
const GET_STATE: u32 = 0x5805;
/// `FS_QUOTA_PDQ_ACCT` and `FS_QUOTA_PDQ_ENFD`: what projects use is counted, and limits hold.
const COUNTED: u16 = 1 << 4;
const ENFORCED: u16 = 1 << 5;
/// `QIF_BLIMITS`: the limits of blocks are meant.
const BLOCK_LIMITS: u32 = 1;
/// `QIF_ILIMITS`.
const INODE_LIMITS: u32 = 4;
/// `QIF_DQBLKSIZE`.
pub(super) const BLOCK: u64 = 1024;

/// `struct fsxattr`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    pub(super) project: u32,
    cow_extent_size: u32,
    pad: [u8; 8],
}

impl Attributes {
    pub(super) const fn is_inherited(&self) -> bool {
        self.flags & INHERIT != 0
    }

    pub(super) const fn of(self, project: u32) -> Self {
        Self { project, ..self }
    }

    pub(super) const fn inherited(self, is_inherited: bool) -> Self {
        let flags = if is_inherited { self.flags | INHERIT } else { self.flags & !INHERIT };
        Self { flags, ..self }
    }
}

/// `struct if_dqblk`; block limits in units of [`BLOCK`], space in bytes.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct Quota {
    pub(super) most_blocks: u64,
    soft_blocks: u64,
    pub(super) bytes: u64,
    pub(super) most_inodes: u64,
    soft_inodes: u64,
    pub(super) inodes: u64,
    block_time: u64,
    inode_time: u64,
    valid: u32,
}

/// `struct fs_quota_stat`, as far as it is looked at.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct State {
    version: i8,
    flags: u16,
    rest: [u64; 9],
}

const _: () = assert!(size_of::<Attributes>() == 28 && std::mem::offset_of!(Attributes, project) == 12);
const _: () = assert!(size_of::<Quota>() == 72 && std::mem::offset_of!(Quota, valid) == 64);
const _: () = assert!(size_of::<State>() == 80 && std::mem::offset_of!(State, flags) == 2);

/// The attributes of a file or directory.
pub(super) fn attributes(file: impl AsFd) -> Result<Attributes> {
    // SAFETY: the request writes one `struct fsxattr`, which `Attributes` is laid out as.
    unsafe { ioctl(file, Getter::<GET_ATTRIBUTES, Attributes>::new()) }
}

/// Sets the attributes of a file or directory.
pub(super) fn set_attributes(file: impl AsFd, attributes: Attributes) -> Result<()> {
    // SAFETY: the request reads one `struct fsxattr`, which `Attributes` is laid out as.
    unsafe { ioctl(file, Setter::<SET_ATTRIBUTES, Attributes>::new(attributes)) }
}

/// Whether the file system counts what projects use and holds them to their limits.
pub(super) fn is_enforced(file: impl AsFd) -> Result<bool> {
    let mut state = State::default();
    // SAFETY: the command writes one `struct fs_quota_stat`, which is as large as `State`.
    unsafe { quotactl(file, GET_STATE, 0, &raw mut state)? };
    Ok(state.flags & (COUNTED | ENFORCED) == COUNTED | ENFORCED)
}

/// What a project uses, and may use; zeros for one that was never heard of.
pub(super) fn quota(file: impl AsFd, project: u32) -> Result<Quota> {
    let mut quota = Quota::default();
    // SAFETY: the command writes one `struct if_dqblk`, which `Quota` is laid out as.
    match unsafe { quotactl(file, GET_QUOTA, project, &raw mut quota) } {
        // xfs says this of one without an entry.
        Err(Errno::NOENT) => Ok(Quota::default()),
        done => done.map(|()| quota),
    }
}

/// How many files may be in so many blocks: empty ones take none, and still there is an end to them.
pub(super) fn most_inodes(most_blocks: u64) -> u64 {
    if most_blocks == 0 { 0 } else { (most_blocks * BLOCK / 4096).max(1024) }
}

/// Sets how many blocks a project may use, and files in keeping with that; 0: any number.
pub(super) fn set_most_blocks(file: impl AsFd, project: u32, most_blocks: u64) -> Result<()> {
    let valid = BLOCK_LIMITS | INODE_LIMITS;
    let mut quota = Quota { most_blocks, most_inodes: most_inodes(most_blocks), valid, ..Quota::default() };
    // SAFETY: the command reads one `struct if_dqblk`, which `Quota` is laid out as.
    unsafe { quotactl(file, SET_QUOTA, project, &raw mut quota) }
}

/// # Safety
///
/// `argument` points to what the command reads or writes.
unsafe fn quotactl<T>(file: impl AsFd, command: u32, project: u32, argument: *mut T) -> Result<()> {
    let (descriptor, command) = (file.as_fd().as_raw_fd(), (command << 8) | PROJECTS);
    // SAFETY: the descriptor is open while it is borrowed; the caller answers for the pointer.
    match unsafe { libc::syscall(libc::SYS_quotactl_fd, descriptor, command, project, argument) } {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}
