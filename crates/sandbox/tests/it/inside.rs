//! What a confined process sees of itself and of the machine.

use crate::room::{Room, UID, finish, is_root, levels, run, start, start_ahead};
use sandbox::{Level, Mount, Shared, Target, Text};

#[tokio::test]
async fn it_has_no_rights_and_cannot_get_any() {
    let Some(room) = Room::new("it_has_no_rights_and_cannot_get_any") else { return };
    let fields = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Uid", "Gid", "Groups"];
    for level in levels(Level::Process) {
        for field in fields {
            let answers = room.probe(level, &[&format!("status={field}")]).await;
            let answer = answers.get("status");
            let own = is_root() || level > Level::Process;
            let expected = match field {
                "NoNewPrivs" => "ok 1".to_owned(),
                "Seccomp" => "ok 2".to_owned(),
                "Uid" | "Gid" if own => format!("ok {UID} {UID} {UID} {UID}"),
                "Groups" if is_root() => "ok ".to_owned(),
                "Uid" | "Gid" | "Groups" => continue,
                // An ordinary user cannot empty it, and no_new_privs makes it worthless.
                "CapBnd" if !own => continue,
                _ => "ok 0000000000000000".to_owned(),
            };
            assert_eq!(answer, expected, "{level}: {field}");
        }
    }
}

#[tokio::test]
async fn it_is_alone_with_what_it_was_given() {
    let Some(room) = Room::new("it_is_alone_with_what_it_was_given") else { return };
    for level in levels(Level::Userns) {
        let words = [
            "status=NSpid",
            "status=Umask",
            "list=/",
            "list=/dev",
            "descriptors",
            "environment",
            "text=/proc/sys/kernel/hostname",
        ];
        for (word, expected) in words.into_iter().zip([
            "ok 1",
            "ok 0022",
            "ok bin,dev,lib,lib64,prober,proc,tmp",
            "ok fd,full,null,ptmx,pts,random,shm,stderr,stdin,stdout,tty,urandom,zero",
            "ok 0,1,2",
            "ok A,PATH",
            "ok box",
        ]) {
            let mut spec = room.prober(level, &[word]);
            spec.hostname = "box".to_owned();
            spec.env.push(("A".to_owned(), "b".to_owned()));
            let answers = run(&spec).await.answers(level);
            assert_eq!(answers.get(word.split('=').next().unwrap()), expected, "{level}: {word}");
        }
    }
}

#[tokio::test]
async fn its_namespaces_are_its_own() {
    let Some(room) = Room::new("its_namespaces_are_its_own") else { return };
    let link = |name: &str| format!("/proc/self/ns/{name}");
    for level in levels(Level::Process) {
        let mut spec = room.prober(level, &[]);
        if let Some(files) = &mut spec.files {
            files.readable.push("/proc/self/ns".into());
        }
        for name in ["mnt", "pid", "ipc", "uts", "net", "cgroup", "user"] {
            spec.argv.truncate(1);
            spec.argv.push(format!("link={}", link(name)));
            let mut started = vec![start(&spec).await.unwrap()];
            if level == Level::Full {
                started.push(start_ahead(&spec).await.unwrap());
            }
            for started in started {
                let answers = finish(started).await.answers(level);
                let ours = std::fs::read_link(link(name)).unwrap();
                let is_ours = answers.get("link") == format!("ok {}", ours.display());
                let is_shared = level < Level::Userns || (level == Level::Full && name == "user");
                assert_eq!(is_ours, is_shared, "{level}: {name}: {}", answers.get("link"));
            }
        }
    }
}

#[tokio::test]
async fn what_proc_tells_of_the_machine_is_hidden() {
    let Some(room) = Room::new("what_proc_tells_of_the_machine_is_hidden") else { return };
    for level in levels(Level::Userns) {
        for file in ["kcore", "keys", "timer_list", "kallsyms", "interrupts"] {
            if !std::path::Path::new("/proc").join(file).exists() {
                continue;
            }
            let answers = room.probe(level, &[&format!("read=/proc/{file}")]).await;
            assert!(
                ["ok 0 bytes", "EACCES"].contains(&answers.get("read")),
                "{level}: {file}: {}",
                answers.get("read")
            );
        }
        let answers = room.probe(level, &["list=/proc/acpi", "text=/proc/self/cgroup"]).await;
        assert!(["ok ", "ENOENT"].contains(&answers.get("list")), "{level}: {}", answers.get("list"));
    }
}

