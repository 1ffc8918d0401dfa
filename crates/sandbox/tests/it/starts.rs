//! A program is started, or why not is said.

use crate::room::{Room, levels, run, start};
use sandbox::{Level, Mount, Spec, Target};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_program_runs_inside_its_image() {
    let Some(room) = Room::new("a_program_runs_inside_its_image") else { return };
    for level in levels(Level::Userns) {
        let ended = run(&room.script(level, "busybox id -u; busybox ls /; echo $$")).await;
        assert!(ended.status.success(), "{level}: {}", ended.stderr);
        assert_eq!(ended.stdout, "2000012345\nbin\ndev\nproc\ntmp\n1\n", "{level}");
    }
}

#[tokio::test]
async fn a_plain_process_runs_as_it_is() {
    let Some(room) = Room::new("a_plain_process_runs_as_it_is") else { return };
    let mut spec = room.spec(Level::None, &["busybox", "pwd"]);
    spec.working_dir = room.root();
    let ended = run(&spec).await;
    assert_eq!(ended.stdout.trim(), room.root().to_str().unwrap());
}

#[tokio::test]
async fn its_arguments_and_environment_may_be_large() {
    let Some(room) = Room::new("its_arguments_and_environment_may_be_large") else { return };
    for level in levels(Level::Userns) {
        let mut spec = room.script(level, "echo ${#A0} ${#A9}");
        spec.env.extend((0..10).map(|index| (format!("A{index}"), "x".repeat(100_000))));
        let ended = run(&spec).await;
        assert_eq!(ended.stdout, "100000 100000\n", "{level}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn many_start_at_once() {
    let Some(room) = Room::new("many_start_at_once") else { return };
    for level in levels(Level::Userns) {
        let mut starts = tokio::task::JoinSet::new();
        for index in 0..24 {
            let spec = room.script(level, &format!("echo {index}"));
            starts.spawn(async move { (index, run(&spec).await) });
        }
        while let Some(ended) = starts.join_next().await {
            let (index, ended) = ended.unwrap();
            assert_eq!(ended.stdout, format!("{index}\n"), "{level}: {}", ended.stderr);
        }
    }
}

#[tokio::test]
async fn a_helper_may_wait_to_be_told() {
    let Some(room) = Room::new("a_helper_may_wait_to_be_told") else { return };
    for level in levels(Level::Process) {
        let (mut command, control) = crate::room::launcher().command().unwrap();
        let helper = command.spawn().unwrap();
        drop(command);
        let status = format!("/proc/{}/stat", helper.id());
        let patience = Instant::now() + Duration::from_secs(5);
        while !std::fs::read_to_string(&status).unwrap().contains(" S ") {
            assert!(Instant::now() < patience, "{level}: it does not wait");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let mut spec = room.prober(level, &["descriptors"]);
        spec.working_dir = "/".into();
        let started = control.start(helper, &spec).await.unwrap();
        let answers = crate::room::finish(started).await.answers(level);
        assert_eq!(answers.get("descriptors"), "ok 0,1,2", "{level}");
    }
}

#[tokio::test]
async fn a_program_waits_for_what_the_platform_prepares() {
    let Some(room) = Room::new("a_program_waits_for_what_the_platform_prepares") else { return };
    let data = room.outside().join("data");
    std::fs::create_dir(&data).unwrap();
    room.prepare(&[Target::Dir("/data".into())]);
    for level in levels(Level::Userns) {
        let mut spec = room.script(level, "busybox cat /data/made");
        spec.mounts = vec![Mount::read_only(&data, "/data")];
        for fails in [false, true] {
            let (mut command, control) = crate::room::launcher().command().unwrap();
            let helper = command.spawn().unwrap();
            drop(command);
            let prepare = async |pid: rustix::process::Pid| {
                // Of its own by now; an ordinary user is not told which.
                let link = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
                assert_ne!(link(&pid.to_string()), link("self"));
                std::fs::write(data.join("made"), "before").unwrap();
                if fails { Err(std::io::ErrorKind::Other.into()) } else { Ok(()) }
            };
            let started = control.start_after(helper, &spec, prepare).await;
            if fails {
                assert_eq!(started.unwrap_err().to_string(), "prepare the start: other error", "{level}");
            } else {
                assert_eq!(crate::room::finish(started.unwrap()).await.stdout, "before", "{level}");
            }
            std::fs::remove_file(data.join("made")).unwrap();
        }
    }
}

async fn refusal(spec: &Spec) -> String {
    start(spec).await.unwrap_err().to_string()
}

#[tokio::test]
async fn why_a_program_cannot_run_is_said_in_words() {
    let Some(room) = Room::new("why_a_program_cannot_run_is_said_in_words") else { return };
    let write = |name: &str, content: &[u8], mode: u32| {
        let path = room.root().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    };
    let machine: u8 = if cfg!(target_arch = "x86_64") { 183 } else { 62 };
    let mut foreign = vec![0; 64];
    foreign[..6].copy_from_slice(b"\x7fELF\x02\x01");
    (foreign[6], foreign[16], foreign[18]) = (1, 2, machine);
    write("foreign", &foreign, 0o755);
    write("script", b"#!/usr/bin/python3 -u\nprint()\n", 0o755);
    write("text", b"hello\n", 0o755);
    write("plain", b"#!/bin/sh\n", 0o644);
    std::fs::copy("/bin/ls", room.root().join("dynamic")).unwrap();
    for level in levels(Level::Userns) {
        for (program, said) in [
            ("/absent", "run /absent: No such file or directory (os error 2): it is not in the image"),
            ("absent", "run absent: No such file or directory (os error 2): it is not in the image"),
            ("/foreign", "it is built for"),
            ("/script", "it is there, but /usr/bin/python3, which it needs, is not"),
            ("/dynamic", "it is there, but its dynamic loader is not in the image"),
            ("/text", "it is neither a program for this machine nor a script that names its interpreter"),
            ("/plain", "the function's user may not execute it"),
        ] {
            let error = refusal(&room.spec(level, &[program])).await;
            assert!(error.contains(said), "{level}: {program}: {error}");
        }
        let mut spec = room.spec(level, &["sh"]);
        spec.working_dir = "/nowhere".into();
        let error = refusal(&spec).await;
        assert!(error.starts_with("enter the working directory /nowhere: No such file"), "{level}: {error}");
    }
}

#[tokio::test]
async fn a_relative_program_is_found_from_the_working_directory() {
    let Some(room) = Room::new("a_relative_program_is_found_from_the_working_directory") else { return };
    for level in levels(Level::Userns) {
        let mut spec = room.spec(level, &["./sh", "-c", "busybox pwd"]);
        spec.working_dir = "/bin".into();
        assert_eq!(run(&spec).await.stdout, "/bin\n", "{level}");
    }
}

#[tokio::test]
async fn a_step_that_fails_is_named() {
    let Some(room) = Room::new("a_step_that_fails_is_named") else { return };
    for level in levels(Level::Userns) {
        let mut spec = room.script(level, "true");
        std::fs::remove_dir(room.root().join("tmp")).unwrap();
        assert_eq!(refusal(&spec).await, "mount /tmp: No such file or directory (os error 2)", "{level}");
        room.prepare(&[]);
        spec.root = "/nowhere".into();
        assert_eq!(refusal(&spec).await, "open /nowhere: No such file or directory (os error 2)", "{level}");
        spec.root = room.root();
        spec.cgroups = vec!["/nowhere/cgroup.procs".into()];
        let error = refusal(&spec).await;
        assert_eq!(error, "open /nowhere/cgroup.procs: No such file or directory (os error 2)", "{level}");
        spec.cgroups.clear();
        spec.user = None;
        assert_eq!(refusal(&spec).await, "become the function's user: none is named", "{level}");
    }
}
