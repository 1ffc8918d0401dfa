//! What an orchestrator asks of a process that serves no HTTP of its own: whether it lives, whether it is ready, and its
//! figures. Nothing is served unless an address is given.

use crate::env::{Env, EnvError};
use std::convert::Infallible;
use std::fmt::Write;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Where `/healthz`, `/ready` and `/metrics` are served.
pub const ENV_HEALTH: &str = "CREMA_HEALTH";
/// The largest request that is read.
const REQUEST_LIMIT: usize = 8 * 1024;
/// How long one request may take.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// How many are answered at a time; the others wait.
const AT_A_TIME: usize = 16;
/// How long to wait when nothing can be accepted, for the want of files as a rule.
const BREATH: Duration = Duration::from_millis(200);

/// What a process says of itself.
pub trait Report: Send + Sync + 'static {
    /// Why it is not ready; None when it is.
    fn not_ready(&self) -> Option<String>;

    /// Its figures.
    fn figures(&self) -> Vec<Figure> {
        Vec::new()
    }
}

/// One figure, as Prometheus is told it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// `counter` or `gauge`.
    pub kind: &'static str,
    /// What it is now.
    pub value: u64,
}

impl Figure {
    /// What only grows.
    #[must_use]
    pub fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, kind: "counter", value }
    }

    /// What goes up and down.
    #[must_use]
    pub fn gauge(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, kind: "gauge", value }
    }
}

/// A listener for such questions.
#[derive(Debug)]
pub struct Health(TcpListener);

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
        Self::bind(text.parse().map_err(refuse)?).await.map(Some)
    }

    /// Listens.
    pub async fn bind(address: SocketAddr) -> Result<Self, HealthError> {
        let failed = |source| HealthError::Listen { address, source };
        TcpListener::bind(address).await.map(Self).map_err(failed)
    }

    /// Where.
    ///
    /// # Panics
    /// When the system forgot.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("a bound listener has an address")
    }

    async fn answer(self, report: impl Report) -> Infallible {
        let report = Arc::new(report);
        let mut questions = JoinSet::new();
        loop {
            tokio::select! {
                Some(_ended) = questions.join_next() => {}
                accepted = self.0.accept(), if questions.len() < AT_A_TIME => match accepted {
                    Ok((stream, _)) => {
                        questions.spawn(tokio::time::timeout(TIME_LIMIT, answer(stream, Arc::clone(&report))));
                    }
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

/// Reads one request and answers it. Whoever asks badly, or is gone, gets nothing.
async fn answer(mut stream: TcpStream, report: Arc<impl Report>) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() >= REQUEST_LIMIT || stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let (status, body) = reply(&line, &*report);
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    let body = if line.starts_with("HEAD ") { "" } else { &body };
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await?;
    stream.shutdown().await
}

fn reply(line: &str, report: &impl Report) -> (&'static str, String) {
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if !matches!(method, "GET" | "HEAD") {
        return ("405 Method Not Allowed", "method not allowed; allowed: GET, HEAD\n".to_owned());
    }
    match target.split('?').next().unwrap_or_default() {
        "/healthz" => ("200 OK", "OK".to_owned()),
        "/ready" => match report.not_ready() {
            None => ("200 OK", "OK".to_owned()),
            Some(why) => ("503 Service Unavailable", format!("{why}\n")),
        },
        "/metrics" => ("200 OK", exposition(&report.figures())),
        _ => ("404 Not Found", "404 page not found: there are /healthz, /ready and /metrics\n".to_owned()),
    }
}

fn exposition(figures: &[Figure]) -> String {
    figures.iter().fold(String::new(), |mut text, Figure { name, help, kind, value }| {
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}").unwrap_or_default();
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    struct Half(Arc<AtomicBool>);

    impl Report for Half {
        fn not_ready(&self) -> Option<String> {
            (!self.0.load(Ordering::Relaxed)).then(|| "the functions are not known yet".to_owned())
        }

        fn figures(&self) -> Vec<Figure> {
            vec![Figure::counter("events_total", "Events.", 7), Figure::gauge("functions", "Functions.", 2)]
        }
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // A listener that closes before it has read all resets the connection.
        stream.read_to_string(&mut answer).await.unwrap_or_default();
        answer
    }

    #[tokio::test]
    async fn a_process_says_that_it_lives_whether_it_is_ready_and_how_much_it_did() {
        let health = Health::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let (address, ready) = (health.address(), Arc::new(AtomicBool::new(false)));
        let (stopper, stop) = crate::stop::pair();
        let running = tokio::spawn(beside(Some(health), Half(Arc::clone(&ready)), stop.stopped()));
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(ask(address, &get("/healthz")).await.starts_with("HTTP/1.1 200 OK\r\n"));
        let answer = ask(address, &get("/ready")).await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("not known yet\n"), "{answer}");
        ready.store(true, Ordering::Relaxed);
        assert!(ask(address, &get("/ready?verbose")).await.starts_with("HTTP/1.1 200"));
        let answer = ask(address, &get("/metrics")).await;
        assert!(answer.contains("# TYPE events_total counter\nevents_total 7\n"), "{answer}");
        assert!(ask(address, &get("/")).await.starts_with("HTTP/1.1 404"));
        assert!(ask(address, "POST /ready HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 405"));
        assert!(ask(address, "HEAD /healthz HTTP/1.1\r\n\r\n").await.ends_with("\r\n\r\n"));
        assert_eq!(ask(address, &"x".repeat(2 * REQUEST_LIMIT)).await, "");
        stopper.stop();
        running.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn nothing_is_served_unless_asked_for() {
        assert!(Health::from_env(&[]).await.unwrap().is_none());
        assert!(Health::from_env(&[("CREMA_HEALTH", "8081")]).await.unwrap_err().to_string().contains("CREMA_HEALTH"));
        assert!(Health::from_env(&[("CREMA_HEALTH", "127.0.0.1:0")]).await.unwrap().is_some());
    }
}
