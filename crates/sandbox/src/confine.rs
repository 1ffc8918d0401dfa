//! What a process gives up by itself before the program starts: files and ports (landlock), and resources (rlimits).
//!
//! Neither needs rights, and both last to the end of the process and of all it starts.

mod landlock;
mod limits;
#[cfg(test)]
mod tests;

pub use landlock::{Enforced, LandlockError, Ports, Rules, available, landlock, run_below_root_only};
pub use limits::{LimitError, Limits, rlimits};
