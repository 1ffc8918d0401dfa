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
/// What an image folder's name begins with; the process's id follows.
const IMAGES_PREFIX: &str = "crema-images-";
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

/// A folder with an image store that holds the four functions, packed once for a whole test run. It goes with the next
/// run: nothing tells a test binary that it ends.
pub fn images() -> &'static Path {
    static IMAGES: OnceLock<PathBuf> = OnceLock::new();
    IMAGES.get_or_init(|| {
        remove_those_of_ended_runs();
        let folder = std::env::temp_dir().join(format!("{IMAGES_PREFIX}{}", std::process::id()));
        for function in FUNCTIONS {
            let packed = Command::new(binary("crema"))
                .args(["image", "--state"])
                .arg(&folder)
                .args(["build", "--tag", &format!("ghcr.io/crema-faas/{function}:0.1.0")])
                .arg(binary(function))
                .output()
                .unwrap();
            assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
        }
        folder
    })
}

fn remove_those_of_ended_runs() {
    for entry in std::fs::read_dir(std::env::temp_dir()).unwrap().filter_map(Result::ok) {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(IMAGES_PREFIX)).map(str::to_owned);
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Another user's stays.
            std::fs::remove_dir_all(entry.path()).unwrap_or_default();
        }
    }
}
