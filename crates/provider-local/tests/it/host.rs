//! A platform in a process of its own, to be killed.

use crate::bench::{build, deployment};
use crate::function::variable;
use provider::Provider;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// What makes the binary a platform: its directory.
const DIRECTORY: &str = "TEST_PLATFORM_DIRECTORY";
pub(crate) const FUNCTION: &str = "hosted";

/// No test of its own: the platform's main, when the binary runs as one.
#[tokio::test]
async fn a_platform() {
    let Some(dir) = variable(DIRECTORY) else { return };
    let provider = build(Path::new(&dir), |_| {});
    provider.deploy(deployment(FUNCTION)).await.unwrap();
    let (_stopper, stop) = daemon::stop::pair();
    Arc::clone(&provider).run(stop).await;
}

/// A platform's process. It does not outlive its test.
pub(crate) struct Platform(Child);

impl Platform {
    /// Kills it, and waits until it has ended.
    pub(crate) fn kill(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).map(drop).unwrap_or_default();
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn start(dir: &Path) -> Platform {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "host::a_platform", "--nocapture", "--quiet"])
        .env(DIRECTORY, dir)
        .stdout(Stdio::null())
        .spawn();
    Platform(child.unwrap())
}

/// The sockets of the platform's functions.
pub(crate) fn sockets(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir.join("run/fn")) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path().join("i/s")).filter(|socket| socket.exists()).collect()
}
