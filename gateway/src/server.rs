//! The listeners: the public one, the functions' (see `door`), and the private one with metrics.

use crate::call::Scheme;
use crate::config::{Config, ConfigError};
use crate::counters::Counters;
use crate::delivery::QueueWorker;
use crate::door::{Door, DoorGuard, Doorway, door, set_unread};
use crate::http::Http;
use crate::metrics::Metrics;
use crate::readiness::{Readiness, ready};
use crate::respond::Refusal;
use crate::routes::{healthz, not_found};
use crate::state::{Parts, State};
use crate::tls::{self, TlsError};
use crate::upkeep;
use actix_service::ServiceFactoryExt;
use actix_tls::accept::TlsError as TlsFailure;
use actix_tls::accept::rustls_0_23::Acceptor;
use actix_web::dev::Server;
use actix_web::{App, HttpResponse, HttpServer, web};
use daemon::Stop;
use futures_util::FutureExt;
use rustls::ServerConfig;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// Limits of the private listener.
const PRIVATE_TIMEOUT: Duration = Duration::from_secs(5);
/// Clients that each thread of a listener serves, whatever the files this process may open.
const CLIENTS: std::ops::RangeInclusive<usize> = 64..=25_600;

/// Why a gateway cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The configuration is against the rules.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Certificate or key are of no use.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Metrics clash: a fault of the gateway.
    #[error("the gateway's metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// An address cannot be listened on.
    #[error("the gateway cannot listen on {address}: {source}; free it or give another one ({variable})")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What happened.
        source: io::Error,
        /// The setting.
        variable: &'static str,
    },
}

/// A gateway with its ports bound.
pub struct Gateway {
    state: Arc<State>,
    public: TcpListener,
    functions: Option<(SocketAddr, DoorGuard)>,
    door: (Door, Doorway),
    private: TcpListener,
    tls: Option<ServerConfig>,
    readiness: Option<Readiness>,
}

impl Gateway {
    /// Checks the configuration and binds the ports. Nothing is served yet.
    pub fn build(config: Config, parts: Parts) -> Result<Self, BuildError> {
        config.check()?;
        let tls = config.tls.as_ref().map(tls::server_config).transpose()?;
        let public = bind(config.listen, crate::config::ENV_LISTEN)?;
        let door = door(config.write_timeout);
        let functions = config.functions.map(|address| open_for_functions(&door.0, address)).transpose()?;
        let private = bind(config.metrics, crate::config::ENV_METRICS)?;
        set_unread(&public, config.write_timeout);
        let counters = counters(&config);
        let state = Arc::new(State::new(config, parts, Metrics::new()?, counters));
        Ok(Self { state, public, functions, door, private, tls, readiness: None })
    }

    /// Where clients come in.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.public.local_addr().expect("a bound listener has an address")
    }

    /// Where functions reach the gateway.
    #[must_use]
    pub fn functions_address(&self) -> SocketAddr {
        self.functions.as_ref().map_or_else(|| self.address(), |(address, _)| *address)
    }

    /// Where listeners are added that lead to the gateway from a function's own network, before the gateway runs or
    /// while it does.
    #[must_use]
    pub fn door(&self) -> Door {
        self.door.0.clone()
    }

    /// Where metrics are served.
    #[must_use]
    pub fn metrics_address(&self) -> SocketAddr {
        self.private.local_addr().expect("a bound listener has an address")
    }

    /// Whoever delivers what this gateway's queue holds, and finishes calls at the end for no longer than the gateway does;
    /// `None` without a queue.
    #[must_use]
    pub fn worker(&self, config: queue::worker::Config) -> Option<QueueWorker> {
        let queue = Arc::clone(self.state.queue.as_ref()?);
        let config = queue::worker::Config { drain: config.drain.min(self.state.config.drain), ..config };
        Some(QueueWorker::new(Arc::clone(&self.state), queue, config, self.readiness.clone()))
    }

    /// Has `/ready` tell this. Otherwise the gateway is ready from when it runs until it is told to stop.
    #[must_use]
    pub fn with_readiness(self, readiness: Readiness) -> Self {
        Self { readiness: Some(readiness), ..self }
    }

    /// Serves until told to stop, then lets running calls end.
    pub async fn run(self, stop: Stop) -> io::Result<()> {
        let Self { state, public, functions, door: (door, doorway), private, tls, readiness } = self;
        // Others who hold the door may go on adding.
        drop(door);
        let private = serve_private(
            private,
            Arc::clone(&state),
            readiness.unwrap_or_else(|| Readiness::new(stop.clone(), watch::channel(true).1)),
        )?;
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let clients = clients(files, state.config.workers * 2);
        let scheme = Scheme(if tls.is_some() { "https" } else { "http" });
        let http = Http { state: Arc::clone(&state), stop: stop.clone(), scheme };
        let public = serve(public, http.clone(), tls, clients)?;
        let handles = (public.handle(), private.handle());
        let (drained, is_drained) = oneshot::channel();
        let stopping = async {
            stop.clone().stopped().await;
            handles.0.stop(true).await;
            drained.send(()).unwrap_or_default();
        };
        let connections = clients * state.config.workers;
        let doorway = async {
            // Calls that end may need other functions for it, so these are cut off last.
            let last = is_drained.map(drop);
            let http = Http { scheme: Scheme("http"), ..http };
            let served = doorway.serve(http, connections, last, state.config.drain).await;
            drop(functions);
            handles.1.stop(false).await;
            served
        };
        let saved = upkeep::save_counters(Arc::clone(&state), stop.clone());
        let followed = upkeep::follow_table(Arc::clone(&state), stop.clone());
        let counted = upkeep::count_with_peers(Arc::clone(&state), stop.clone());
        let upkeep = async { tokio::join!(saved, followed, counted) };
        let (public, doorway, private, (), _) = tokio::join!(public, doorway, private, stopping, upkeep);
        if let Some(path) = &state.config.counters {
            state.counters.save(path)?;
        }
        public.and(doorway).and(private)
    }
}

