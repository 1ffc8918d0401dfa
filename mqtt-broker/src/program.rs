//! The MQTT broker on its own, in front of a gateway elsewhere.

use crate::{Broker, Config};
use daemon::{Health, ProcessEnv, health};
use dispatch::Dispatcher;
use gateway_client::{ClientConfig, FunctionList, GatewayClient};
use std::process::ExitCode;

/// Runs it as its environment says, until it is told to stop.
#[tokio::main(flavor = "current_thread")]
pub async fn main() -> ExitCode {
    daemon::program::run("mqtt-broker", run).await
}

async fn run(env: &ProcessEnv) -> anyhow::Result<()> {
    let config = Config::from_env(env)?;
    let client = GatewayClient::new(&ClientConfig::from_env(env)?)?;
    let stop = daemon::stop::on_signals()?;
    let list = FunctionList::from_env(client.clone(), env, stop.clone())?;
    let broker = Broker::build(config, Dispatcher::new(client, list))?;
    let health = Health::from_env(env).await?;
    health::beside(health, broker.report(), broker.run(stop)).await?;
    Ok(())
}
