//! The binaries under test: built once in the dev profile, or taken from `CREMA_E2E_BINARIES`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A folder with the binaries, already built; for runs as a user without a toolchain.
const ENV_BINARIES: &str = "CREMA_E2E_BINARIES";
/// What the tests drive.
const PACKAGES: [&str; 6] = ["crema", "gateway", "mqtt-connector", "cron-connector", "mqtt-broker", "watchdog"];

/// The workspace's root.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The path of a built binary.
pub fn binary(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| variable(ENV_BINARIES).map_or_else(build, PathBuf::from));
    let path = folder.join(name);
    assert!(path.is_file(), "{} is missing", path.display());
    path
}

/// An environment variable of the test run.
#[expect(clippy::disallowed_methods, reason = "tests have no other door")]
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn build() -> PathBuf {
    let mut cargo = Command::new(variable("CARGO").unwrap_or_else(|| "cargo".to_owned()));
    cargo.arg("build").current_dir(root()).args(PACKAGES.iter().flat_map(|package| ["-p", package]));
    let status = cargo.status().unwrap();
    assert!(status.success(), "the binaries under test do not build");
    target().join("debug")
}

/// Cargo's target directory.
#[must_use]
pub fn target() -> PathBuf {
    variable("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}
