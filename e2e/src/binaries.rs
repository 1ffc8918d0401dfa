//! The binaries under test: built once in the dev profile, or taken from `CREMA_E2E_BINARIES`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A folder with the binaries, already built; for runs as a user without a toolchain.
const ENV_BINARIES: &str = "CREMA_E2E_BINARIES";
/// What the tests drive.
const PACKAGES: [&str; 6] = ["crema", "gateway", "mqtt-connector", "cron-connector", "mqtt-broker", "watchdog"];

/// The workspace's root, when it is not where the tests were built.
const ENV_ROOT: &str = "CREMA_E2E_ROOT";
/// The functions of `stack.yml`.
pub const FUNCTIONS: [&str; 4] = ["order", "payment", "inventory", "fridge-temp"];

/// The workspace's root.
#[must_use]
pub fn root() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    variable(ENV_ROOT).map_or_else(built, PathBuf::from).canonicalize().unwrap()
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
    cargo.arg("build").current_dir(root()).args(PACKAGES.iter().chain(&FUNCTIONS).flat_map(|package| ["-p", package]));
    let status = cargo.status().unwrap();
    assert!(status.success(), "the binaries under test do not build");
    target().join("debug")
}

/// Cargo's target directory.
#[must_use]
pub fn target() -> PathBuf {
    variable("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A folder with an image store that holds the four functions, packed once for a whole test run.
pub fn images() -> &'static Path {
    static IMAGES: OnceLock<tempfile::TempDir> = OnceLock::new();
    IMAGES
        .get_or_init(|| {
            let folder = tempfile::Builder::new().prefix("crema-images-").tempdir().unwrap();
            for function in FUNCTIONS {
                let packed = Command::new(binary("crema"))
                    .args(["image", "--state"])
                    .arg(folder.path())
                    .args(["build", "--tag", &format!("ghcr.io/crema-faas/{function}:0.1.0")])
                    .arg(binary(function))
                    .output()
                    .unwrap();
                assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
            }
            folder
        })
        .path()
}
