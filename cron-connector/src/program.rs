//! The cron connector on its own, beside a gateway elsewhere.

use crate::{Config, CronConnector};
use daemon::{Health, ProcessEnv, SystemClock, health};
use gateway_client::{ClientConfig, FunctionList, GatewayClient};
use std::process::ExitCode;
use std::sync::Arc;

/// Runs it as its environment says, until it is told to stop.
#[tokio::main(flavor = "current_thread")]
pub async fn main() -> ExitCode {
    daemon::program::run("cron-connector", run).await
}

async fn run(env: &ProcessEnv) -> anyhow::Result<()> {
    let config = Config::from_env(env)?;
    let client = GatewayClient::new(&ClientConfig::from_env(env)?)?;
    let stop = daemon::stop::on_signals()?;
    let list = FunctionList::from_env(client.clone(), env, stop.clone())?;
    let connector = CronConnector::build(config, client, list, Arc::new(SystemClock));
    let health = Health::from_env(env).await?;
    health::beside(health, connector.report(), connector.run(stop)).await;
    Ok(())
}
