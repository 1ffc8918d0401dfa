//! Logging to standard error: `RUST_LOG` filters (default `info`), `CREMA_LOG=json` prints one JSON object a line.

use crate::env::Env;
use crate::trace::{self, TraceError, Traces};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

/// The filter variable.
pub const ENV_FILTER: &str = "RUST_LOG";
/// `json` or `text`.
pub const ENV_FORMAT: &str = "CREMA_LOG";
/// What is logged unless `RUST_LOG` says otherwise. Libraries are quiet unless something is wrong; what the client of the
/// Kubernetes API logs of each attempt, whoever asked says once.
const DEFAULT_FILTER: &str = "info,rmqtt=warn,rmqtt_net=warn,rumqttc=warn,actix_server=warn,sled=warn,kube_client=off";

/// Starts logging and, when `OTEL_EXPORTER_OTLP_ENDPOINT` is set, traces. Keep what it returns: dropping it flushes
/// the traces.
pub fn init(env: &impl Env, service: &'static str) -> Result<Traces, TraceError> {
    let filter = EnvFilter::builder()
        .parse(env.get(ENV_FILTER).as_deref().unwrap_or(DEFAULT_FILTER))
        .unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let json = env.get(ENV_FORMAT).as_deref() == Some("json");
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let writer = fmt::layer().with_ansi(ansi).with_writer(std::io::stderr);
    let lines: Box<dyn Layer<Registry> + Send + Sync> =
        if json { writer.json().with_filter(filter).boxed() } else { writer.with_filter(filter).boxed() };
    let (traces, spans) = trace::init(env, service)?;
    // A second subscriber in one process (tests) is no error: the first one stays.
    tracing::subscriber::set_global_default(
        Registry::default().with(vec![Some(lines), spans].into_iter().flatten().collect::<Vec<_>>()),
    )
    .unwrap_or_default();
    Ok(traces)
}
