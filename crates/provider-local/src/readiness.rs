//! Readiness: asks a replica at its address whether it can be called.
//!
//! Of a Unix socket the directory is watched: it is there when the replica listens, and one question follows. Where
//! only TCP tells, connecting is tried again after pauses that grow from one to ten milliseconds.

mod arrivals;
mod probe;

pub(crate) use probe::{Health, Probe, Probes};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use provider::Address;
use std::io;
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// The path SDK and watchdog answer on.
pub(crate) const DEFAULT_PATH: &str = "/_/ready";
/// The first pause between two tries.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// The longest while nobody listens.
const LONGEST_PAUSE: Duration = Duration::from_millis(10);
/// The longest between two questions to one that listens and is not ready yet.
const LONGEST_ASKING_PAUSE: Duration = Duration::from_millis(25);
/// How long to wait for a socket's arrival before it is looked for again: a network file system tells nothing.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Waits until a replica can be called, asked as the probe says.
pub(crate) async fn until_ready(address: &Address, probe: &Probe) {
    // To sleep for no time takes until the timer's next tick, a millisecond on.
    if !probe.initial_delay.is_zero() {
        sleep(probe.initial_delay).await;
    }
    // The first question is asked where it was seen that someone listens.
    let mut stream = Some(when_it_listens(address).await);
    let (mut pause, mut successes) = (FIRST_PAUSE, 0);
    loop {
        let is_ready = timeout(probe.timeout, ask(address, stream.take(), probe.path())).await;
        successes = match is_ready {
            Ok(Ok(status)) if probe.is_passed_by(status) => successes + 1,
            _ => 0,
        };
        if successes >= probe.successes {
            return;
        }
        sleep(probe.period.unwrap_or(pause)).await;
        pause = (pause * 2).min(LONGEST_ASKING_PAUSE);
    }
}

/// Waits until a replica fails its health probe; gives how, in words.
pub(crate) async fn until_sick(address: &Address, health: &Health) -> String {
    let mut failures = 0;
    sleep(health.probe.initial_delay).await;
    loop {
        let answer = timeout(health.probe.timeout, ask(address, None, health.probe.path())).await;
        let what = match answer {
            Ok(Ok(status)) if health.probe.is_passed_by(status) => None,
            Ok(Ok(status)) => Some(format!("answered {status}")),
            Ok(Err(error)) => Some(format!("gave no answer: {error}")),
            Err(_) => Some(format!("gave no answer within {} s", health.probe.timeout.as_secs_f32())),
        };
        failures = if what.is_some() { failures + 1 } else { 0 };
        if let Some(what) = what.filter(|_| failures >= health.failures) {
            return format!("failed its health probe: GET {} {what}, {failures} times in a row", health.probe.path());
        }
        sleep(health.probe.period.unwrap_or(probe::DEFAULT_PERIOD)).await;
    }
}

async fn when_it_listens(address: &Address) -> Box<dyn Stream> {
    // Before the first look, so that no arrival is missed.
    let arrivals = match address {
        Address::Unix(socket) => arrivals::watch(&socket.path()),
        Address::Tcp(_) | Address::Inside { .. } => None,
    };
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match connect(address).await {
            Ok(stream) => return stream,
            Err(error) => error,
        };
        match (&arrivals, error.kind()) {
            // Nothing comes after a missed one: look again after a while in any case.
            (Some(arrivals), io::ErrorKind::NotFound) => {
                timeout(LOOK_AGAIN, arrivals.next()).await.unwrap_or_default();
            }
            _ => {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Any of the streams there are.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(address: &Address) -> io::Result<Box<dyn Stream>> {
    Ok(match address {
        Address::Unix(socket) => Box::new(socket.connect().await?),
        Address::Tcp(address) => Box::new(TcpStream::connect(address).await?),
        Address::Inside { agent, port } => Box::new(forward::connect_inside(agent, *port).await?),
    })
}

/// Asks once, over a connection there is or a new one.
async fn ask(
    address: &Address,
    stream: Option<Box<dyn Stream>>,
    path: &str,
) -> Result<StatusCode, Box<dyn std::error::Error + Send + Sync>> {
    let stream = match stream {
        Some(stream) => stream,
        None => connect(address).await?,
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path).header(header::HOST, "localhost").body(Empty::<Bytes>::new())?;
    let mut answer = pin!(sender.send_request(request));
    // The connection is driven here and ends with this function. It may end first, with the answer already read.
    let answer = tokio::select! {
        answer = &mut answer => answer?,
        ended = connection => { ended?; answer.await? }
    };
    Ok(answer.status())
}

#[cfg(test)]
mod tests;
