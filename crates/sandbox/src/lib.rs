//! Confines one process as far as the machine lets us, and says how far that is.
#![warn(missing_docs)]

mod exchange;
mod launcher;
mod level;
mod probe;
mod root;
mod spec;

pub use launcher::{Control, Launcher, START_WITHIN, StartError, Started, reap};
pub use level::{Level, UnknownLevel};
pub use probe::{Missing, Probe, probe};
pub use root::{PrepareError, Target, prepare_root};
pub use spec::{DEFAULT_TMP_BYTES, Mount, Network, Shared, Spec, Text, User};

pub mod agent;
pub mod helper;

pub mod cgroup;
pub mod confine;
pub mod egress;
pub mod seccomp;
pub mod uids;
#[cfg(test)]
mod within;