#[tokio::test]
async fn no_mount_of_the_machine_is_left() {
    let Some(room) = Room::new("no_mount_of_the_machine_is_left") else { return };
    for level in levels(Level::Userns) {
        let ended = run(&room.script(level, "busybox cut -d' ' -f5,6 /proc/self/mountinfo")).await;
        for line in ended.stdout.lines() {
            let (place, options) = line.split_once(' ').unwrap();
            let known = place == "/" || ["/proc", "/dev", "/tmp"].iter().any(|top| place.starts_with(top));
            assert!(known, "{level}: {line}");
            assert!(options.contains("nosuid"), "{level}: {line}");
            let is_device = place.starts_with("/dev/") && place != "/dev/shm" || place.starts_with("/proc/");
            assert!(is_device || options.contains("nodev"), "{level}: {line}");
        }
        assert!(ended.stdout.lines().any(|line| line.starts_with("/ ro,")), "{level}: {}", ended.stdout);
    }
}

#[tokio::test]
async fn it_leads_a_session_of_its_own() {
    let Some(room) = Room::new("it_leads_a_session_of_its_own") else { return };
    for level in levels(Level::Process) {
        let started = start(&room.prober(level, &["status=Pid"])).await.unwrap();
        let pid = started.pid;
        let session = rustix::process::getsid(Some(pid)).unwrap();
        assert_eq!(session, pid, "{level}");
        assert!(finish(started).await.status.success());
    }
}

#[tokio::test]
async fn it_does_not_interrupt_what_runs() {
    let Some(room) = Room::new("it_does_not_interrupt_what_runs") else { return };
    for level in levels(Level::Process) {
        let started = start(&room.prober(level, &["status=Pid"])).await.unwrap();
        // The 41st field, the 39th after the name, is the policy: proc_pid_stat(5).
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", started.pid)).unwrap();
        let policy = stat.rsplit(')').next().unwrap().split_whitespace().nth(38).unwrap().to_owned();
        assert!(finish(started).await.status.success());
        assert_eq!(policy, libc::SCHED_BATCH.to_string(), "{level}");
    }
}

#[tokio::test]
async fn mounts_are_shown_as_the_spec_says() {
    let Some(room) = Room::new("mounts_are_shown_as_the_spec_says") else { return };
    // Only the platform can look into the directory above.
    let private = room.outside().join("private");
    std::fs::create_dir_all(private.join("data")).unwrap();
    std::fs::write(private.join("secret"), "shh").unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode;
    std::fs::set_permissions(private.join("data"), open(0o777)).unwrap();
    std::fs::set_permissions(private.join("secret"), open(0o644)).unwrap();
    std::fs::set_permissions(&private, open(0o700)).unwrap();
    room.prepare(&[
        Target::File("/run/secrets/a".into()),
        Target::Dir("/data".into()),
        Target::Dir("/run/crema".into()),
    ]);
    for level in levels(Level::Userns) {
        let script = "busybox cat /run/secrets/a; echo x 2>/dev/null >/run/secrets/a || echo no; echo y >/data/file";
        let mut spec = room.script(level, script);
        spec.mounts = vec![
            Mount::read_only(private.join("secret"), "/run/secrets/a"),
            Mount::writable(private.join("data"), "/data"),
        ];
        let ended = run(&spec).await;
        assert_eq!(ended.stdout, "shhno\n", "{level}: {}", ended.stderr);
        assert_eq!(std::fs::read_to_string(private.join("data/file")).unwrap(), "y\n");
        std::fs::remove_file(private.join("data/file")).unwrap();
    }
}

