//! What an orchestrator asks of a process that serves no HTTP of its own: whether it lives, whether it is ready, and its
//! figures. Nothing is served unless an address is given.

mod answer;
mod figure;

pub use figure::{Figure, Kind};

use crate::env::{Env, EnvError};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::{Future, ready};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Where `/healthz`, `/ready` and `/metrics` are served.
pub const ENV_HEALTH: &str = "CREMA_HEALTH";
/// The largest head of a request that is read.
const REQUEST_LIMIT: usize = 8 * 1024;
/// How long asking may take, and as long again reading the answer.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// How many are answered at a time; the others wait.
const AT_A_TIME: usize = 16;
/// How long to wait when nothing can be accepted, for the want of files as a rule.
const BREATH: Duration = Duration::from_millis(200);

/// What a process says of itself.
pub trait Report: Send + Sync + 'static {
    /// Why it is not ready; None when it is.
    fn not_ready(&self) -> Option<String> {
        None
    }

    /// Its figures.
    fn figures(&self) -> Vec<Figure> {
        Vec::new()
    }
}

impl<R: Report> Report for Arc<R> {
    fn not_ready(&self) -> Option<String> {
        R::not_ready(self)
    }

    fn figures(&self) -> Vec<Figure> {
        R::figures(self)
    }
}

/// A listener for such questions.
#[derive(Debug)]
pub struct Health {
    listener: TcpListener,
    time_limit: Duration,
}

/// Why there is no such listener.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// The variable cannot be read.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// The address cannot be had.
    #[error("health cannot be served on {address}: {source}; give another address in {ENV_HEALTH}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

impl Health {
    /// Listens where `CREMA_HEALTH` says; nowhere when it says nothing.
    pub async fn from_env(env: &impl Env) -> Result<Option<Self>, HealthError> {
        let Some(text) = env.get(ENV_HEALTH) else { return Ok(None) };
        let refuse = |error| EnvError::new(ENV_HEALTH, &text, error);
        let address = text.parse().map_err(refuse)?;
        let bound = Self::bind(address).await;
        bound.map(Some).map_err(|source| HealthError::Listen { address, source })
    }

    /// Listens.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, time_limit: TIME_LIMIT })
    }

    /// Where.
    ///
    /// # Panics
    /// When the system forgot.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound listener has an address")
    }

    async fn answer(self, report: impl Report) -> Infallible {
        let report = Arc::new(report);
        let mut questions = JoinSet::new();
        loop {
            tokio::select! {
                Some(_ended) = questions.join_next() => {}
                accepted = self.listener.accept(), if questions.len() < AT_A_TIME => match accepted {
                    Ok((stream, _)) => drop(questions.spawn(converse(stream, Arc::clone(&report), self.time_limit))),
                    Err(error) => {
                        tracing::debug!(%error, "A question after health cannot be accepted");
                        tokio::time::sleep(BREATH).await;
                    }
                },
            }
        }
    }
}

/// Answers questions, if there is a listener for them, for as long as `work` takes.
pub async fn beside<T>(health: Option<Health>, report: impl Report, work: impl Future<Output = T>) -> T {
    let Some(health) = health else { return work.await };
    tokio::select! {
        ended = work => ended,
        never = health.answer(report) => match never {},
    }
}

/// One question, one answer: a connection that is kept would keep a place from the others.
async fn converse(stream: TcpStream, report: Arc<impl Report>, time_limit: Duration) {
    let service = service_fn(|request| ready(Ok::<_, Infallible>(answer::to(&request, &*report))));
    let mut http = http1::Builder::new();
    http.keep_alive(false).max_buf_size(REQUEST_LIMIT).timer(TokioTimer::new()).header_read_timeout(time_limit);
    let conversation = http.serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(time_limit * 2, conversation).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "A question after health was none"),
        Err(_) => tracing::debug!("An answer about health was not read in time"),
    }
}

#[cfg(test)]
mod tests;
