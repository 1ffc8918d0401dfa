//! The server beneath a function and beneath the watchdog: health, readiness, limit, metrics, access log, drain.
//!
//! What is served is a [`Service`], which streams bodies both ways; everything around a call happens here, once.

mod accept;
mod body;
mod connection;
mod drain;
mod route;
mod scrape;
mod signals;
mod upgrade;
mod watch;

pub use crate::door::environment;
pub use crate::serve::on_one_thread;
pub use accept::BindError;
pub use drain::Leave;
pub use route::{refuse, stamp};
pub use signals::Signals;
pub use upgrade::{Raw, Upgrade};

use crate::metrics::Metrics;
use crate::settings::{Listen, Settings};
use accept::Listener;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::http;
use scrape::MetricsServer;
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// An error without a type of its own.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The value of `X-OpenFaaS-Internal` in answers that the function itself did not give.
pub const INTERNAL: &str = "of-watchdog";

/// What a server serves. Calls run at once, on one thread.
pub trait Service: 'static {
    /// The body of an answer. An error breaks the connection off, so that the caller sees a body that is cut short.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + 'static;

    /// Answers one call. Dropped when the caller goes away.
    fn call(
        self: Rc<Self>,
        request: http::Request<Incoming>,
        call: CallInfo,
    ) -> impl Future<Output = http::Response<Self::Body>>;

    /// Answers `/_/ready`, unless the limit is reached or the server drains.
    fn ready(self: Rc<Self>) -> impl Future<Output = http::Response<Full<Bytes>>> {
        async { http::Response::new(Full::default()) }
    }

    /// Whether `/_/health` says so.
    fn healthy(&self) -> bool {
        true
    }

    /// The drain begins: health has turned bad, calls are still taken for a while.
    fn draining(&self) {}
}

/// What the server knows of a call.
#[derive(Debug)]
pub struct CallInfo {
    /// The invocation's id; also in the request's header `X-Call-Id`.
    pub id: String,
    /// When the request's head had arrived.
    pub started: Instant,
    /// How long the function may work: `exec_timeout`, or the shorter `X-Timeout` of the request.
    pub limit: Option<Duration>,
    /// The call counts as in flight until every clone of this is dropped.
    pub permit: Permit,
    /// Takes the connection over when the answer is 101.
    pub upgrade: Upgrade,
}

/// A place among the calls in flight.
#[derive(Clone)]
pub struct Permit(Rc<Place>);

impl fmt::Debug for Permit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Permit({} in flight)", self.0.flight.count.get())
    }
}

struct Place {
    flight: Rc<Flight>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.flight.count.set(self.flight.count.get() - 1);
        if self.flight.count.get() == 0 {
            self.flight.landed.notify_waiters();
        }
    }
}

/// The calls in flight.
#[derive(Default)]
struct Flight {
    count: Cell<usize>,
    landed: Notify,
}

impl Flight {
    /// A place, unless `most` (0: any number) are taken.
    fn enter(self: &Rc<Self>, most: usize) -> Option<Permit> {
        if self.is_full(most) {
            return None;
        }
        self.count.set(self.count.get() + 1);
        Some(Permit(Rc::new(Place { flight: Rc::clone(self) })))
    }

    fn is_full(&self, most: usize) -> bool {
        most != 0 && self.count.get() >= most
    }

    /// Waits until there are none.
    async fn landed(&self) {
        while self.count.get() > 0 {
            self.landed.notified().await;
        }
    }
}

/// A server that has its address and does no work yet.
pub struct Server {
    listener: Listener,
    metrics_server: Option<MetricsServer>,
    settings: Settings,
    metrics: Rc<Metrics>,
    log_call_id: bool,
}

impl Server {
    /// Takes the address; to be called on a tokio runtime. A metrics address that is taken is a warning only.
    pub fn bind(settings: Settings) -> Result<Self, BindError> {
        let listener = Listener::bind(&settings.listen)?;
        let metrics = Rc::new(Metrics::new());
        let metrics_server = settings.metrics.as_ref().and_then(|listen| {
            Listener::bind(listen)
                .map_err(|error| crate::log::raw(&format!("no metrics are served: {error}")))
                .ok()
                .map(|listener| MetricsServer::new(listener, Rc::clone(&metrics)))
        });
        Ok(Self { listener, metrics_server, settings, metrics, log_call_id: true })
    }

    /// Whether access lines end with the call's id; they do unless told otherwise.
    #[must_use]
    pub fn log_call_id(self, log_call_id: bool) -> Self {
        Self { log_call_id, ..self }
    }

    /// Where it listens, with the port the system chose when 0 was asked for.
    #[must_use]
    pub fn address(&self) -> Listen {
        self.listener.address()
    }

    /// Where metrics are served, if they are.
    #[must_use]
    pub fn metrics_address(&self) -> Option<Listen> {
        self.metrics_server.as_ref().map(MetricsServer::address)
    }

    /// Serves until `stop` says how to leave, then drains. To be run on a [`tokio::task::LocalSet`].
    ///
    /// Returns when every call has ended, or `write_timeout` after the listener closed: what is left then is dropped.
    pub async fn run<S: Service>(self, service: Rc<S>, stop: impl Future<Output = Leave>) {
        let Self { listener, metrics_server, settings, metrics, log_call_id } = self;
        let core = Rc::new(Core {
            service,
            settings,
            metrics,
            flight: Rc::default(),
            draining: Cell::new(false),
            log_call_id,
        });
        let serve = drain::serve(listener, core, stop);
        match metrics_server {
            Some(metrics_server) => tokio::select! { () = serve => {}, () = metrics_server.run() => {} },
            None => serve.await,
        }
    }
}

/// What every connection shares.
struct Core<S> {
    service: Rc<S>,
    settings: Settings,
    metrics: Rc<Metrics>,
    flight: Rc<Flight>,
    draining: Cell<bool>,
    log_call_id: bool,
}
