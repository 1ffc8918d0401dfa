use super::*;
use crate::within::{other, python, run, skip};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

/// Runs the program with the filter for `level` loaded.
fn filtered(level: Level, command: &mut Command) -> Output {
    let bytes = program(level).unwrap();
    run(command, move || apply(&bytes).map_err(other))
}

/// What each call returns when it is made by a Python program: its name, and 0 or the number of its error.
fn answers(calls: &[(&str, i64, &[i64])], python: &str, level: Option<Level>) -> Vec<(String, i32)> {
    let mut script = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n\
         def call(name, *words):\n \
         result = libc.syscall(*[ctypes.c_long(word) for word in words])\n \
         print(name, ctypes.get_errno() if result == -1 else 0, flush=True)\n"
        .to_owned();
    for (name, number, arguments) in calls {
        let arguments: Vec<_> = arguments.iter().map(i64::to_string).collect();
        script += &format!("call({name:?}, {number}, {})\n", arguments.join(", "));
    }
    let mut command = Command::new(python);
    command.args(["-c", &script]);
    let output = match level {
        Some(level) => filtered(level, &mut command),
        None => command.output().unwrap(),
    };
    let printed = String::from_utf8_lossy(&output.stdout);
    let answers: Vec<_> = printed
        .lines()
        .map(|line| line.rsplit_once(' ').map(|(name, error)| (name.to_owned(), error.parse().unwrap())).unwrap())
        .collect();
    assert_eq!(answers.len(), calls.len(), "{output:?}");
    answers
}

/// None of these does anything where it is not refused: the arguments make no sense.
fn refused() -> Vec<(&'static str, i64, &'static [i64])> {
    const PACKET: i64 = libc::AF_PACKET as i64;
    const INET: i64 = libc::AF_INET as i64;
    vec![
        ("mount", libc::SYS_mount, &[0, 0, 0, 0, 0]),
        ("umount2", libc::SYS_umount2, &[0, 0]),
        ("fsopen", libc::SYS_fsopen, &[0, 0]),
        ("open_tree", libc::SYS_open_tree, &[-1, 0, 0]),
        ("move_mount", libc::SYS_move_mount, &[-1, 0, -1, 0, 0]),
        ("pivot_root", libc::SYS_pivot_root, &[0, 0]),
        ("chroot", libc::SYS_chroot, &[0]),
        ("setns", libc::SYS_setns, &[-1, 0]),
        ("unshare of mounts and memory", libc::SYS_unshare, &[(libc::CLONE_NEWNS | libc::CLONE_PTRACE) as i64]),
        ("unshare of the clock", libc::SYS_unshare, &[(0x80 | libc::CLONE_PTRACE) as i64]),
        ("clone of mounts", libc::SYS_clone, &[(libc::CLONE_NEWNS | libc::CLONE_FS) as i64, 0, 0, 0, 0]),
        ("clone of users", libc::SYS_clone, &[(libc::CLONE_NEWUSER | libc::CLONE_FS) as i64, 0, 0, 0, 0]),
        ("ptrace", libc::SYS_ptrace, &[16, 0, 0, 0]),
        ("process_vm_readv", libc::SYS_process_vm_readv, &[0, 0, 0, 0, 0, 1]),
        ("process_vm_writev", libc::SYS_process_vm_writev, &[0, 0, 0, 0, 0, 1]),
        ("pidfd_getfd", libc::SYS_pidfd_getfd, &[-1, 0, 0]),
        ("kcmp", libc::SYS_kcmp, &[0, 0, 0, 0, 0]),
        ("keyctl", libc::SYS_keyctl, &[9999, 0, 0, 0, 0]),
        ("add_key", libc::SYS_add_key, &[0, 0, 0, 0, 0]),
        ("bpf", libc::SYS_bpf, &[9999, 0, 0]),
        ("io_uring_setup", libc::SYS_io_uring_setup, &[0, 0]),
        ("userfaultfd", libc::SYS_userfaultfd, &[0xffff]),
        ("perf_event_open", libc::SYS_perf_event_open, &[0, 0, 0, 0, 0]),
        ("kexec_load", libc::SYS_kexec_load, &[0, 1000, 0, 0]),
        ("finit_module", libc::SYS_finit_module, &[-1, 0, 0]),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, &[-1, 0, 0]),
        ("name_to_handle_at", libc::SYS_name_to_handle_at, &[-1, 0, 0, 0, 0]),
        ("fanotify_init", libc::SYS_fanotify_init, &[-1, -1]),
        ("reboot", libc::SYS_reboot, &[0, 0, 0, 0]),
        ("sethostname", libc::SYS_sethostname, &[0, -1]),
        ("clock_settime", libc::SYS_clock_settime, &[-1, 0]),
        ("syslog", libc::SYS_syslog, &[99, 0, 0]),
        ("personality without random addresses", libc::SYS_personality, &[0x0004_0000]),
        ("typing into a terminal", libc::SYS_ioctl, &[-1, libc::TIOCSTI as i64, 0]),
        ("typing with more bits", libc::SYS_ioctl, &[-1, libc::TIOCSTI as i64 | 1 << 32, 0]),
        ("pasting into a terminal", libc::SYS_ioctl, &[-1, libc::TIOCLINUX as i64, 0]),
        ("leaving a project", libc::SYS_ioctl, &[-1, arguments::SET_ATTRIBUTES as i64, 0]),
        ("letting new files leave it", libc::SYS_ioctl, &[-1, arguments::SET_FLAGS as i64, 0]),
        ("packet socket", libc::SYS_socket, &[PACKET, libc::SOCK_RAW as i64, 0]),
        ("packet socket with more bits", libc::SYS_socket, &[PACKET | 1 << 32, libc::SOCK_RAW as i64, 0]),
        ("raw socket", libc::SYS_socket, &[INET, libc::SOCK_RAW as i64, libc::IPPROTO_ICMP as i64]),
        ("mptcp socket", libc::SYS_socket, &[INET, libc::SOCK_STREAM as i64, libc::IPPROTO_MPTCP as i64]),
        ("l2tp socket", libc::SYS_socket, &[INET, libc::SOCK_DGRAM as i64, 115]),
        ("ping socket", libc::SYS_socket, &[INET, libc::SOCK_DGRAM as i64, libc::IPPROTO_ICMP as i64]),
        ("audit socket", libc::SYS_socket, &[libc::AF_NETLINK as i64, libc::SOCK_RAW as i64, 9]),
        ("vsock", libc::SYS_socket, &[libc::AF_VSOCK as i64, libc::SOCK_STREAM as i64, 0]),
        ("alg socket", libc::SYS_socket, &[libc::AF_ALG as i64, libc::SOCK_SEQPACKET as i64, 0]),
    ]
}

