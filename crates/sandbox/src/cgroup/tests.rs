//! Version 1 for real, as root; of version 2 for real what needs no controllers: killing, counting processor time,
//! removing. For the rest of version 2 a folder stands in for the tree: what is written and read is shown here, and not
//! that a kernel obeys.

use super::*;
use crate::within::{python, run, skip};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const ROOT: &str = "/sys/fs/cgroup";

/// The machine's own control groups, with a parent for one test.
struct Real {
    controllers: Controllers,
    parent: String,
}

impl Real {
    fn new(test: &str) -> Option<Self> {
        static TESTS: AtomicU32 = AtomicU32::new(0);
        let parent = format!("crema-test-{}-{}", std::process::id(), TESTS.fetch_add(1, Ordering::Relaxed));
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        match Controllers::probe(Path::new(ROOT), &own, &parent) {
            Ok(controllers) if controllers.available().memory && controllers.available().pids => {
                Some(Self { controllers, parent })
            }
            Ok(controllers) => {
                skip(test, &format!("not all control groups are here: {:?}", controllers.available()));
                None
            }
            Err(error) => {
                skip(test, &error.to_string());
                None
            }
        }
    }

    fn again(&self) -> Controllers {
        Controllers::probe(Path::new(ROOT), &std::fs::read_to_string("/proc/self/cgroup").unwrap(), &self.parent)
            .unwrap()
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _removal = self.controllers.clear_left_over(|_| false);
        let _closed = self.controllers.close();
    }
}

fn join(cgroup: &Cgroup) -> impl FnMut() -> io::Result<()> + Send + Sync + use<> {
    let files = cgroup.procs_files();
    move || files.iter().try_for_each(|file| std::fs::write(file, "0"))
}

/// Starts a program in the group; it is in it before this returns.
fn start(cgroup: &Cgroup, command: &mut Command) -> Child {
    use std::os::unix::process::CommandExt;
    let confine = join(cgroup);
    // SAFETY: as in `within::run`.
    #[expect(unsafe_code, reason = "code between fork and exec")]
    unsafe {
        command.pre_exec(confine);
    }
    command.stdin(Stdio::null()).spawn().unwrap()
}

fn eventually(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "it did not come about");
        std::thread::yield_now();
    }
}

#[test]
fn a_function_out_of_memory_is_killed_and_reported_as_such() {
    const TEST: &str = "a_function_out_of_memory_is_killed_and_reported_as_such";
    let (Some(real), Some(python)) = (Real::new(TEST), python(TEST)) else { return };
    let limits = Limits { memory_bytes: Some(48 << 20), ..Limits::default() };
    let cgroup = real.controllers.create("bomb", &limits).unwrap();
    let fits = run(Command::new(&python).args(["-c", "bytearray(8 << 20)"]), join(&cgroup));
    assert!(fits.status.success(), "{fits:?}");
    assert_eq!(cgroup.oom_kills().unwrap(), 0);
    let bomb = run(Command::new(&python).args(["-c", "bytearray(b'x' * (96 << 20))"]), join(&cgroup));
    assert!(!bomb.status.success(), "{bomb:?}");
    assert_eq!(cgroup.oom_kills().unwrap(), 1);
    eventually(|| cgroup.remove().unwrap() == Removal::Done);
}

#[test]
fn a_fork_bomb_ends_at_the_number_of_processes() {
    const TEST: &str = "a_fork_bomb_ends_at_the_number_of_processes";
    let (Some(real), Some(python)) = (Real::new(TEST), python(TEST)) else { return };
    let cgroup = real.controllers.create("forks", &Limits { pids: Some(8), ..Limits::default() }).unwrap();
    let script = "import errno, os, signal\n\
         for started in range(100):\n \
         try: pid = os.fork()\n \
         except OSError as error: print(started, errno.errorcode[error.errno]); break\n \
         if pid == 0: signal.pause()\n";
    let mut command = Command::new(python);
    let mut forks = start(&cgroup, command.args(["-c", script]).stdout(Stdio::piped()));
    let mut line = String::new();
    io::BufRead::read_line(&mut io::BufReader::new(forks.stdout.take().unwrap()), &mut line).unwrap();
    assert_eq!(line.trim(), "7 EAGAIN");
    forks.wait().unwrap();
    assert_eq!(cgroup.remove().unwrap(), Removal::Busy);
    cgroup.kill_all().unwrap();
    eventually(|| cgroup.remove().unwrap() == Removal::Done);
    assert!(cgroup.procs_files().iter().all(|file| !file.exists()));
    assert_eq!(cgroup.remove().unwrap(), Removal::Done, "what is gone may be removed again");
}

