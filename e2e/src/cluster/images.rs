//! The images of the platform and of the tests' own function, built once and loaded into the cluster.

use super::load;
use crate::binaries::{ACTOR, binary, root, target, variable};
use crate::{report, system::program};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

/// What stands before the names of the platform's images.
pub const REGISTRY: &str = "docker.io/crema";
/// The image of a function that does what its environment says, without its version.
pub const ACTOR_IMAGE: &str = "docker.io/crema-e2e/actor";
/// Other names for it, of the recordings of faas-cli.
const RECORDED: [&str; 4] = ["owner/hello:0.1.0", "owner/hello:0.2.0", "owner/staged:0.2.0", "owner/sleeper:latest"];
/// A folder with the archives, already built.
const ENV_IMAGES: &str = "CREMA_E2E_IMAGES";

/// The tag of the platform's images: the version.
#[must_use]
pub fn tag() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// The image of a part or of a function.
#[must_use]
pub fn image(name: &str) -> String {
    format!("{REGISTRY}/{name}:{}", tag())
}

/// The image of a version of the actor.
#[must_use]
pub fn actor_image(version: usize) -> String {
    format!("{ACTOR_IMAGE}:{version}")
}

/// Builds and loads all there are.
pub async fn build_and_load() {
    let begun = Instant::now();
    let archives = tokio::task::spawn_blocking(|| {
        let platform = platform();
        let mut archives = archives(&platform);
        let actors = actors();
        archives.extend(self::archives(actors.path()));
        (archives, actors)
    });
    let (archives, _actors) = archives.await.unwrap();
    report(format_args!("{} images built in {:?}", archives.len(), begun.elapsed()));
    let paths: Vec<&Path> = archives.iter().map(PathBuf::as_path).collect();
    load(&paths).await;
    report(format_args!("built and loaded in {:?}", begun.elapsed()));
}

/// The archives of a folder, in the order of their names.
#[must_use]
pub fn archives(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut archives: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "tar")).collect();
    archives.sort();
    archives
}

/// The folder of archives that the environment names.
#[must_use]
pub fn given() -> Option<PathBuf> {
    variable(ENV_IMAGES).map(PathBuf::from)
}

/// The folder of the platform's archives.
#[must_use]
pub fn platform() -> PathBuf {
    if let Some(folder) = given() {
        return folder;
    }
    assert!(program("cargo").is_some(), "install Rust for this user, or set {ENV_IMAGES} to a folder of archives");
    let folder = target().join("e2e-images");
    // A version that is no longer built would be loaded too.
    std::fs::remove_dir_all(&folder).unwrap_or_default();
    let store = tempfile::tempdir().unwrap();
    crema(store.path(), &["build", "--platform-images", "--profile", "dev", "--tag", tag(), "--output"])
        .arg(&folder)
        .arg("--file")
        .arg(root().join("stack.yml"))
        .current_dir(root())
        .status()
        .unwrap()
        .success()
        .then_some(folder)
        .expect("the platform's images are built")
}

/// The actor, as two versions that say so, and under the names of the recordings.
fn actors() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let mut names = Vec::new();
    let recorded = RECORDED.map(|name| (format!("docker.io/{name}"), 1));
    for (name, version) in [(actor_image(1), 1), (actor_image(2), 2)].into_iter().chain(recorded) {
        let said = format!("image_version={version}");
        let mut command = crema(&store, &["build", "--tag", &name, "--env", &said]);
        ran(command.arg(binary(ACTOR)));
        names.push(name);
    }
    let archive = folder.path().join("actors.tar");
    ran(crema(&store, &["export", "--output"]).arg(&archive).args(&names));
    std::fs::remove_dir_all(&store).unwrap();
    folder
}

fn crema(store: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("crema"));
    command.args(["image", "--state"]).arg(store).args(arguments);
    command
}

fn ran(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
