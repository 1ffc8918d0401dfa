//! The MQTT connector on its own, between a broker and a gateway elsewhere.

use crate::{Config, MqttConnector};
use daemon::{Env, EnvError, Health, ProcessEnv, health};
use dispatch::Dispatcher;
use gateway_client::{ClientConfig, FunctionList, GatewayClient, HeaderValue};
use std::process::ExitCode;

/// The media type of messages that say none.
const ENV_CONTENT_TYPE: &str = "content_type";

/// Runs it as its environment says, until it is told to stop.
#[tokio::main(flavor = "current_thread")]
pub async fn main() -> ExitCode {
    daemon::program::run("mqtt-connector", run).await
}

async fn run(env: &ProcessEnv) -> anyhow::Result<()> {
    let config = Config::from_env(env)?;
    let client = GatewayClient::new(&ClientConfig::from_env(env)?)?;
    let stop = daemon::stop::on_signals()?;
    let list = FunctionList::from_env(client.clone(), env, stop.clone())?;
    let dispatcher = match env.get(ENV_CONTENT_TYPE) {
        Some(text) => {
            let refuse = |error| EnvError::new(ENV_CONTENT_TYPE, &text, error);
            Dispatcher::with_content_type(client, list, HeaderValue::from_str(&text).map_err(refuse)?)
        }
        None => Dispatcher::new(client, list),
    };
    let connector = MqttConnector::build(config, dispatcher)?;
    let health = Health::from_env(env).await?;
    health::beside(health, connector.report(), connector.run(stop)).await?;
    Ok(())
}