#[test]
fn processor_time_is_bounded_and_counted() {
    const TEST: &str = "processor_time_is_bounded_and_counted";
    let (Some(real), Some(python)) = (Real::new(TEST), python(TEST)) else { return };
    if !real.controllers.available().cpu {
        return skip(TEST, "processor time is not counted here");
    }
    let cgroup = real.controllers.create("cpu", &Limits { cpu_millis: Some(100), ..Limits::default() }).unwrap();
    let script = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass";
    let start = Instant::now();
    let busy = run(Command::new(python).args(["-c", script]), join(&cgroup));
    assert!(busy.status.success(), "{busy:?}");
    // A tenth of a processor: 0.2 s of work take 2 s, less what the first and the last period let through.
    assert!(start.elapsed() > Duration::from_millis(1500), "{:?}", start.elapsed());
    assert!(cgroup.cpu_time().unwrap().unwrap() >= Duration::from_millis(200));
    assert!(cgroup.memory_bytes().unwrap().is_some());
}

#[test]
fn what_an_earlier_process_left_is_found_kept_or_cleared() {
    const TEST: &str = "what_an_earlier_process_left_is_found_kept_or_cleared";
    let Some(real) = Real::new(TEST) else { return };
    let gone = real.controllers.create("gone", &Limits::default()).unwrap();
    let kept = real.controllers.create("kept", &Limits::default()).unwrap();
    let mut sleeper = start(&gone, Command::new("sleep").arg("1000"));
    let mut survivor = start(&kept, Command::new("sleep").arg("1000"));
    assert!(real.controllers.create("kept", &Limits::default()).is_err());
    let next = real.again();
    assert_eq!(next.left_over().unwrap(), ["gone", "kept"].map(str::to_owned).into());
    let removal = next.clear_left_over(|id| id == "kept").unwrap();
    assert!(!sleeper.wait().unwrap().success());
    if removal == Removal::Busy {
        eventually(|| next.clear_left_over(|id| id == "kept").unwrap() == Removal::Done);
    }
    assert_eq!(next.left_over().unwrap(), ["kept".to_owned()].into());
    assert_eq!(next.adopt("gone"), None);
    let adopted = next.adopt("kept").unwrap();
    assert_eq!(adopted, kept);
    assert!(survivor.try_wait().unwrap().is_none());
    adopted.kill_all().unwrap();
    survivor.wait().unwrap();
    eventually(|| adopted.remove().unwrap() == Removal::Done);
    next.close().unwrap();
    assert!(adopted.procs_files().iter().all(|file| !file.ancestors().nth(2).unwrap().exists()));
}

#[test]
fn a_group_of_version_2_is_killed_at_once_and_removed() {
    const TEST: &str = "a_group_of_version_2_is_killed_at_once_and_removed";
    let root = [ROOT.into(), Path::new(ROOT).join("unified")].into_iter().find(|root| v2::is_there(root));
    let folder = root.map(|root| root.join(format!("crema-test-{}", std::process::id())));
    let Some(folder) = folder.filter(|folder| std::fs::create_dir(folder).is_ok()) else {
        return skip(TEST, "no group of version 2 can be made here");
    };
    let cgroup = Cgroup { folders: group::Folders::V2(folder.clone()) };
    let mut shell = start(&cgroup, Command::new("sh").args(["-c", "sleep 1000 & sleep 1000 & wait"]));
    eventually(|| content(&folder, "cgroup.procs").lines().count() == 3);
    assert_eq!(cgroup.remove().unwrap(), Removal::Busy);
    assert!(cgroup.cpu_time().unwrap().is_some_and(|time| time > Duration::ZERO));
    cgroup.kill_all().unwrap();
    assert!(!shell.wait().unwrap().success());
    eventually(|| cgroup.remove().unwrap() == Removal::Done);
}

#[test]
fn an_id_that_is_no_plain_name_is_refused() {
    let folder = fake("cpu memory", "");
    let controllers = Controllers::probe(folder.path(), "0::/\n", "crema").unwrap();
    for id in ["", "..", "a/b", ".hidden"] {
        assert!(controllers.create(id, &Limits::default()).is_err(), "{id:?}");
        assert_eq!(controllers.adopt(id), None, "{id:?}");
    }
}

/// A folder that looks like a tree of version 2 whose group `own` may be used.
fn fake(controllers: &str, own: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let group = folder.path().join(own);
    std::fs::create_dir_all(&group).unwrap();
    for folder in [folder.path(), &group] {
        std::fs::write(folder.join("cgroup.controllers"), format!("{controllers}\n")).unwrap();
        for file in ["cgroup.procs", "cgroup.subtree_control"] {
            std::fs::write(folder.join(file), "").unwrap();
        }
    }
    if !own.is_empty() {
        std::fs::write(group.join("cgroup.type"), "domain\n").unwrap();
    }
    folder
}

fn content(folder: &Path, file: &str) -> String {
    std::fs::read_to_string(folder.join(file)).unwrap()
}

