//! Runs cargo on packages of one workspace, all at once, its progress on the terminal.

use super::toolchain::Toolchain;
use super::{BuildError, FUNCTION_PROFILE, Job, workspace};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// The profile of functions, for workspaces that have none of their own.
const PROFILE: [&str; 6] = [
    "profile.function.inherits=\"release\"",
    "profile.function.strip=true",
    "profile.function.lto=\"fat\"",
    "profile.function.codegen-units=1",
    "profile.function.panic=\"abort\"",
    "profile.function.opt-level=2",
];

/// What cargo says of a thing it built, among much else.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    executable: Option<PathBuf>,
    #[serde(default)]
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    #[serde(default)]
    name: String,
}

/// Builds the jobs of a workspace; their binaries, in order.
pub(super) fn build(
    toolchain: &Toolchain,
    root: &Path,
    profile: &str,
    jobs: &[Job],
) -> Result<Vec<PathBuf>, BuildError> {
    let mut wanted = Vec::new();
    for job in jobs {
        wanted.push(job.package.binary().map_err(|why| job.refuse(why))?);
    }
    let mut command = toolchain.compile(root, profile);
    command.args(["build", "--profile", profile, "--message-format", "json-render-diagnostics"]);
    command.args(["--target", &toolchain.target]);
    if profile == FUNCTION_PROFILE && !workspace::has_profile(root) {
        command.args(PROFILE.iter().flat_map(|setting| ["--config", setting]));
    }
    for (job, binary) in jobs.iter().zip(&wanted) {
        command.args(["-p", &job.package.id, "--bin", binary]);
    }
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(|error| toolchain.missing(&error))?;
    let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut built = BTreeMap::new();
    for line in stdout.lines().map_while(Result::ok) {
        let Ok(message) = serde_json::from_str::<Message>(&line) else { continue };
        if let (true, Some(path), Some(target)) =
            (message.reason == "compiler-artifact", message.executable, message.target)
        {
            built.insert((message.manifest_path, target.name), path);
        }
    }
    let status = child.wait().map_err(|error| toolchain.missing(&error))?;
    if !status.success() {
        let names: Vec<_> = jobs.iter().map(|job| job.name.as_str()).collect();
        return Err(BuildError::Cargo { what: names.join(", ") });
    }
    jobs.iter()
        .zip(wanted)
        .map(|(job, binary)| {
            let key = (job.package.manifest_path.clone(), binary.to_owned());
            let missing = || job.refuse(format!("cargo built no {binary}"));
            built.get(&key).cloned().ok_or_else(missing)
        })
        .collect()
}
