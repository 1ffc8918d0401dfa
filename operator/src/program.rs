//! The operator on its own, in a pod of the cluster it looks after, or beside it with a kubeconfig.

use crate::{Config, Operator};
use daemon::{ProcessEnv, SystemClock};
use std::process::ExitCode;
use std::sync::Arc;

/// Runs it as its environment says, until it is told to stop.
#[tokio::main(flavor = "current_thread")]
pub async fn main() -> ExitCode {
    daemon::program::run("operator", run).await
}

async fn run(env: &ProcessEnv) -> anyhow::Result<()> {
    let config = Config::from_env(env)?;
    let stop = daemon::stop::on_signals()?;
    let client = kubernetes::client_with_patience(Some(kubernetes::SILENCE)).await?;
    Operator::build(config, client, Arc::new(SystemClock)).await?.run(stop).await;
    Ok(())
}
