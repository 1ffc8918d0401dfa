//! The gateway on its own, with the local provider behind it: brings the parts together, runs them, stops them in
//! order. Connectors and brokers are other processes.

use anyhow::{Context, bail};
use daemon::part::{Part, first_end};
use daemon::{Clock, Env, ProcessEnv, StateDir, SystemClock, program, stop};
use gateway::{Config, Gateway, Parts};
use provider_local::{Isolation, IsolationConfig, LocalProvider};
use queue::Queue;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Where everything is kept.
const ENV_STATE: &str = "CREMA_STATE";
/// `sqlite` or `sled`.
const ENV_QUEUE: &str = "CREMA_QUEUE";
/// The least isolation of functions that will do.
const ENV_ISOLATION_MIN: &str = "CREMA_ISOLATION_MIN";
/// The most that is tried.
const ENV_ISOLATION_MAX: &str = "CREMA_ISOLATION_MAX";

fn main() -> ExitCode {
    if let Some(ended) = sandbox::helper::intercept() {
        return ended;
    }
    let Err(error) = start() else { return ExitCode::SUCCESS };
    // Nobody is left to tell when standard error is gone.
    writeln!(std::io::stderr(), "gateway: {error:#}").unwrap_or_default();
    ExitCode::from(daemon::EXIT_USAGE)
}

fn start() -> anyhow::Result<()> {
    let env = ProcessEnv;
    let mut config = Config::from_env(&env)?;
    let state = env.get(ENV_STATE).map(PathBuf::from);
    let state = state.with_context(|| format!("{ENV_STATE} is not set: name the directory to keep everything in"))?;
    let state = StateDir::open(&state)?;
    config.counters.get_or_insert_with(|| state.join("invocations.json"));
    config.functions = Some((Ipv4Addr::LOCALHOST, 0).into());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(config, &state))
}

async fn serve(config: Config, state: &StateDir) -> anyhow::Result<()> {
    let env = ProcessEnv;
    let _traces = daemon::log::init(&env, "gateway")?;
    let stop = stop::on_signals()?;
    program::raise_file_limit();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let images = image::Store::open(state.join("images"))?;
    let mut isolation = IsolationConfig::new(state.path());
    isolation.least = env.parse(ENV_ISOLATION_MIN, isolation.least)?;
    isolation.most = env.parse(ENV_ISOLATION_MAX, isolation.most)?;
    let isolation = Isolation::probe(&isolation).await.map_err(anyhow::Error::msg)?;
    tracing::info!(level = isolation.describe(), "functions are confined");
    let mut provider_config = provider_local::Config::new(state.path(), state.join("run"), String::new());
    provider_config.isolation = Arc::new(isolation);
    provider_config.start_timeout = env.duration(provider_local::ENV_START_TIMEOUT, provider_config.start_timeout)?;
    let provider = LocalProvider::build(provider_config, images, Arc::clone(&clock))?;
    let queue = open_queue(&env, &state.join("queue"))?;
    let parts = Parts { provider: Arc::clone(&provider) as _, queue: Some(Arc::clone(&queue)), clock };
    let gateway = Gateway::build(config, parts)?;
    provider.set_door(Arc::new(gateway.door()));
    provider.set_gateway_url(&format!("http://{}", gateway.functions_address()));
    tracing::info!(address = %gateway.address(), metrics = %gateway.metrics_address(), "gateway");

    let worker = gateway.worker(queue::worker::Config::from_env(&env)?);
    let worker = worker.map(|worker| Part::start("queue worker", move |stop| worker.run(stop)));
    let gateway = Part::start("gateway", move |stop| gateway.run(stop));
    let provider = Part::start("provider", move |stop| async move {
        provider.run(stop).await;
        anyhow::Ok(())
    });
    let mut parts: Vec<Part> = worker.into_iter().chain([gateway, provider]).collect();
    // Without one of them calls would be accepted that nobody makes.
    let ended = tokio::select! {
        () = stop.stopped() => Ok(()),
        error = first_end(&mut parts) => Err(error.into()),
    };
    tracing::info!("stopping: calls in flight are finished");
    for part in parts {
        part.stop().await;
    }
    queue.close().await;
    ended
}

fn open_queue(env: &impl Env, directory: &Path) -> anyhow::Result<Arc<dyn Queue>> {
    match env.get(ENV_QUEUE).as_deref() {
        None | Some("sqlite") => Ok(queue::sqlite::open(directory)?),
        Some("sled") => Ok(queue::sled::open(directory)?),
        Some(other) => bail!("{ENV_QUEUE}={other}: give sqlite or sled"),
    }
}
