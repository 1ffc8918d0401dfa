//! Bounds by control groups hold from the first instruction of a function's program.

use crate::room::{Room, is_root, levels, run};
use sandbox::Level;
use sandbox::cgroup::{Cgroup, Controllers, Limits, Removal};
use std::path::Path;
use std::time::{Duration, Instant};

/// A group for a test, removed in the end.
struct Group {
    controllers: Controllers,
    cgroup: Cgroup,
}

impl Group {
    fn new(test: &str, limits: &Limits) -> Option<Self> {
        if !is_root() {
            eprintln!("SKIPPED {test}: only root makes control groups here");
            return None;
        }
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let parent = format!("crema-sandbox-it-{}", std::process::id());
        match Controllers::probe(Path::new("/sys/fs/cgroup"), &own, &parent) {
            Ok(controllers) => Some(Self { cgroup: controllers.create("f", limits).unwrap(), controllers }),
            Err(unavailable) => {
                eprintln!("SKIPPED {test}: {}", unavailable.reason);
                None
            }
        }
    }

    /// Processes that are no more may be counted for a moment.
    async fn close(self) {
        let patience = Instant::now() + Duration::from_secs(5);
        while self.cgroup.remove().unwrap() == Removal::Busy || self.controllers.close().unwrap() == Removal::Busy {
            assert!(Instant::now() < patience, "a control group is left");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // After a test that failed; otherwise it is gone.
        self.cgroup.kill_all().unwrap_or_default();
        self.cgroup.remove().map(drop).unwrap_or_default();
        self.controllers.close().map(drop).unwrap_or_default();
    }
}

#[tokio::test]
async fn a_function_sees_its_group_as_the_root_of_all_and_cannot_have_more_processes() {
    let test = "a_function_sees_its_group_as_the_root_of_all_and_cannot_have_more_processes";
    let Some(room) = Room::new(test) else { return };
    let limits = Limits { pids: Some(10), ..Limits::default() };
    let Some(group) = Group::new(test, &limits) else { return };
    for level in levels(Level::Process) {
        let mut spec = room.prober(level, &["fork-bomb", "text=/proc/self/cgroup"]);
        spec.cgroups = group.cgroup.procs_files();
        let ended = run(&spec).await;
        assert!(ended.stdout.starts_with("fork-bomb ok stopped at 9\n"), "{level}: {}", ended.stdout);
        if level >= Level::Userns {
            let line = ended.stdout.lines().find(|line| line.contains(":pids:") || line.contains("0::"));
            assert!(line.is_some_and(|line| line.ends_with(":/")), "{level}: {}", ended.stdout);
        }
    }
    group.close().await;
}

#[tokio::test]
async fn memory_past_the_limit_ends_the_function_and_is_counted() {
    let test = "memory_past_the_limit_ends_the_function_and_is_counted";
    let Some(room) = Room::new(test) else { return };
    let limits = Limits { memory_bytes: Some(24 << 20), ..Limits::default() };
    let Some(group) = Group::new(test, &limits) else { return };
    let mut kills = 0;
    for level in levels(Level::Userns) {
        for script in
            ["exec busybox dd if=/dev/zero of=/dev/null bs=100M count=1", "exec busybox dd if=/dev/zero of=/tmp/x"]
        {
            let mut spec = room.script(level, script);
            spec.cgroups = group.cgroup.procs_files();
            let ended = run(&spec).await;
            assert!(!ended.status.success(), "{level}: {script}: {}", ended.status);
            let counted = group.cgroup.oom_kills().unwrap();
            assert!(counted > kills, "{level}: {script}: {}", ended.status);
            kills = counted;
        }
    }
    group.close().await;
}