#[test]
fn what_is_not_on_the_list_is_not_permitted() {
    let Some(python) = python("what_is_not_on_the_list_is_not_permitted") else { return };
    for level in [Level::Full, Level::Userns, Level::Process] {
        for (name, error) in answers(&refused(), &python, Some(level)) {
            assert_eq!(error, libc::EPERM, "{name} at {level}");
        }
    }
}

#[test]
fn it_is_the_filter_that_does_not_permit_it() {
    let Some(python) = python("it_is_the_filter_that_does_not_permit_it") else { return };
    if !rustix::process::geteuid().is_root() {
        return skip("it_is_the_filter_that_does_not_permit_it", "only root is permitted all of it without a filter");
    }
    for (name, error) in answers(&refused(), &python, None) {
        assert_ne!(error, libc::EPERM, "{name}");
    }
}

#[test]
fn what_programs_need_is_permitted() {
    let Some(python) = python("what_programs_need_is_permitted") else { return };
    let calls: &[(&str, i64, &[i64])] = &[
        ("unshare of files", libc::SYS_unshare, &[libc::CLONE_FILES as i64]),
        ("personality", libc::SYS_personality, &[0xffff_ffff]),
        ("unix socket", libc::SYS_socket, &[libc::AF_UNIX as i64, libc::SOCK_STREAM as i64, 0]),
        ("tcp", libc::SYS_socket, &[libc::AF_INET as i64, (libc::SOCK_STREAM | libc::SOCK_CLOEXEC) as i64, 0]),
        ("udp", libc::SYS_socket, &[libc::AF_INET as i64, (libc::SOCK_DGRAM | libc::SOCK_NONBLOCK) as i64, 17]),
        ("routes", libc::SYS_socket, &[libc::AF_NETLINK as i64, libc::SOCK_RAW as i64, 0]),
        ("memfd_create", libc::SYS_memfd_create, &[0, 0]),
    ];
    for (name, error) in answers(calls, &python, Some(Level::Process)) {
        assert!(error == 0 || (name == "memfd_create" && error == libc::EFAULT), "{name}: {error}");
    }
}

