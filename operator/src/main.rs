//! The operator on its own, in a pod of the cluster it looks after, or beside it with a kubeconfig.

use daemon::{ProcessEnv, SystemClock};
use operator::{Config, Operator};
use std::process::ExitCode;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    daemon::program::run("operator", run).await
}

async fn run(env: &ProcessEnv) -> anyhow::Result<()> {
    let config = Config::from_env(env)?;
    let stop = daemon::stop::on_signals()?;
    let client = kubernetes::client().await?;
    Operator::build(config, client, Arc::new(SystemClock)).await?.run(stop).await;
    Ok(())
}
