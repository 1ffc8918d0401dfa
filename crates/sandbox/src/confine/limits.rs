//! Resources by rlimits: what a process may use where no control group counts it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

/// The most a process may use; `None` leaves it as it is. Limits are only lowered: one above the limit that the
/// platform itself runs under is taken as that.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Open files.
    pub open_files: Option<u64>,
    /// Processes and threads. Counted over all processes of the user, so only for one that no other process has.
    pub processes: Option<u64>,
    /// Bytes of private writable memory of one process, used or not (`RLIMIT_DATA`). Runtimes reserve far more
    /// addresses than memory, so this and not `address_space` is what a Java, Node or Go program can live with.
    pub data_bytes: Option<u64>,
    /// Bytes of address space of one process (`RLIMIT_AS`).
    pub address_space_bytes: Option<u64>,
    /// Bytes of the largest file it may write.
    pub file_bytes: Option<u64>,
}

/// A limit that could not be set.
#[derive(Debug, thiserror::Error)]
#[error("the limit of {name} could not be set to {value}: {source}")]
pub struct LimitError {
    name: &'static str,
    value: u64,
    source: std::io::Error,
}

/// Sets the limits of the calling process and of all it starts; core dumps are always off.
pub fn rlimits(limits: &Limits) -> Result<(), LimitError> {
    for (name, resource, value) in [
        ("core dumps", Resource::Core, Some(0)),
        ("open files", Resource::Nofile, limits.open_files),
        ("processes", Resource::Nproc, limits.processes),
        ("data", Resource::Data, limits.data_bytes),
        ("address space", Resource::As, limits.address_space_bytes),
        ("file size", Resource::Fsize, limits.file_bytes),
    ] {
        let Some(value) = value else { continue };
        let value = getrlimit(resource).maximum.map_or(value, |maximum| value.min(maximum));
        setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) }).map_err(|source| LimitError {
            name,
            value,
            source: source.into(),
        })?;
    }
    Ok(())
}
