//! The MQTT broker on its own, in front of a gateway elsewhere.

use daemon::{EXIT_USAGE, Env, ProcessEnv};
use dispatch::Dispatcher;
use gateway_client::{ClientConfig, FunctionList, GatewayClient};
use mqtt_broker::{Broker, Config};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let env = ProcessEnv;
    let traces = match daemon::log::init(&env, "mqtt-broker") {
        Ok(traces) => traces,
        Err(error) => return failed(&error.into()),
    };
    let ended = match run(&env).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    };
    drop(traces);
    ended
}

async fn run(env: &ProcessEnv) -> anyhow::Result<()> {
    let config = Config::from_env(env)?;
    let client = GatewayClient::new(&ClientConfig::from_env(env)?)?;
    let interval = env.duration(FunctionList::ENV_INTERVAL, FunctionList::DEFAULT_INTERVAL)?;
    let stop = daemon::stop::on_signals(|| {})?;
    let list = FunctionList::follow(client.clone(), interval, stop.clone());
    Broker::build(config, Dispatcher::new(client, list))?.run(stop).await?;
    Ok(())
}

fn failed(error: &anyhow::Error) -> ExitCode {
    tracing::error!("{error:#}");
    ExitCode::from(EXIT_USAGE)
}
