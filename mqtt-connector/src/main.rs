//! The MQTT connector on its own, between a broker and a gateway elsewhere.

use daemon::{Env, EnvError, ProcessEnv};
use dispatch::Dispatcher;
use gateway_client::{ClientConfig, FunctionList, GatewayClient, HeaderValue};
use mqtt_connector::{Config, MqttConnector};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The media type of messages that say none.
const ENV_CONTENT_TYPE: &str = "content_type";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    daemon::program::run("mqtt-connector", run).await
}

async fn run(env: &ProcessEnv) -> anyhow::Result<()> {
    let config = Config::from_env(env)?;
    let client = GatewayClient::new(&ClientConfig::from_env(env)?)?;
    let interval = env.duration(FunctionList::ENV_INTERVAL, FunctionList::DEFAULT_INTERVAL)?;
    let stop = daemon::stop::on_signals()?;
    let list = FunctionList::follow(client.clone(), interval, stop.clone());
    let dispatcher = match env.get(ENV_CONTENT_TYPE) {
        Some(text) => {
            let refuse = |error| EnvError::new(ENV_CONTENT_TYPE, &text, error);
            Dispatcher::with_content_type(client, list, HeaderValue::from_str(&text).map_err(refuse)?)
        }
        None => Dispatcher::new(client, list),
    };
    MqttConnector::build(config, dispatcher)?.run(stop).await?;
    Ok(())
}
