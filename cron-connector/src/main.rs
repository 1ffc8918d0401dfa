//! The cron connector on its own, beside a gateway elsewhere.

use cron_connector::{Config, CronConnector};
use daemon::{EXIT_USAGE, Env, ProcessEnv, SystemClock};
use gateway_client::{ClientConfig, FunctionList, GatewayClient};
use std::process::ExitCode;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let env = ProcessEnv;
    let traces = match daemon::log::init(&env, "cron-connector") {
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
    CronConnector::build(config, client, list, Arc::new(SystemClock)).run(stop).await;
    Ok(())
}

fn failed(error: &anyhow::Error) -> ExitCode {
    tracing::error!("{error:#}");
    ExitCode::from(EXIT_USAGE)
}
