//! Confines one process as far as the machine lets us, and says how far that is.
#![warn(missing_docs)]

mod level;

pub use level::{Level, UnknownLevel};

pub mod cgroup;
pub mod confine;
pub mod seccomp;
pub mod uids;
#[cfg(test)]
mod within;
