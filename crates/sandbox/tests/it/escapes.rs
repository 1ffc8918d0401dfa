//! What a hostile function tries, and how it is answered.

use crate::room::{Room, UID, is_root, levels, run, start};
use sandbox::{Level, Mount, Target, User};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};

/// Calls that no level allows, whatever user asks.
const NEVER: [&str; 29] = [
    "mount",
    "remount",
    "move-mount",
    "umount",
    "open-tree",
    "fsopen",
    "pivot-root",
    "chroot",
    "unshare-user",
    "unshare-mount",
    "clone-user",
    "setns",
    "raw-socket",
    "packet-socket",
    "vsock",
    "mknod",
    "keyctl",
    "add-key",
    "bpf",
    "io-uring",
    "perf",
    "userfaultfd",
    "open-by-handle",
    "load-module",
    "kexec",
    "reboot",
    "swapon",
    "set-clock",
    "syslog",
];

#[tokio::test]
async fn calls_that_reach_out_are_refused_at_each_level() {
    let Some(room) = Room::new("calls_that_reach_out_are_refused_at_each_level") else { return };
    for level in levels(Level::Process) {
        let answers = room.probe(level, &NEVER).await;
        for word in NEVER {
            assert!(
                ["EPERM", "ENOSYS", "EACCES"].contains(&answers.get(word)),
                "{level}: {word}: {}",
                answers.get(word)
            );
        }
    }
}

#[tokio::test]
async fn no_other_user_and_no_precedence_can_be_had() {
    let Some(room) = Room::new("no_other_user_and_no_precedence_can_be_had") else { return };
    for level in levels(Level::Process) {
        let answers = room.probe(level, &["setuid", "setgroups", "nice", "set-hostname"]).await;
        for word in ["setuid", "setgroups", "nice", "set-hostname"] {
            // A user number that is not mapped does not exist.
            assert!(
                ["EPERM", "EACCES", "EINVAL"].contains(&answers.get(word)),
                "{level}: {word}: {}",
                answers.get(word)
            );
        }
    }
}

#[tokio::test]
async fn other_processes_are_neither_seen_nor_reached() {
    let Some(room) = Room::new("other_processes_are_neither_seen_nor_reached") else { return };
    let victim = std::process::id();
    let word = |name: &str| format!("{name}={victim}");
    let (kill, ptrace, memory) = (word("kill"), word("ptrace"), word("read-memory"));
    let environment = format!("read=/proc/{victim}/environ");
    for level in levels(Level::Process) {
        let answers = room.probe(level, &["processes", &kill, &ptrace, &memory, &environment]).await;
        match level {
            Level::Userns | Level::Full => {
                assert_eq!(answers.get("processes"), "ok 0", "{level}");
                assert_eq!(answers.get("kill"), "ESRCH", "{level}");
                assert_eq!(answers.get("read"), "ENOENT", "{level}");
            }
            // They are seen at this level; that is said in the documents.
            _ => {
                assert_eq!(answers.get("read"), "EACCES", "{level}");
                if is_root() || sandbox::confine::available().signals {
                    assert_eq!(answers.get("kill"), "EPERM", "{level}");
                }
            }
        }
        for word in ["ptrace", "read-memory"] {
            assert!(["EPERM", "ESRCH", "ENOSYS"].contains(&answers.get(word)), "{level}: {word} {}", answers.get(word));
        }
    }
}

#[tokio::test]
async fn sockets_of_the_machine_are_not_reached() {
    let Some(room) = Room::new("sockets_of_the_machine_are_not_reached") else { return };
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let path = room.outside().join("s");
    let unix = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
    let name = format!("crema-sandbox-test-{}", std::process::id());
    let unnamed = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let words =
        [format!("tcp={}", tcp.local_addr().unwrap()), format!("unix={}", path.display()), format!("abstract={name}")];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    for level in levels(Level::Process) {
        let answers = room.probe(level, &words).await;
        match level {
            Level::Userns | Level::Full => {
                assert_eq!(answers.get("tcp"), "ECONNREFUSED", "{level}");
                assert_eq!(answers.get("unix"), "ENOENT", "{level}");
                assert_eq!(answers.get("abstract"), "ECONNREFUSED", "{level}");
            }
            _ => {
                let available = sandbox::confine::available();
                if available.tcp {
                    assert_eq!(answers.get("tcp"), "EACCES", "{level}");
                }
                if available.signals {
                    assert_eq!(answers.get("abstract"), "EPERM", "{level}");
                }
                // A path is closed by its directory, if it is another user's.
                if is_root() {
                    assert_eq!(answers.get("unix"), "EACCES", "{level}");
                }
            }
        }
        let outside = room.probe(level, &["tcp=192.0.2.1:80"]).await;
        assert!(["ENETUNREACH", "EACCES"].contains(&outside.get("tcp")), "{level}: {}", outside.get("tcp"));
    }
    drop((tcp, unix, unnamed));
}

