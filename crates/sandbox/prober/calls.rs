//! System calls that reach out of a box.

use crate::Attempt;
use std::io;
use std::ptr;

pub(crate) fn attempt(name: &str, argument: &str) -> Option<Attempt> {
    let pid = || argument.parse::<libc::c_long>().unwrap_or(1);
    let none = ptr::null::<u8>();
    let zeroes = [0_u64; 32];
    let zeroes = zeroes.as_ptr();
    let slash = c"/".as_ptr();
    let tmp = c"/tmp".as_ptr();
    #[rustfmt::skip]
    let made = match name {
        "mount" => call(&[libc::SYS_mount, c"none".as_ptr() as i64, tmp as i64, c"tmpfs".as_ptr() as i64, 0, 0]),
        "remount" => call(&[libc::SYS_mount, 0, slash as i64, 0, (libc::MS_REMOUNT | libc::MS_BIND) as i64, 0]),
        "move-mount" => call(&[libc::SYS_mount, c"/proc".as_ptr() as i64, tmp as i64, 0, libc::MS_MOVE as i64, 0]),
        "umount" => call(&[libc::SYS_umount2, c"/proc/sys".as_ptr() as i64, 0]),
        "open-tree" => call(&[libc::SYS_open_tree, libc::AT_FDCWD.into(), slash as i64, 1]),
        "fsopen" => call(&[libc::SYS_fsopen, c"tmpfs".as_ptr() as i64, 0]),
        "pivot-root" => call(&[libc::SYS_pivot_root, tmp as i64, tmp as i64]),
        "chroot" => call(&[libc::SYS_chroot, tmp as i64]),
        "unshare-user" => call(&[libc::SYS_unshare, libc::CLONE_NEWUSER.into()]),
        "unshare-mount" => call(&[libc::SYS_unshare, libc::CLONE_NEWNS.into()]),
        "clone-user" => call(&[libc::SYS_clone, (libc::CLONE_NEWUSER | libc::SIGCHLD).into(), 0, 0, 0, 0]),
        "setns" => call(&[libc::SYS_setns, 0, 0]),
        "kill" => call(&[libc::SYS_kill, pid(), 0]),
        "ptrace" => call(&[libc::SYS_ptrace, libc::PTRACE_ATTACH.into(), pid(), 0, 0]),
        "read-memory" => call(&[libc::SYS_process_vm_readv, pid(), zeroes as i64, 1, zeroes as i64, 1, 0]),
        "raw-socket" => call(&[libc::SYS_socket, libc::AF_INET.into(), libc::SOCK_RAW.into(), 1]),
        "packet-socket" => call(&[libc::SYS_socket, libc::AF_PACKET.into(), libc::SOCK_RAW.into(), 0x300]),
        "vsock" => call(&[libc::SYS_socket, libc::AF_VSOCK.into(), libc::SOCK_STREAM.into(), 0]),
        "mknod" => call(&[libc::SYS_mknodat, libc::AT_FDCWD.into(), c"/tmp/disk".as_ptr() as i64,
                          (libc::S_IFBLK | 0o666).into(), (254 << 8) as i64]),
        "mknod-null" => call(&[libc::SYS_mknodat, libc::AT_FDCWD.into(), c"/tmp/null".as_ptr() as i64,
                               (libc::S_IFCHR | 0o666).into(), ((1 << 8) | 3) as i64]),
        "keyctl" => call(&[libc::SYS_keyctl, 0, -3, 1]),
        "add-key" => call(&[libc::SYS_add_key, c"user".as_ptr() as i64, c"k".as_ptr() as i64, slash as i64, 1, -3]),
        "bpf" => call(&[libc::SYS_bpf, 0, zeroes as i64, 128]),
        "io-uring" => call(&[libc::SYS_io_uring_setup, 4, zeroes as i64]),
        "perf" => call(&[libc::SYS_perf_event_open, zeroes as i64, 0, -1, -1, 0]),
        "userfaultfd" => call(&[libc::SYS_userfaultfd, 0]),
        "open-by-handle" => call(&[libc::SYS_open_by_handle_at, libc::AT_FDCWD.into(), zeroes as i64, 0]),
        "load-module" => call(&[libc::SYS_init_module, none as i64, 0, c"".as_ptr() as i64]),
        "kexec" => call(&[libc::SYS_kexec_load, 0, 0, 0, 0]),
        "reboot" => call(&[libc::SYS_reboot, 0xfee1_dead, 672_274_793, 0, 0]),
        "swapon" => call(&[libc::SYS_swapon, c"/tmp/x".as_ptr() as i64, 0]),
        "set-clock" => call(&[libc::SYS_clock_settime, 0, zeroes as i64]),
        "set-hostname" => call(&[libc::SYS_sethostname, slash as i64, 1]),
        "syslog" => call(&[libc::SYS_syslog, 3, zeroes as i64, 8]),
        "setuid" => call(&[libc::SYS_setuid, 0]),
        "setgroups" => call(&[libc::SYS_setgroups, 1, zeroes as i64]),
        "nice" => call(&[libc::SYS_setpriority, 0, 0, -10]),
        "fork-bomb" => fork_bomb(argument.parse().unwrap_or(500)),
        "memory-bomb" => memory_bomb(argument.parse().unwrap_or(1024)),
        _ => return None,
    };
    Some(made)
}

/// Makes a call with what it needs, given as numbers.
#[expect(unsafe_code, reason = "what is tried is in no crate, on purpose")]
fn call(words: &[i64]) -> Attempt {
    let word = |index: usize| words.get(index).copied().unwrap_or_default();
    // SAFETY: addresses among the words are of constants or of zeroes that outlive the call and that nothing else
    // uses; what a call that should be refused does to this process matters to nobody.
    let answer = unsafe { libc::syscall(word(0), word(1), word(2), word(3), word(4), word(5), word(6)) };
    if answer == 0 && word(0) == libc::SYS_clone {
        std::process::abort();
    }
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer.to_string()) }
}

/// Uses so many megabytes.
fn memory_bomb(most: usize) -> Attempt {
    let mut held: Vec<Vec<u8>> = Vec::new();
    for _ in 0..most {
        let mut block = Vec::new();
        block.try_reserve_exact(1 << 20).map_err(|_| io::Error::from_raw_os_error(libc::ENOMEM))?;
        block.resize(1 << 20, 1);
        held.push(block);
    }
    Ok(format!("{} MB", held.len()))
}

/// Forks until that is refused or there are so many, and says how many there were.
#[expect(unsafe_code, reason = "the standard library forks only to run a program")]
fn fork_bomb(most: usize) -> Attempt {
    let mut children = Vec::new();
    let refused = loop {
        if children.len() == most {
            break None;
        }
        // SAFETY: this process has one thread; the child only waits to be killed.
        match unsafe { libc::fork() } {
            -1 => break Some(io::Error::last_os_error()),
            // SAFETY: as above.
            0 => loop {
                unsafe { libc::pause() };
            },
            child => children.push(child),
        }
    };
    for child in &children {
        // SAFETY: they are children of this process that have not been reaped.
        unsafe {
            libc::kill(*child, libc::SIGKILL);
            libc::waitpid(*child, ptr::null_mut(), 0);
        }
    }
    match refused {
        Some(_) => Ok(format!("stopped at {}", children.len())),
        None => Ok("never stopped".to_owned()),
    }
}
