//! `crema up`: state, build, start, deploy, wait.

use crate::cli::Up;
use crate::state_dir::{self, StateDir};
use daemon::ProcessEnv;

/// Runs until it is stopped.
pub fn run(up: Up) -> anyhow::Result<()> {
    let path = up.state.clone().map_or_else(|| state_dir::default_path(&ProcessEnv), Ok)?;
    let _state = StateDir::open(&path)?;
    Ok(())
}
