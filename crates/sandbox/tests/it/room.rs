//! A small image to run things in, and what a run in it came to.

use sandbox::confine::{Ports, Rules};
use sandbox::{Launcher, Level, Mount, Spec, StartError, Started, Target, User, prepare_root, reap};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const BUSYBOX: &str = "/bin/busybox";
/// What is to happen happens within it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The number functions of these tests have, outside when root asks, inside otherwise.
pub(crate) const UID: u32 = 2_000_012_345;

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(crate) fn launcher() -> Launcher {
    Launcher::new(env!("CARGO_BIN_EXE_sandbox-init"))
}

/// Tests look at what is left on the machine, so one runs at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// An unpacked image with busybox in it. When it is dropped, nothing of what ran in it may be left.
pub(crate) struct Room {
    dir: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

/// How a run ended.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Room {
    pub(crate) fn new(test: &str) -> Option<Self> {
        if !Path::new(BUSYBOX).exists() {
            eprintln!("SKIPPED {test}: no {BUSYBOX} (apt-get install busybox-static)");
            return None;
        }
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        // As the platform's own directories are.
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o700)).unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::set_permissions(&root, PermissionsExt::from_mode(0o755)).unwrap();
        fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
        std::os::unix::fs::symlink("busybox", root.join("bin/sh")).unwrap();
        let room = Self { dir, _alone: alone };
        room.prepare(&[]);
        Some(room)
    }

    pub(crate) fn prepare(&self, targets: &[Target]) {
        prepare_root(&self.root(), targets).unwrap();
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// A directory of the platform's, which no function can look into.
    pub(crate) fn outside(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn spec(&self, level: Level, argv: &[&str]) -> Spec {
        let mut spec = Spec::new(level, self.root(), argv.iter().map(|word| (*word).to_owned()).collect());
        spec.env = vec![("PATH".to_owned(), "/bin".to_owned())];
        spec.user = Some(User { uid: UID, gid: UID });
        spec.seccomp = Some(sandbox::seccomp::program(level).unwrap().into());
        spec
    }

    /// What the prober says to `words`, by word, having been started at `level`.
    pub(crate) async fn probe(&self, level: Level, words: &[&str]) -> Answers {
        run(&self.prober(level, words)).await.answers(level)
    }

    /// The prober, with what it needs to run.
    pub(crate) fn prober(&self, level: Level, words: &[&str]) -> Spec {
        let prober = env!("CARGO_BIN_EXE_sandbox-prober");
        let inside = level >= Level::Userns;
        let argv: Vec<&str> =
            std::iter::once(if inside { "/prober" } else { prober }).chain(words.iter().copied()).collect();
        let mut spec = self.spec(level, &argv);
        if inside {
            let libraries = ["/lib", "/lib64"].into_iter().filter(|dir| Path::new(dir).exists());
            let mut targets = vec![Target::File("/prober".into())];
            targets.extend(libraries.clone().map(|dir| Target::Dir(dir.into())));
            self.prepare(&targets);
            let pairs = std::iter::once((prober, "/prober")).chain(libraries.map(|dir| (dir, dir)));
            spec.mounts = pairs.map(|(source, target)| Mount::read_only(source, target)).collect();
        } else if level == Level::Process {
            spec.files = Some(Rules {
                executable: ["/lib", "/lib64", "/usr/lib", prober, "/etc/ld.so.cache"].map(PathBuf::from).to_vec(),
                readable: vec!["/proc/self".into()],
                writable: vec!["/dev/null".into()],
                ports: Some(Ports::default()),
            });
        }
        spec
    }

    /// A script for busybox's shell; its commands are busybox's.
    pub(crate) fn script(&self, level: Level, script: &str) -> Spec {
        self.spec(level, &["sh", "-c", script])
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.dir.path().to_str().unwrap()), "mounts are left: {mounts}");
        // What a start that was given up has made is reaped on a thread of its own.
        let begun = Instant::now();
        while let Some(left) = a_child() {
            assert!(begun.elapsed() < PATIENCE, "processes are left: {left}");
            std::thread::yield_now();
        }
    }
}

fn a_child() -> Option<String> {
    // Threads of other tests come and go.
    let children = |thread: io::Result<fs::DirEntry>| fs::read_to_string(thread.unwrap().path().join("children")).ok();
    fs::read_dir("/proc/self/task").unwrap().filter_map(children).find(|children| !children.is_empty())
}

/// What the prober said, by word.
pub(crate) struct Answers(BTreeMap<String, String>);

impl Answers {
    pub(crate) fn get(&self, word: &str) -> &str {
        self.0.get(word).map_or("not asked", String::as_str)
    }
}

impl Ended {
    pub(crate) fn answers(&self, level: Level) -> Answers {
        assert!(self.status.success(), "{level}: {}: {}{}", self.status, self.stdout, self.stderr);
        let lines = self.stdout.lines().filter_map(|line| line.split_once(' '));
        Answers(lines.map(|(word, answer)| (word.to_owned(), answer.to_owned())).collect())
    }
}

pub(crate) async fn start(spec: &Spec) -> Result<Started, StartError> {
    let (mut command, control) = launcher().command().unwrap();
    let helper = command.spawn().unwrap();
    drop(command);
    control.start(helper, spec).await
}

/// The same with a helper that was started ahead.
pub(crate) async fn start_ahead(spec: &Spec) -> Result<Started, StartError> {
    let (mut command, control) = launcher().command_ahead(spec.level).unwrap();
    let helper = command.spawn().unwrap();
    drop(command);
    control.start(helper, spec).await
}

/// Runs it, by a helper started ahead and by one that was not: it must come to the same.
pub(crate) async fn run(spec: &Spec) -> Ended {
    let ended = finish(start(spec).await.unwrap()).await;
    if spec.level == Level::Full {
        assert_eq!(finish(start_ahead(spec).await.unwrap()).await, ended, "by a helper started ahead");
    }
    ended
}

pub(crate) async fn finish(started: Started) -> Ended {
    let work = move || {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        started.stdout.unwrap().read_to_string(&mut stdout).unwrap();
        started.stderr.unwrap().read_to_string(&mut stderr).unwrap();
        Ended { status: reap(started.pid).unwrap(), stdout, stderr }
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// The levels this user can have here.
pub(crate) fn levels(least: Level) -> Vec<Level> {
    let mut levels = vec![Level::None, Level::Process, Level::Userns];
    if is_root() {
        levels.push(Level::Full);
    }
    levels.retain(|level| *level >= least);
    levels
}
