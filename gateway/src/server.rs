//! The two listeners: the public one, and the private one with metrics.

use crate::auth;
use crate::config::{Config, ConfigError};
use crate::respond::Refusal;
use crate::state::{Parts, State};
use crate::system;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, HttpServer, web};
use daemon::Stop;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// How long running calls may take to end once the gateway stops.
const DRAIN: Duration = Duration::from_secs(60);

/// Why a gateway cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The configuration is against the rules.
    #[error(transparent)]
    Config(#[from] ConfigError),
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
    state: web::Data<State>,
    public: TcpListener,
    private: TcpListener,
}

impl Gateway {
    /// Checks the configuration and binds the ports. Nothing is served yet.
    pub fn build(config: Config, parts: Parts) -> Result<Self, BuildError> {
        config.check()?;
        let public = bind(config.listen, crate::config::ENV_LISTEN)?;
        let private = bind(config.metrics, crate::config::ENV_METRICS)?;
        Ok(Self { state: web::Data::new(State::new(config, parts)), public, private })
    }

    /// Where clients come in.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.public.local_addr().expect("a bound listener has an address")
    }

    /// Where metrics are served.
    #[must_use]
    pub fn metrics_address(&self) -> SocketAddr {
        self.private.local_addr().expect("a bound listener has an address")
    }

    /// Serves until told to stop, then lets running calls end.
    pub async fn run(self, stop: Stop) -> io::Result<()> {
        let private = private(self.private)?;
        let public = public(self.public, self.state, stop.clone())?;
        let (public_handle, private_handle) = (public.handle(), private.handle());
        let stopping = async {
            stop.stopped().await;
            public_handle.stop(true).await;
            private_handle.stop(false).await;
        };
        let (public, private, ()) = tokio::join!(public, private, stopping);
        public.and(private)
    }
}

fn bind(address: SocketAddr, variable: &'static str) -> Result<TcpListener, BuildError> {
    let listener = TcpListener::bind(address).map_err(|source| BuildError::Listen { address, source, variable })?;
    listener.set_nonblocking(true).map_err(|source| BuildError::Listen { address, source, variable })?;
    Ok(listener)
}

fn public(listener: TcpListener, state: web::Data<State>, stop: Stop) -> io::Result<actix_web::dev::Server> {
    let config = state.config.clone();
    // What has no end of its own, such as a followed log, ends with the gateway.
    let stop = web::Data::new(stop);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .app_data(stop.clone())
            .service(web::scope("/system").wrap(from_fn(auth::require)).configure(system::routes))
            .route("/healthz", web::get().to(healthz))
            .default_service(web::to(not_found))
    })
    .workers(config.workers)
    .tcp_nodelay(true)
    .keep_alive(Duration::from_secs(75))
    .client_request_timeout(config.read_timeout)
    .shutdown_timeout(DRAIN.as_secs())
    .disable_signals()
    .listen(listener)?;
    Ok(server.run())
}

fn private(listener: TcpListener) -> io::Result<actix_web::dev::Server> {
    let server =
        HttpServer::new(|| App::new().route("/healthz", web::get().to(healthz)).default_service(web::to(not_found)))
            .workers(1)
            .client_request_timeout(Duration::from_secs(5))
            .disable_signals()
            .listen(listener)?;
    Ok(server.run())
}

async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("OK")
}

async fn not_found() -> Result<HttpResponse, Refusal> {
    Err(Refusal::NotFound("404 page not found".to_owned()))
}