#[tokio::test]
async fn a_shared_directory_is_the_functions_and_bounded_and_the_platform_sees_it() {
    let Some(room) = Room::new("a_shared_directory_is_the_functions_and_bounded_and_the_platform_sees_it") else {
        return;
    };
    room.prepare(&[Target::Dir("/run/crema".into())]);
    for level in levels(Level::Userns) {
        let script = "echo hello >/run/crema/file; stat -c '%a %u' /run/crema; \
                      cat /dev/zero >/run/crema/fill; stat -c %s /run/crema/fill";
        let mut spec = room.script(level, script);
        spec.shared = Some(Shared { target: "/run/crema".into(), bytes: 64 << 10 });
        let started = start(&spec).await.unwrap();
        let shared = started.shared.as_ref().unwrap().try_clone().unwrap();
        let ended = finish(started).await;
        let lines: Vec<_> = ended.stdout.lines().collect();
        assert_eq!(lines[0], format!("700 {UID}"), "{level}: {}", ended.stderr);
        assert!(lines[1].parse::<u32>().unwrap() < 64 << 10, "{level}: {lines:?}");
        // As long as anyone holds it, also after the function's end.
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&shared));
        assert_eq!(std::fs::read_to_string(format!("{path}/file")).unwrap(), "hello\n", "{level}");
    }
}

#[tokio::test]
async fn a_link_of_the_image_does_not_lead_a_mount_out() {
    let Some(room) = Room::new("a_link_of_the_image_does_not_lead_a_mount_out") else { return };
    let outside = room.outside().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, room.root().join("data")).unwrap();
    for level in levels(Level::Userns) {
        let mut spec = room.script(level, "true");
        spec.mounts = vec![Mount::read_only("/etc", "/data")];
        let error = start(&spec).await.unwrap_err();
        assert!(error.to_string().starts_with("mount /data: No such file"), "{level}: {error}");
    }
}

#[tokio::test]
async fn a_writable_root_leaves_the_image_as_it_is() {
    let Some(room) = Room::new("a_writable_root_leaves_the_image_as_it_is") else { return };
    for level in levels(Level::Userns) {
        let script = "echo x >/new && busybox rm /bin/sh && busybox mkdir -p /home/app && echo y >/home/app/z &&
            busybox cat /new /home/app/z; busybox dd if=/dev/zero of=/big bs=1M count=20 2>/dev/null || echo full";
        let mut spec = room.script(level, script);
        spec.writable = Some(8 << 20);
        let ended = run(&spec).await;
        assert_eq!(ended.stdout, "x\ny\nfull\n", "{level}: {}", ended.stderr);
        assert!(room.root().join("bin/sh").exists() && !room.root().join("new").exists());
    }
}

#[tokio::test]
async fn what_the_image_keeps_to_its_user_is_the_functions() {
    let Some(room) = Room::new("what_the_image_keeps_to_its_user_is_the_functions") else { return };
    std::fs::create_dir(room.root().join("app")).unwrap();
    std::fs::write(room.root().join("app/config"), "kept").unwrap();
    let only_owner = std::os::unix::fs::PermissionsExt::from_mode;
    std::fs::set_permissions(room.root().join("app"), only_owner(0o700)).unwrap();
    for level in levels(Level::Userns) {
        let ended = run(&room.script(level, "busybox cat /app/config")).await;
        assert_eq!(ended.stdout, "kept", "{level}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn files_made_for_it_are_in_place_and_cannot_be_changed() {
    let Some(room) = Room::new("files_made_for_it_are_in_place_and_cannot_be_changed") else { return };
    let long = "0123456789".repeat(2000);
    let text = |target: &str, content: &str| Text { target: target.into(), content: content.to_owned() };
    let texts = vec![text("/etc/hosts", "127.0.0.1 box\n"), text("/etc/empty", ""), text("/etc/long", &long)];
    room.prepare(&texts.iter().map(|text| Target::File(text.target.clone())).collect::<Vec<_>>());
    for level in levels(Level::Userns) {
        for writable in [None, Some(1 << 20)] {
            let script = "cd /etc; busybox cat hosts empty long; for f in hosts empty long; do \
                (echo x >$f) 2>/dev/null; busybox rm -f $f 2>/dev/null; done; busybox cat hosts; busybox stat -c %a hosts; \
                busybox grep -c /etc/ /proc/self/mountinfo; busybox grep -c '/etc/.* ro,' /proc/self/mountinfo";
            let mut spec = room.script(level, script);
            spec.texts.clone_from(&texts);
            spec.writable = writable;
            let expected = format!("127.0.0.1 box\n{long}127.0.0.1 box\n644\n3\n3\n");
            assert_eq!(run(&spec).await.stdout, expected, "{level}, {writable:?}");
        }
    }
}