#[test]
fn calls_that_have_an_older_way_are_answered_as_absent() {
    let Some(python) = python("calls_that_have_an_older_way_are_answered_as_absent") else { return };
    let calls: &[(&str, i64, &[i64])] = &[("clone3", libc::SYS_clone3, &[0, 0]), ("newer", 500, &[0])];
    for (name, error) in answers(calls, &python, Some(Level::Full)) {
        assert_eq!(error, libc::ENOSYS, "{name}");
    }
}

#[test]
fn landlock_is_not_passed_by_sending() {
    let Some(python) = python("landlock_is_not_passed_by_sending") else { return };
    let fast_open = libc::MSG_FASTOPEN as i64;
    let calls: &[(&str, i64, &[i64])] = &[
        ("sendto", libc::SYS_sendto, &[-1, 0, 0, fast_open, 0, 0]),
        ("sendmsg", libc::SYS_sendmsg, &[-1, 0, fast_open]),
        ("sendmmsg", libc::SYS_sendmmsg, &[-1, 0, 0, fast_open]),
        ("limits of another", libc::SYS_prlimit64, &[i64::from(i32::MAX), 0, 0, 0]),
    ];
    let plain: &[(&str, i64, &[i64])] =
        &[("sendto", libc::SYS_sendto, &[-1, 0, 0, 0, 0, 0]), ("own limits", libc::SYS_prlimit64, &[0, 0, 0, 0])];
    for (name, error) in answers(calls, &python, Some(Level::Process)) {
        assert_eq!(error, libc::EPERM, "{name}");
    }
    for (name, error) in answers(plain, &python, Some(Level::Process)) {
        assert_ne!(error, libc::EPERM, "{name}");
    }
    for (name, error) in answers(calls, &python, Some(Level::Full)) {
        assert_ne!(error, libc::EPERM, "{name}");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn calls_of_the_other_abis_do_not_get_through() {
    let Some(python) = python("calls_of_the_other_abis_do_not_get_through") else { return };
    let getpid: &[(&str, i64, &[i64])] = &[("x32 getpid", 0x4000_0000 | libc::SYS_getpid, &[])];
    assert_eq!(answers(getpid, &python, Some(Level::Full))[0].1, libc::EPERM);
    // mov eax, 20 (getpid of i386); int 0x80; ret
    let script = "import ctypes, mmap\n\
         page = mmap.mmap(-1, 4096, prot=7)\n\
         page.write(b'\\xb8\\x14\\0\\0\\0\\xcd\\x80\\xc3')\n\
         address = ctypes.addressof(ctypes.c_char.from_buffer(page))\n\
         ctypes.CFUNCTYPE(ctypes.c_long)(address)()\n";
    let output = filtered(Level::Full, Command::new(&python).args(["-c", script]));
    // A kernel without the i386 ABI ends it with SIGSEGV before the filter sees it.
    assert!(matches!(output.status.signal(), Some(libc::SIGSYS | libc::SIGSEGV)), "{output:?}");
}

#[test]
fn the_programs_of_the_usual_languages_run() {
    let programs: [(&str, &[&str]); 5] = [
        (
            "node",
            &["-e", "require('http').createServer().listen(0, function () { console.log('runs'); this.close() })"],
        ),
        ("java", &["-version"]),
        ("go", &["version"]),
        ("busybox", &["sh", "-c", "echo runs | cat"]),
        ("bash", &["-c", "(echo runs; ls /) | cat"]),
    ];
    for (program, arguments) in programs {
        if Command::new(program).args(arguments).output().is_err() {
            skip("the_programs_of_the_usual_languages_run", &format!("there is no {program} here"));
            continue;
        }
        let output = filtered(Level::Process, Command::new(program).args(arguments));
        assert!(output.status.success() && output.stdout.len() + output.stderr.len() > 0, "{program}: {output:?}");
    }
    let Some(python) = python("the_programs_of_the_usual_languages_run") else { return };
    let script = "import subprocess, threading, socket, multiprocessing.dummy, tempfile\n\
         thread = threading.Thread(target=lambda: None); thread.start(); thread.join()\n\
         socket.create_server(('127.0.0.1', 0)).close()\n\
         print(subprocess.run(['echo', 'runs'], capture_output=True, check=True).stdout)\n";
    let output = filtered(Level::Process, Command::new(python).args(["-c", script]));
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn damaged_bytes_are_refused() {
    let bytes = program(Level::Full).unwrap();
    for cut in [0, 7, 9, bytes.len() - 1] {
        assert!(matches!(apply(&bytes[..cut]), Err(SeccompError::Damaged)), "{cut}");
    }
    let mut long = bytes;
    long[..8].fill(0xff);
    assert!(matches!(apply(&long), Err(SeccompError::Damaged)));
}

/// What the kernel would answer: the few instructions that filters here are made of, on what it shows a filter.
fn answer(program: &[sock_filter], abi: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let mut shown = vec![number, abi, 0, 0];
    shown.extend(arguments.iter().flat_map(|argument| [*argument as u32, (argument >> 32) as u32]));
    let (mut at, mut value) = (0, 0);
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        at += 1;
        let jump = |holds: bool| at + usize::from(if holds { jt } else { jf });
        match code {
            0x20 => value = shown[k as usize / 4],
            0x54 => value &= k,
            0x05 => at += k as usize,
            0x15 => at = jump(value == k),
            0x25 => at = jump(value > k),
            0x35 => at = jump(value >= k),
            0x06 => return k,
            code => panic!("{code:#x} is not among them"),
        }
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn every_number_gets_the_answer_that_the_lists_give_it() {
    const OWN: u32 = 0xc000_003e;
    let (allowed, refused, absent) = (0x7fff_0000, 0x0005_0000 | libc::EPERM as u32, 0x0005_0000 | libc::ENOSYS as u32);
    let none = [0; 6];
    for level in [Level::Full, Level::Userns, Level::Process] {
        let filter = instructions(&program(level).unwrap()).unwrap();
        let listed: Vec<_> = calls::allowed(level).chain(arguments::allowed(level).iter().copied()).collect();
        let by_arguments = arguments::rules(level).unwrap();
        for number in (0..2048).chain([u32::MAX, u32::MAX - 1, calls::X32, calls::X32 + 39, calls::X32 - 1]) {
            let call = i64::from(number);
            if by_arguments.contains_key(&call) {
                assert!(!listed.contains(&call), "{number}");
                continue;
            }
            let expected = match number {
                _ if listed.contains(&call) => allowed,
                _ if call == libc::SYS_clone3 => absent,
                470..0x4000_0000 => absent,
                _ => refused,
            };
            assert_eq!(answer(&filter, OWN, number, none), expected, "{number} at {level}");
            assert_eq!(answer(&filter, 0x4000_0003, number, none), 0x8000_0000, "{number} of i386");
        }
        let ask = |call: i64, arguments: [u64; 6]| answer(&filter, OWN, call as u32, arguments);
        assert_eq!(ask(libc::SYS_ioctl, [0, 0x5401, 0, 0, 0, 0]), allowed);
        assert_eq!(ask(libc::SYS_ioctl, [0, libc::TIOCSTI | 1 << 40, 0, 0, 0, 0]), refused);
        assert_eq!(ask(libc::SYS_clone, [0x0011_0000 | 17, 0, 0, 0, 0, 0]), allowed);
        assert_eq!(ask(libc::SYS_clone, [libc::CLONE_NEWUSER as u64, 0, 0, 0, 0, 0]), refused);
        let fast_open = [3, 0, 0, libc::MSG_FASTOPEN as u64 | 1 << 33, 0, 0];
        assert_eq!(ask(libc::SYS_sendto, fast_open), if level == Level::Process { refused } else { allowed });
        assert_eq!(ask(libc::SYS_sendto, none), allowed);
        // What would be the platform's child, or outlast the function.
        let beyond = if level == Level::Process { refused } else { allowed };
        assert_eq!(ask(libc::SYS_clone, [libc::CLONE_PARENT as u64 | 17, 0, 0, 0, 0, 0]), beyond);
        assert_eq!(ask(libc::SYS_shmget, none), beyond);
    }
}
