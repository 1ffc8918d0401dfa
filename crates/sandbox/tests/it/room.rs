//! A small image to run things in, and what a run in it came to.

use sandbox::{Launcher, Level, Spec, StartError, Started, Target, User, prepare_root, reap};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

const BUSYBOX: &str = "/bin/busybox";
/// The number functions of these tests have, outside when root asks, inside otherwise.
pub(crate) const UID: u32 = 2_000_012_345;

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(crate) fn launcher() -> Launcher {
    Launcher::new(env!("CARGO_BIN_EXE_sandbox-init"))
}

/// An unpacked image with busybox in it, or `None` where the machine has none.
pub(crate) struct Room {
    dir: tempfile::TempDir,
}

/// How a run ended.
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
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::set_permissions(&root, PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
        std::os::unix::fs::symlink("busybox", root.join("bin/sh")).unwrap();
        let room = Self { dir };
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
    #[expect(dead_code, reason = "for the tests to come")]
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

    /// A script for busybox's shell; its commands are busybox's.
    pub(crate) fn script(&self, level: Level, script: &str) -> Spec {
        self.spec(level, &["sh", "-c", script])
    }
}

pub(crate) async fn start(spec: &Spec) -> Result<Started, StartError> {
    let (mut command, control) = launcher().command().unwrap();
    let helper = command.spawn().unwrap();
    drop(command);
    control.start(helper, spec).await
}

pub(crate) async fn run(spec: &Spec) -> Ended {
    finish(start(spec).await.unwrap()).await
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
