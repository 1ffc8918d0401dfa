//! One box: functions are confined processes of this machine.

use super::backing::Backing;
use daemon::part::Part;
use daemon::{Clock, Env, StateDir};
use provider_local::{Isolation, IsolationConfig, LocalProvider};
use std::sync::Arc;
use tokio::sync::watch;

/// The least isolation of functions that will do.
const ENV_ISOLATION_MIN: &str = "CREMA_ISOLATION_MIN";
/// The most that is tried.
const ENV_ISOLATION_MAX: &str = "CREMA_ISOLATION_MAX";

pub(super) async fn backing(env: &impl Env, state: &StateDir, clock: Arc<dyn Clock>) -> anyhow::Result<Backing> {
    let images = image::Store::open(state.join("images"))?;
    let mut isolation = IsolationConfig::new(state.path());
    isolation.least = env.parse(ENV_ISOLATION_MIN, isolation.least)?;
    isolation.most = env.parse(ENV_ISOLATION_MAX, isolation.most)?;
    let isolation = Isolation::probe(&isolation).await.map_err(anyhow::Error::msg)?;
    tracing::info!(level = isolation.describe(), "functions are confined");
    let mut config = provider_local::Config::new(state.path(), state.join("run"), String::new());
    config.isolation = Arc::new(isolation);
    config.start_timeout = env.duration(provider_local::ENV_START_TIMEOUT, config.start_timeout)?;
    let provider = LocalProvider::build(config, images, clock)?;
    Ok(Backing {
        provider: Arc::clone(&provider) as _,
        // What is to run is read from disk when it is built.
        listed: watch::channel(true).1,
        begin: Box::new(move |gateway| {
            provider.set_door(Arc::new(gateway.door()));
            provider.set_gateway_url(&format!("http://{}", gateway.functions_address()));
            Part::start("provider", move |stop| async move {
                provider.run(stop).await;
                anyhow::Ok(())
            })
        }),
    })
}
