//! What the main function of a long-running binary does around its work.

use crate::{EXIT_USAGE, ProcessEnv, log};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::fmt::Display;
use std::process::ExitCode;

/// Logs, does the work, says how it ended. Traces are flushed before this returns.
pub async fn run<E: Display>(name: &'static str, work: impl AsyncFnOnce(&ProcessEnv) -> Result<(), E>) -> ExitCode {
    let env = ProcessEnv;
    let traces = match log::init(&env, name) {
        Ok(traces) => traces,
        Err(error) => return failed(&error),
    };
    raise_file_limit();
    let ended = match work(&env).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    };
    drop(traces);
    ended
}

fn failed(error: &dyn Display) -> ExitCode {
    // With its causes on the same line.
    tracing::error!("{error:#}");
    ExitCode::from(EXIT_USAGE)
}

/// Connections are files, and the usual soft limit of 1024 is soon used up; the hard one is what the system allows.
pub fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)
        .unwrap_or_else(|error| tracing::warn!(%error, "The limit of open files cannot be raised"));
}
