//! The gateway on its own, with the provider that it is told behind it: brings the parts together, runs them, stops
//! them in order. Connectors and brokers are other processes.

mod backing;
#[cfg(feature = "kubernetes")]
mod kubernetes;
#[cfg(feature = "local")]
mod local;

use crate::{Config, Gateway, Parts, Readiness};
use anyhow::{Context, bail};
use backing::Kind;
use daemon::part::{Part, first_end};
use daemon::{Clock, Env, ProcessEnv, StateDir, Stop, SystemClock, program, stop};
use queue::Queue;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Where everything is kept.
const ENV_STATE: &str = "CREMA_STATE";
/// `sqlite` or `sled`.
const ENV_QUEUE: &str = "CREMA_QUEUE";
/// How long calls are taken still once told to stop, while `/ready` says no: those who send them need a moment to hear
/// of it.
const ENV_STOP_DELAY: &str = "CREMA_STOP_DELAY";

/// Runs it as its environment says, until it is told to stop.
pub fn main() -> ExitCode {
    #[cfg(feature = "local")]
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
    let kind = Kind::from_env(&env)?;
    let mut config = Config::from_env(&env)?;
    let state = env.get(ENV_STATE).map(PathBuf::from);
    let state = state.with_context(|| format!("{ENV_STATE} is not set: name the directory to keep everything in"))?;
    let state = StateDir::open(&state)?;
    config.counters.get_or_insert_with(|| state.join("invocations.json"));
    config.functions = kind.functions_listener();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(kind, config, &state))
}

async fn serve(kind: Kind, config: Config, state: &StateDir) -> anyhow::Result<()> {
    let env = ProcessEnv;
    let _traces = daemon::log::init(&env, "gateway")?;
    let delay = env.duration(ENV_STOP_DELAY, Duration::ZERO)?;
    let delivery = queue::worker::Config::from_env(&env)?;
    let stop = stop::on_signals()?;
    program::raise_file_limit();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let backing = kind.backing(&env, state, Arc::clone(&clock)).await?;
    let queue = open_queue(&env, &state.join("queue"))?;
    let parts = Parts { provider: backing.provider, queue: Some(Arc::clone(&queue)), clock };
    let gateway = Gateway::build(config, parts)?.with_readiness(Readiness::new(stop.clone(), backing.listed));
    tracing::info!(address = %gateway.address(), metrics = %gateway.metrics_address(), provider = %kind, "gateway");

    let provider = (backing.begin)(&gateway);
    let worker = gateway.worker(delivery).context("the gateway was built with a queue")?;
    let worker = Part::start("queue worker", move |stop| worker.run(stop));
    let gateway = Part::start("gateway", move |stop| gateway.run(stop));
    let ended = run([worker, gateway, provider], stop, delay).await;
    queue.close().await;
    ended
}

/// Waits for the end and stops the parts: first what calls, then what is called.
async fn run(mut parts: [Part; 3], stop: Stop, delay: Duration) -> anyhow::Result<()> {
    // Without one of them calls would be accepted that nobody makes.
    let ended = tokio::select! {
        () = stop.stopped() => Ok(()),
        error = first_end(&mut parts) => Err(error.into()),
    };
    tracing::info!("stopping: calls in flight are finished");
    let delay = if ended.is_ok() { delay } else { Duration::ZERO };
    let [worker, gateway, provider] = parts;
    tokio::join!(worker.stop(), tokio::time::sleep(delay));
    gateway.stop().await;
    provider.stop().await;
    ended
}

fn open_queue(env: &impl Env, directory: &Path) -> anyhow::Result<Arc<dyn Queue>> {
    match env.get(ENV_QUEUE).as_deref() {
        None | Some("sqlite") => Ok(queue::sqlite::open(directory)?),
        Some("sled") => Ok(queue::sled::open(directory)?),
        Some(other) => bail!("{ENV_QUEUE}={other}: give sqlite or sled"),
    }
}
