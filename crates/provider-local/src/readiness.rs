//! Readiness: asks a replica on its Unix socket whether it can be called.
//!
//! Connecting comes first and is cheap, so a replica is found within milliseconds of its first answer.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

/// The path SDK and watchdog answer on.
pub(crate) const DEFAULT_PATH: &str = "/_/ready";
/// The first pause between two questions.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_millis(25);
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits until `GET path` on the socket is answered with success.
pub(crate) async fn wait(socket: &Path, path: &str) {
    let mut pause = FIRST_PAUSE;
    loop {
        if timeout(PATIENCE, ask(socket, path)).await.is_ok_and(|answer| answer.unwrap_or(false)) {
            return;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Asks once.
async fn ask(socket: &Path, path: &str) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path).header(header::HOST, "localhost").body(Empty::<Bytes>::new())?;
    let mut answer = pin!(sender.send_request(request));
    // The connection is driven here and ends with this function. It may end first, with the answer already read.
    let answer = tokio::select! {
        answer = &mut answer => answer?,
        ended = connection => { ended?; answer.await? }
    };
    Ok(answer.status().is_success())
}