#[test]
fn version_2_passes_controllers_on_and_the_platform_moves_aside() {
    let folder = fake("cpuset cpu io memory pids", "system.slice/crema.service");
    let unit = folder.path().join("system.slice/crema.service");
    let controllers = Controllers::probe(folder.path(), "0::/system.slice/crema.service\n", "crema").unwrap();
    let all = Available { version: 2, memory: true, swap: true, cpu: true, pids: true };
    assert_eq!(controllers.available(), all);
    assert_eq!(content(&unit.join("platform"), "cgroup.procs"), "0");
    assert_eq!(content(&unit, "cgroup.subtree_control"), "+memory +cpu +pids");
    assert_eq!(content(&unit.join("crema"), "cgroup.subtree_control"), "+memory +cpu +pids");

    let limits = Limits { memory_bytes: Some(64 << 20), cpu_millis: Some(1500), pids: Some(32) };
    let cgroup = controllers.create("f-1", &limits).unwrap();
    let group = unit.join("crema/f-1");
    assert_eq!(cgroup.procs_files(), [group.join("cgroup.procs")]);
    assert_eq!(content(&group, "memory.max"), "67108864");
    assert_eq!(content(&group, "cpu.max"), "150000 100000");
    assert_eq!(content(&group, "pids.max"), "32");

    assert_eq!(
        (cgroup.oom_kills().unwrap(), cgroup.memory_bytes().unwrap(), cgroup.cpu_time().unwrap()),
        (0, None, None)
    );
    std::fs::write(group.join("memory.events"), "low 0\nhigh 0\nmax 7\noom 2\noom_kill 2\noom_group_kill 0\n").unwrap();
    std::fs::write(group.join("memory.current"), "4096\n").unwrap();
    std::fs::write(group.join("cpu.stat"), "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n").unwrap();
    assert_eq!(cgroup.oom_kills().unwrap(), 2);
    assert_eq!(cgroup.memory_bytes().unwrap(), Some(4096));
    assert_eq!(cgroup.cpu_time().unwrap(), Some(Duration::from_micros(1500)));
    std::fs::write(group.join("cgroup.kill"), "").unwrap();
    cgroup.kill_all().unwrap();
    assert_eq!(content(&group, "cgroup.kill"), "1");
    assert_eq!(controllers.left_over().unwrap(), ["f-1".to_owned()].into());
}

#[test]
fn version_2_started_in_a_group_named_platform_uses_the_one_above() {
    let folder = fake("memory pids", "user.slice/crema.service");
    let unit = folder.path().join("user.slice/crema.service");
    std::fs::create_dir(unit.join("platform")).unwrap();
    let controllers = Controllers::probe(folder.path(), "0::/user.slice/crema.service/platform\n", "crema").unwrap();
    assert!(!controllers.available().cpu && controllers.available().memory);
    assert_eq!(content(&unit, "cgroup.subtree_control"), "+memory +pids");
    assert!(!unit.join("platform/cgroup.procs").exists(), "it is there already");
}

#[test]
fn what_stands_in_the_way_is_told_with_a_remedy() {
    let none = tempfile::tempdir().unwrap();
    let error = Controllers::probe(none.path(), "0::/\n", "crema").unwrap_err();
    assert!(error.to_string().contains("none are mounted at"), "{error}");
    let without = fake("hugetlb", "");
    let error = Controllers::probe(without.path(), "0::/\n", "crema").unwrap_err();
    assert!(error.to_string().contains("none of memory, cpu and pids"), "{error}");
    assert!(error.remedy.contains("Delegate=yes"), "{error}");
    if rustix::process::geteuid().is_root() {
        return skip("what_stands_in_the_way_is_told_with_a_remedy (rights)", "root may write everywhere");
    }
    let closed = fake("memory pids cpu", "session.scope");
    let group = closed.path().join("session.scope");
    std::fs::set_permissions(&group, std::os::unix::fs::PermissionsExt::from_mode(0o555)).unwrap();
    let error = Controllers::probe(closed.path(), "0::/session.scope\n", "crema").unwrap_err();
    assert!(error.to_string().contains("Permission denied"), "{error}");
}

#[test]
fn a_parent_group_that_another_user_left_is_not_used() {
    if rustix::process::geteuid().is_root() {
        return skip("a_parent_group_that_another_user_left_is_not_used", "root may write everywhere");
    }
    let root = tempfile::tempdir().unwrap();
    for controller in ["memory", "pids"] {
        let parent = root.path().join(controller).join("parent");
        std::fs::create_dir_all(&parent).unwrap();
        std::fs::write(root.path().join(controller).join("cgroup.procs"), "").unwrap();
        let mode = if controller == "pids" { 0o755 } else { 0o555 };
        std::fs::set_permissions(&parent, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
    let available = Controllers::probe(root.path(), "", "parent").unwrap().available();
    assert!(!available.memory && available.pids, "{available:?}");
}
