//! Whoever dies when: nothing is left.

use crate::room::{PATIENCE, Room, is_root, launcher, levels, start};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use sandbox::{Level, Network, Spec, StartError, reap};
use std::os::unix::process::ExitStatusExt;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A program that has a child in its group, and a number that stands in the command lines of both and of nothing else.
fn with_child(room: &Room, level: Level, test: u32) -> (Spec, String) {
    let number = format!("{}{test}", std::process::id());
    (room.script(level, &format!("busybox sleep {number} & busybox sleep {number}")), number)
}

/// Waits until no process has the number in its command line.
async fn is_gone(level: Level, number: &str) {
    let patience = Instant::now() + PATIENCE;
    loop {
        let pids =
            std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
        let command = |pid: String| std::fs::read(format!("/proc/{pid}/cmdline")).ok();
        let commands = pids.filter_map(command).map(|command| String::from_utf8_lossy(&command).replace('\0', " "));
        let left: Vec<String> = commands.filter(|command| command.contains(number)).collect();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < patience, "{level}: left: {left:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Ends a process with its group, as the platform does.
async fn end(pid: Pid) {
    kill_process_group(pid, Signal::KILL).unwrap();
    tokio::task::spawn_blocking(move || reap(pid)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_function_dies_with_the_thread_it_was_forked_from() {
    let Some(room) = Room::new("a_function_dies_with_the_thread_it_was_forked_from") else { return };
    for level in levels(Level::None) {
        let mut spec = room.script(level, "exec busybox sleep 1000");
        if level < Level::Userns {
            spec.argv = ["/bin/busybox", "sleep", "1000"].map(str::to_owned).to_vec();
        }
        let agent = room.outside().join("agent");
        spec.network = Network::Own { listen: Vec::new(), agent: Some(agent.clone()) };
        let (mut command, control) = launcher().command().unwrap();
        let (spawned, child) = mpsc::channel();
        let (end, ending) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            spawned.send(command.spawn().unwrap()).unwrap();
            drop((command, spawned));
            ending.recv().unwrap_or_default();
        });
        let started = control.start(child.recv().unwrap(), &spec).await.unwrap();
        drop(end);
        thread.join().unwrap();
        let patience = Instant::now() + PATIENCE;
        let waiting = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let alive = || waitid(WaitId::Pid(started.pid), waiting).unwrap().is_none();
        while alive() && Instant::now() < patience {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let outlived = alive();
        kill_process(started.pid, Signal::KILL).unwrap();
        assert_eq!(reap(started.pid).unwrap().signal(), Some(9), "{level}");
        assert!(!outlived, "{level}");
        drop(started.agent);
        std::fs::remove_file(&agent).unwrap_or_default();
    }
}

#[tokio::test]
async fn a_helper_that_is_killed_at_any_moment_leaves_nothing() {
    let Some(room) = Room::new("a_helper_that_is_killed_at_any_moment_leaves_nothing") else { return };
    let plain = levels(Level::Process).into_iter().map(|level| (level, false));
    for (level, ahead) in plain.chain(is_root().then_some((Level::Full, true))) {
        let (spec, number) = with_child(&room, level, 1);
        let mut outcomes = [0, 0];
        for step in 0..60 {
            let launcher = launcher();
            let made = if ahead { launcher.command_ahead(level) } else { launcher.command() };
            let (mut command, control) = made.unwrap();
            let helper = command.spawn().unwrap();
            drop(command);
            let victim = Pid::from_child(&helper);
            let after = Instant::now() + Duration::from_micros(step * 150);
            let killer = std::thread::spawn(move || {
                while Instant::now() < after {
                    std::hint::spin_loop();
                }
                kill_process(victim, Signal::KILL).unwrap_or_default();
            });
            let outcome = control.start(helper, &spec).await;
            killer.join().unwrap();
            match outcome {
                Ok(started) => {
                    outcomes[0] += 1;
                    end(started.pid).await;
                }
                Err(StartError::Late(within)) => panic!("{level}: not noticed within {within:?}"),
                Err(_) => outcomes[1] += 1,
            }
        }
        assert!(outcomes[1] > 0, "{level}: none was killed in time, ahead: {ahead}");
        is_gone(level, &number).await;
    }
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_nothing() {
    let Some(room) = Room::new("a_start_that_is_given_up_leaves_nothing") else { return };
    for level in levels(Level::Process) {
        let (spec, number) = with_child(&room, level, 2);
        for step in 0..30 {
            // Ends in time only if it is quick; where not, it is dropped half-way.
            let given_up = tokio::time::timeout(Duration::from_micros(step * 200), start(&spec)).await;
            if let Ok(Ok(started)) = given_up {
                end(started.pid).await;
            }
        }
        is_gone(level, &number).await;
    }
}

#[tokio::test]
async fn a_helper_that_is_told_nothing_ends() {
    let Some(_room) = Room::new("a_helper_that_is_told_nothing_ends") else { return };
    let (mut command, control) = launcher().command().unwrap();
    let mut helper = command.spawn().unwrap();
    drop((command, control));
    let status = tokio::task::spawn_blocking(move || helper.wait()).await.unwrap().unwrap();
    // It may have looked for the platform before or after.
    assert!(matches!(status.code(), Some(0 | 1)), "{status}");
}

#[tokio::test]
async fn what_a_helper_makes_ahead_ends_with_it() {
    let Some(_room) = Room::new("what_a_helper_makes_ahead_ends_with_it") else { return };
    if !is_root() {
        eprintln!("SKIPPED what_a_helper_makes_ahead_ends_with_it: only root's helpers make anything ahead");
        return;
    }
    for is_killed in [true, false] {
        let (mut command, control) = launcher().command_ahead(Level::Full).unwrap();
        let mut helper = command.spawn().unwrap();
        drop(command);
        let pid = helper.id();
        let patience = Instant::now() + PATIENCE;
        let child = loop {
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
            if let Some(child) = children.split_whitespace().next() {
                break child.to_owned();
            }
            assert!(Instant::now() < patience, "it makes no process ahead");
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        if is_killed {
            helper.kill().unwrap();
        } else {
            drop(control);
        }
        tokio::task::spawn_blocking(move || helper.wait()).await.unwrap().unwrap();
        // What has ended and waits to be reaped by whoever reaps orphans here has no command line.
        let command = format!("/proc/{child}/cmdline");
        while !std::fs::read(&command).unwrap_or_default().is_empty() {
            assert!(Instant::now() < patience, "its process goes on");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
