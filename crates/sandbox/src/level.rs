//! How far a process is confined.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How far a process is confined; more is greater.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A process group of its own and nothing else.
    None,
    /// Files, TCP ports, system calls and resources are restricted; processes are seen.
    Process,
    /// Namespaces of its own, made through a user namespace with one user in it.
    Userns,
    /// Namespaces of its own, a user of its own, control groups.
    Full,
}

/// A word that names no level.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no isolation level: give full, userns, process or none")]
pub struct UnknownLevel(String);

impl Level {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Process => "process",
            Self::Userns => "userns",
            Self::Full => "full",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::None, Self::Process, Self::Userns, Self::Full];
        all.into_iter().find(|level| level.as_str() == text).ok_or_else(|| UnknownLevel(text.to_owned()))
    }
}
