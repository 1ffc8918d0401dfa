//! The binaries under test: built once in the dev profile, or taken from `CREMA_E2E_BINARIES`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A folder with the binaries, already built; for runs as a user without a toolchain.
const ENV_BINARIES: &str = "CREMA_E2E_BINARIES";
/// What the tests drive.
const PACKAGES: [&str; 6] = ["crema", "gateway", "mqtt-connector", "cron-connector", "mqtt-broker", "watchdog"];
/// Makes a binary that needs nothing of the image it lies in.
const STATIC: &str = "-C target-feature=+crt-static -C relocation-model=static";
/// A function that does what its environment says.
pub const ACTOR: &str = "actor";
/// A function that tries what a hostile one would.
pub const PROBER: &str = "prober";

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

/// The path of a built binary; a function's is static.
pub fn binary(name: &str) -> PathBuf {
    static FOLDERS: OnceLock<[PathBuf; 2]> = OnceLock::new();
    let given = || variable(ENV_BINARIES).map(PathBuf::from);
    let [folder, functions] =
        FOLDERS.get_or_init(|| given().map_or_else(|| [build(), build_functions()], |folder| [folder.clone(), folder]));
    let folder = if [ACTOR, PROBER].contains(&name) || FUNCTIONS.contains(&name) { functions } else { folder };
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
    built(cargo().args(PACKAGES.iter().flat_map(|package| ["-p", package])));
    target().join("debug")
}

/// For the machine's own target by name, which keeps the flags from macros and build scripts.
fn build_functions() -> PathBuf {
    let rustc = Command::new(variable("RUSTC").unwrap_or_else(|| "rustc".to_owned())).arg("-vV").output().unwrap();
    let said = String::from_utf8(rustc.stdout).unwrap();
    let host = said.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let flags = format!("CARGO_TARGET_{}_RUSTFLAGS", host.to_uppercase().replace(['-', '.'], "_"));
    let binaries = FUNCTIONS.iter().chain([&ACTOR, &PROBER]).flat_map(|name| ["--bin", name]);
    let packages = FUNCTIONS.iter().chain([&"e2e"]).flat_map(|package| ["-p", package]);
    let mut cargo = cargo();
    // cargo reads flags from one place only, and RUSTFLAGS is the first.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS").env(flags, STATIC);
    built(cargo.args(["--target", host]).args(packages).args(binaries));
    target().join(host).join("debug")
}

fn cargo() -> Command {
    let mut cargo = Command::new(variable("CARGO").unwrap_or_else(|| "cargo".to_owned()));
    cargo.arg("build").current_dir(root());
    cargo
}

fn built(cargo: &mut Command) {
    assert!(cargo.status().unwrap().success(), "the binaries under test do not build");
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
        let folder = packed_now().join("shop");
        for function in FUNCTIONS {
            pack(&folder, &format!("ghcr.io/crema-faas/{function}:0.1.0"), function, &[]);
        }
        folder
    })
}

/// The same with two versions of the actor, `actor:1` and `actor:2`, which say so.
pub fn actors() -> &'static Path {
    static IMAGES: OnceLock<PathBuf> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let folder = packed_now().join("actors");
        for version in ["1", "2"] {
            let said = format!("image_version={version}");
            pack(&folder, &format!("{ACTOR}:{version}"), ACTOR, &["--env", &said]);
        }
        folder
    })
}

fn pack(store: &Path, image: &str, name: &str, more: &[&str]) {
    let packed = Command::new(binary("crema"))
        .args(["image", "--state"])
        .arg(store)
        .args(["build", "--tag", image])
        .args(more)
        .arg(binary(name))
        .output()
        .unwrap();
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
}

fn packed_now() -> PathBuf {
    static REMOVED: OnceLock<()> = OnceLock::new();
    REMOVED.get_or_init(remove_those_of_ended_runs);
    let folder = std::env::temp_dir().join(format!("{IMAGES_PREFIX}{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
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
