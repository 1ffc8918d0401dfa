//! The command of an image, as this machine can run it.

use image::ImageConfig;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use wire::env::FPROCESS;

/// Entrypoint and command of an image, found inside `root`, with an environment.
pub(super) fn build(root: &Path, config: &ImageConfig, mut variables: BTreeMap<String, String>) -> io::Result<Command> {
    let mut words = config.entrypoint.iter().chain(&config.cmd);
    let program = words.next().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the image names none"))?;
    let path = variables.get("PATH").map_or("", String::as_str);
    let found = find(root, Path::new(&config.working_dir), program, path)?;
    if let Some(process) = variables.get(FPROCESS).and_then(|text| rooted(root, text)) {
        variables.insert(FPROCESS.to_owned(), process);
    }
    let mut command = Command::new(found);
    command.args(words).env_clear().envs(variables).current_dir(working_dir(root, config));
    Ok(command)
}

/// The working directory inside `root`; the root itself when the image has none.
fn working_dir(root: &Path, config: &ImageConfig) -> PathBuf {
    let found = image::locate(root, &config.working_dir).ok();
    found.filter(|path| path.is_dir()).unwrap_or_else(|| root.to_owned())
}

/// A program as `execvp` looks for it, inside `root`.
fn find(root: &Path, working_dir: &Path, program: &str, path: &str) -> io::Result<PathBuf> {
    let candidates: Vec<PathBuf> = match program.contains('/') {
        // Joining an absolute path replaces what it is joined to.
        true => vec![working_dir.join(program)],
        false => path.split(':').map(|dir| Path::new(dir).join(program)).collect(),
    };
    let runnable = |path: &PathBuf| {
        path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    candidates.iter().filter_map(|path| image::locate(root, path).ok()).find(runnable).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("{program:?} is not there or cannot be executed"))
    })
}

/// A watchdog's command whose first word is an absolute path of the image, with that path as it is on this machine.
fn rooted(root: &Path, process: &str) -> Option<String> {
    let (program, rest) = process.split_once(' ').map_or((process, None), |(program, rest)| (program, Some(rest)));
    if !program.starts_with('/') {
        return None;
    }
    let found = image::locate(root, program).ok().filter(|path| path.is_file())?;
    let found = found.to_str()?;
    Some(rest.map_or_else(|| found.to_owned(), |rest| format!("{found} {rest}")))
}
