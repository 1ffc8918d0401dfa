//! System calls that no crate has in the form needed here.

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};
use std::ffi::{CStr, CString, c_char};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

pub(super) const MOUNT_ATTR_RDONLY: u64 = 0x1;
pub(super) const MOUNT_ATTR_NOSUID: u64 = 0x2;
pub(super) const MOUNT_ATTR_NODEV: u64 = 0x4;
pub(super) const MOUNT_ATTR_NOEXEC: u64 = 0x8;

/// What a [`fork`] comes back as.
pub(super) enum Forked {
    /// In the new process.
    Child,
    /// In the old one: the new one's number and a descriptor that tells of its end.
    Parent(Pid, OwnedFd),
}

/// Makes a process that is a child of our parent, in new namespaces as `flags` say.
#[expect(unsafe_code, reason = "clone with CLONE_PARENT is in no crate")]
pub(super) fn fork(flags: libc::c_int) -> io::Result<Forked> {
    let flags = libc::CLONE_PARENT | libc::CLONE_PIDFD | libc::SIGCHLD | flags;
    let mut descriptor: libc::c_int = -1;
    // SAFETY: without CLONE_VM the child has a copy of this single-threaded process on the same stack, as after
    // fork; the kernel writes one int through the third argument, which lives until the call is over.
    let pid = unsafe {
        libc::syscall(libc::SYS_clone, flags as libc::c_ulong, ptr::null_mut::<u8>(), &raw mut descriptor, 0, 0)
    };
    match pid {
        0 => Ok(Forked::Child),
        -1 => Err(io::Error::last_os_error()),
        pid => {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::RANGE)?;
            // SAFETY: the kernel has just made this descriptor for us.
            Ok(Forked::Parent(pid, unsafe { OwnedFd::from_raw_fd(descriptor) }))
        }
    }
}

/// Makes this process one that does not interrupt what runs when it is woken, and neither does what it starts.
#[expect(unsafe_code, reason = "setting a scheduling policy is in no crate, and musl's function does nothing")]
pub(super) fn be_patient() -> io::Result<()> {
    let parameters: libc::c_int = 0;
    // SAFETY: the kernel reads one int, the priority, which lives until the call is over.
    match unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_BATCH, &raw const parameters) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// A process in a user namespace of its own, without a map yet, that does nothing and holds nothing open. Dropping it ends it.
pub(super) struct Idle(pub(super) Pid);

impl Idle {
    #[expect(unsafe_code, reason = "clone with namespaces is in no crate")]
    pub(super) fn fork() -> io::Result<Self> {
        let flags = (libc::CLONE_NEWUSER | libc::SIGCHLD) as libc::c_ulong;
        let parent = rustix::process::getpid().as_raw_nonzero().get();
        // SAFETY: without CLONE_VM the child has a copy of this single-threaded process, as after fork.
        match unsafe { libc::syscall(libc::SYS_clone, flags, ptr::null_mut::<u8>(), ptr::null_mut::<u8>(), 0, 0) } {
            // SAFETY: no memory is involved, and no descriptor is used any more. The parent ends this process, or its death does, before or after the
            // signal was asked for.
            0 => unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0);
                while libc::getppid() == parent {
                    libc::pause();
                }
                libc::_exit(0)
            },
            -1 => Err(io::Error::last_os_error()),
            pid => Ok(Self(i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::RANGE)?)),
        }
    }

    /// Ends it without waiting for that, which takes a millisecond or two. It is reaped when this is dropped.
    pub(super) fn end(&self) {
        rustix::process::kill_process(self.0, Signal::KILL).unwrap_or_default();
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.end();
        rustix::process::waitpid(Some(self.0), WaitOptions::empty()).map(drop).unwrap_or_default();
    }
}

/// Leaves namespaces of the parent's for new ones.
#[expect(unsafe_code, reason = "unshare is unsafe where threads share descriptors")]
pub(super) fn unshare(namespaces: rustix::thread::UnshareFlags) -> rustix::io::Result<()> {
    // SAFETY: this process has one thread, and descriptors are never unshared.
    unsafe { rustix::thread::unshare_unsafe(namespaces) }
}

/// Lets every descriptor from `first` on close when a program is run.
#[expect(unsafe_code, reason = "close_range is in no crate")]
pub(super) fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: nothing is closed now; no memory is involved.
    checked(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) })
}

/// How far [`set_mount`] goes.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Reach {
    One,
    Tree,
}

/// Sets attributes on a mount, or all the mounts below it too, and cuts it off from what others mount.
pub(super) fn set_mount(mount: &OwnedFd, attributes: u64, reach: Reach) -> io::Result<()> {
    set_mount_with(mount, attributes, reach, None)
}

/// The same, with the owners of files shown as the map of a user namespace says.
pub(super) fn map_mount(mount: &OwnedFd, namespace: &OwnedFd) -> io::Result<()> {
    set_mount_with(mount, libc::MOUNT_ATTR_IDMAP, Reach::One, Some(namespace))
}

#[expect(unsafe_code, reason = "mount_setattr is in no crate")]
fn set_mount_with(mount: &OwnedFd, attributes: u64, reach: Reach, namespace: Option<&OwnedFd>) -> io::Result<()> {
    let recursive = if reach == Reach::Tree { libc::AT_RECURSIVE } else { 0 };
    let userns_fd = namespace.map_or(0, |namespace| namespace.as_raw_fd() as u64);
    let attributes = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: libc::MS_PRIVATE, userns_fd };
    // SAFETY: the path is a constant with its NUL, the struct lives until the call is over and its size is given.
    checked(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    })
}

/// Lets others of the same user look at this process (1) or not (0).
#[expect(unsafe_code, reason = "rustix has this call only in a form that cannot be used here")]
pub(super) fn set_dumpable(dumpable: bool) -> io::Result<()> {
    // SAFETY: a number is set; no memory is involved.
    checked(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(dumpable), 0, 0, 0) }.into())
}

/// Gives SIGPIPE its default effect back, which the runtime took away and a program would inherit.
#[expect(unsafe_code, reason = "the standard library does this only when it starts a process itself")]
pub(super) fn default_sigpipe() {
    // SAFETY: the default action is no handler of ours.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Runs a program in place of this one; comes back only with an error.
#[expect(unsafe_code, reason = "the standard library would look for the program and hand scripts to a shell")]
pub(super) fn execve(program: &CStr, argv: &[CString], env: &[CString]) -> io::Error {
    let pointers = |words: &[CString]| -> Vec<*const c_char> {
        words.iter().map(|word| word.as_ptr()).chain(std::iter::once(ptr::null())).collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both lists end with a null pointer and, like the strings they point to, live until the call is over.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Brings the loopback device of this network namespace up.
#[expect(unsafe_code, reason = "interface requests are in no crate")]
pub(super) fn loopback_up(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: all zeroes is a valid request, whose name then ends with a NUL.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request is filled in and lives until the call is over.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }.into())
}

fn checked(result: libc::c_long) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
