//! Control groups: memory, processor time and processes of a function, counted and bounded.
//!
//! Each function gets one group, `<parent>/<id>`, below the group the platform itself is in, so that bounds set on the
//! platform hold for its functions too. `<parent>` must be one platform's own: at its start it removes what it finds
//! there. Version 2 is used where it has the controllers; of version 1 the hierarchies of memory, cpu and pids.

mod controllers;
mod group;
mod kill;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

pub use controllers::{Available, Controllers, Unavailable};
pub use group::{Cgroup, Removal};

use std::io;
use std::path::{Path, PathBuf};

/// The most a group may use; `None` is unbounded. What no controller can bound is left out: see [`Available`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Bytes of memory, with the page cache it fills, files in its `/tmp` in memory, and, where the kernel counts it, swap.
    pub memory_bytes: Option<u64>,
    /// Processor time: 1000 is one processor, 10 the least.
    pub cpu_millis: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// A file of a control group that could not be used.
#[derive(Debug, thiserror::Error)]
#[error("the control group cannot be used: {} {}: {source}", doing, path.display())]
pub struct CgroupError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// How long a period of bounded processor time is, as the kernel takes it by itself.
const CPU_PERIOD_MICROS: u64 = 100_000;

/// The share of a period that `millis` thousandths of a processor are; the kernel takes no less than a millisecond.
fn cpu_quota_micros(millis: u64) -> u64 {
    (millis.saturating_mul(CPU_PERIOD_MICROS) / 1000).max(1000)
}

fn failed<'path>(doing: &'static str, path: &'path Path) -> impl FnOnce(io::Error) -> CgroupError + 'path {
    move |source| CgroupError { doing, path: path.to_owned(), source }
}

fn write(folder: &Path, file: &str, value: impl std::fmt::Display) -> Result<(), CgroupError> {
    let path = folder.join(file);
    std::fs::write(&path, value.to_string()).map_err(failed("writing", &path))
}

fn read(folder: &Path, file: &str) -> Result<String, CgroupError> {
    let path = folder.join(file);
    std::fs::read_to_string(&path).map_err(failed("reading", &path))
}

fn read_number(folder: &Path, file: &str) -> Result<u64, CgroupError> {
    number(folder, file, read(folder, file)?.trim())
}

/// The number in the line of the file that begins with `key`.
fn read_field(folder: &Path, file: &str, key: &str) -> Result<u64, CgroupError> {
    let text = read(folder, file)?;
    let field = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    number(folder, file, field.unwrap_or_default())
}

fn number(folder: &Path, file: &str, text: &str) -> Result<u64, CgroupError> {
    let path = folder.join(file);
    text.parse()
        .map_err(|_| failed("understanding", &path)(io::Error::new(io::ErrorKind::InvalidData, text.to_owned())))
}

/// Makes a folder and those above it that are not there.
fn make(folder: &Path) -> Result<(), CgroupError> {
    std::fs::create_dir_all(folder).map_err(failed("making", folder))
}
