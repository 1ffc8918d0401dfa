//! What the machine shows: processes, mounts, programs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the name of a test's state directory begins with.
pub const STATE_PREFIX: &str = "crema-e2e-";

/// The command lines of the processes that have `mark` in their environment or command line, or see something of it
/// mounted as confined functions do, by id.
#[must_use]
pub fn processes_of(mark: &Path) -> BTreeSet<(u32, String)> {
    let mark = mark.to_string_lossy().into_owned();
    // Mounts are named by paths on their disk, which need not be the root's.
    let on_disk = mark.find(STATE_PREFIX).map_or(mark.as_str(), |at| &mark[at..]);
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != std::process::id())
        .filter_map(|pid| {
            let read = |file: &str| {
                let content = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                String::from_utf8_lossy(&content).into_owned()
            };
            let command = read("cmdline").replace('\0', " ");
            let is_one =
                command.contains(&mark) || read("environ").contains(&mark) || read("mountinfo").contains(on_disk);
            is_one.then_some((pid, command))
        })
        .collect()
}

/// The lines of the mount table that name a path.
#[must_use]
pub fn mounts_of(path: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let path = path.display().to_string();
    table.lines().filter(|line| line.contains(&path)).map(str::to_owned).collect()
}

/// A program on PATH.
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    let path = crate::binaries::variable("PATH")?;
    // Debian keeps brokers in sbin, which ordinary users' PATH leaves out.
    path.split(':').chain(["/usr/sbin", "/sbin"]).map(|folder| Path::new(folder).join(name)).find(|file| file.is_file())
}

/// The shared libraries that a program needs, where its loader looks for them.
#[must_use]
pub fn libraries(of: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(of).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let paths = said.split_whitespace().filter(|word| word.starts_with('/'));
    let paths = paths.map(|word| PathBuf::from(word.trim_end_matches(':')));
    paths.filter(|library| library != of && library.is_file()).collect()
}

/// Whether this is root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