#[tokio::test]
async fn nothing_can_be_written_but_what_is_its_own() {
    let Some(room) = Room::new("nothing_can_be_written_but_what_is_its_own") else { return };
    let script = "for dir in / /bin /dev /dev/pts /proc /proc/sys/kernel /tmp /dev/shm; do
        if echo x 2>/dev/null >$dir/new; then echo $dir; fi; done 2>/dev/null
        echo x 2>/dev/null >/proc/sys/kernel/core_pattern && echo core_pattern
        echo b 2>/dev/null >/proc/sysrq-trigger && echo sysrq
        busybox rm -f /bin/sh 2>/dev/null && echo removed; true";
    for level in levels(Level::Userns) {
        let ended = run(&room.script(level, script)).await;
        assert!(ended.status.success(), "{level}: {}", ended.stderr);
        assert_eq!(ended.stdout, "/tmp\n/dev/shm\n", "{level}");
    }
    let outside = room.outside().join("escaped");
    let word = format!("write={}", outside.display());
    for level in levels(Level::Process) {
        let answers = room.probe(level, &[&word]).await;
        assert!(["EACCES", "ENOENT"].contains(&answers.get("write")), "{level}: {}", answers.get("write"));
    }
    assert!(!outside.exists());
}

#[tokio::test]
async fn a_set_user_id_program_of_the_image_gives_no_other_user() {
    let Some(room) = Room::new("a_set_user_id_program_of_the_image_gives_no_other_user") else { return };
    if !is_root() {
        eprintln!("SKIPPED a_set_user_id_program_of_the_image_gives_no_other_user: only root can make one");
        return;
    }
    // A directory that all may look into and that is shown as it is, so that only the sandbox stands in the way.
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let suid = dir.path().join("prober");
    std::fs::copy(env!("CARGO_BIN_EXE_sandbox-prober"), &suid).unwrap();
    std::fs::set_permissions(&suid, PermissionsExt::from_mode(0o4755)).unwrap();
    room.prepare(&[Target::Dir("/suid".into())]);
    for level in levels(Level::Process) {
        let mut spec = room.prober(level, &["status=Uid"]);
        spec.argv[0] = match level {
            Level::Userns | Level::Full => "/suid/prober".to_owned(),
            _ => suid.to_str().unwrap().to_owned(),
        };
        spec.mounts.push(Mount::read_only(dir.path(), "/suid"));
        // Loading it would forbid new rights once more.
        spec.seccomp = None;
        if let Some(files) = &mut spec.files {
            files.executable.push(dir.path().to_owned());
        }
        let answers = run(&spec).await.answers(level);
        assert_eq!(answers.get("status"), format!("ok {UID} {UID} {UID} {UID}"), "{level}");
    }
}

#[tokio::test]
async fn a_fork_bomb_ends_at_the_limit() {
    let Some(room) = Room::new("a_fork_bomb_ends_at_the_limit") else { return };
    for level in levels(Level::Process) {
        if level == Level::Process && !is_root() {
            eprintln!("SKIPPED a_fork_bomb_ends_at_the_limit at process: other processes of this user count too");
            continue;
        }
        let mut spec = room.prober(level, &["fork-bomb"]);
        spec.limits.processes = Some(20);
        // Nobody else's: what another test's user has left may not be reaped yet.
        let uid = 2_000_020_000 + std::process::id() % 40_000;
        spec.user = Some(User { uid, gid: uid });
        let answers = run(&spec).await.answers(level);
        // A helper of the same user that is about to end may still be counted.
        let answer = answers.get("fork-bomb");
        assert!(["ok stopped at 19", "ok stopped at 18"].contains(&answer), "{level}: {answer}");
    }
}

#[tokio::test]
async fn what_can_be_written_has_a_bound() {
    let Some(room) = Room::new("what_can_be_written_has_a_bound") else { return };
    for level in levels(Level::Userns) {
        let mut spec = room.prober(level, &["fill=/tmp/file"]);
        spec.tmp_bytes = 5 << 20;
        assert_eq!(run(&spec).await.answers(level).get("fill"), "ok full after 5", "{level}");
        let mut spec = room.prober(level, &["fill=/dev/shm/file"]);
        spec.shm_bytes = 3 << 20;
        assert_eq!(run(&spec).await.answers(level).get("fill"), "ok full after 3", "{level}");
    }
}

#[tokio::test]
async fn what_outlives_its_first_process_dies_with_it() {
    let Some(room) = Room::new("what_outlives_its_first_process_dies_with_it") else { return };
    for level in levels(Level::Userns) {
        let started = start(&room.script(level, "(busybox setsid busybox sleep 1000 &) ; exit 3")).await.unwrap();
        // The output ends only when no process has it open any more.
        let ended = crate::room::finish(started).await;
        assert_eq!(ended.status.code(), Some(3), "{level}");
    }
}

#[tokio::test]
async fn the_platforms_own_program_is_not_run() {
    let Some(room) = Room::new("the_platforms_own_program_is_not_run") else { return };
    // What is needed came in between the first version and this.
    if !sandbox::confine::available().truncate {
        eprintln!("SKIPPED the_platforms_own_program_is_not_run: the kernel has no landlock, or an old one");
        return;
    }
    for level in levels(Level::Userns).into_iter().filter(|level| *level == Level::Userns) {
        let error = start(&room.spec(level, &["/proc/self/exe"])).await.unwrap_err();
        assert!(error.to_string().contains("Permission denied"), "{error}");
        let ended = run(&room.script(level, "cd /tmp && mkdir a b && echo >a/file && mv a/file b && ls b")).await;
        assert_eq!(ended.stdout, "file\n", "{}", ended.stderr);
    }
}