fn bind(address: SocketAddr, variable: &'static str) -> Result<TcpListener, BuildError> {
    let failed = |source| BuildError::Listen { address, source, variable };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// The functions' own listener on loopback is one of the door's: functions share it.
fn open_for_functions(door: &Door, address: SocketAddr) -> Result<(SocketAddr, DoorGuard), BuildError> {
    let failed = |source| BuildError::Listen { address, source, variable: "the functions' listener" };
    let listener = bind(address, "the functions' listener")?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((address, door.open(listener, *CLIENTS.end()).map_err(failed)?))
}

fn counters(config: &Config) -> Counters {
    let Some(path) = &config.counters else { return Counters::default() };
    Counters::load(path).unwrap_or_else(|error| {
        tracing::warn!(%error, path = %path.display(), "the invocation counts cannot be read; counting starts anew");
        Counters::default()
    })
}

/// How many clients each of so many threads serves at a time; others wait to be accepted. Half of the files that may be
/// open are left for the functions' connections, the queue and the rest.
fn clients(files: Option<u64>, threads: usize) -> usize {
    let files = files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
    (files / 2 / threads.max(1)).clamp(*CLIENTS.start(), *CLIENTS.end())
}

/// Clients come in here.
fn serve(listener: TcpListener, http: Http, tls: Option<ServerConfig>, clients: usize) -> io::Result<Server> {
    let server = Server::build()
        .workers(http.state.config.workers)
        .max_concurrent_connections(clients)
        .shutdown_timeout(http.state.config.drain.as_secs())
        .disable_signals();
    let draining = server.graceful_shutdown_signal();
    let leaving = move || {
        let draining = draining.clone();
        async move { draining.notified().await }
    };
    Ok(match tls {
        Some(tls) => server.listen("https", listener, move || {
            let served = http.service(leaving.clone()).map_err(TlsFailure::Service);
            Acceptor::new(tls.clone()).map_err(TlsFailure::into_service_error).and_then(served)
        })?,
        None => {
            server.listen("http", listener, move || http.service::<tokio::net::TcpStream, _, _>(leaving.clone()))?
        }
    }
    .run())
}

fn serve_private(listener: TcpListener, state: Arc<State>, readiness: Readiness) -> io::Result<Server> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::from(Arc::clone(&state)))
            .app_data(web::Data::new(readiness.clone()))
            .route("/ready", web::get().to(ready))
            .route("/metrics", web::get().to(metrics))
            .route("/healthz", web::get().to(healthz))
            .default_service(web::to(not_found))
    })
    .workers(1)
    .client_request_timeout(PRIVATE_TIMEOUT)
    .shutdown_timeout(PRIVATE_TIMEOUT.as_secs())
    .disable_signals()
    .listen(listener)?;
    Ok(server.run())
}

async fn metrics(state: web::Data<State>) -> Result<HttpResponse, Refusal> {
    let counts = match &state.queue {
        // A queue that cannot be read leaves the other figures.
        Some(queue) => queue.counts().await.ok(),
        None => None,
    };
    let text = state.metrics.text(counts).map_err(|error| Refusal::Internal(format!("metrics: {error}")))?;
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_half_of_the_files_to_functions() {
        assert_eq!(clients(Some(1024), 2), 256);
        assert_eq!(clients(Some(65_536), 4), 8_192);
        assert_eq!(clients(Some(100), 4), 64);
        assert_eq!((clients(None, 1), clients(Some(u64::MAX), 1)), (25_600, 25_600));
    }
}
