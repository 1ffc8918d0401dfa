//! A WebSocket: the request goes to the process on a connection of its own, and after the 101 bytes go both ways.

use super::Upstream;
use crate::reply::Reply;
use bytes::Bytes;
use function_sdk::log;
use function_sdk::server::{CallInfo, Raw, refuse};
use futures_util::future::{Either, select};
use http_body_util::Empty;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

/// What is held of each direction.
const BUFFER: usize = 8 * 1024;

/// Whether a request asks for a WebSocket. Other protocols are not passed on.
pub(super) fn is_asked_for(request: &Request<Incoming>) -> bool {
    request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && request.body().is_end_stream()
        && has_token(request.headers(), &CONNECTION, "upgrade")
        && has_token(request.headers(), &UPGRADE, "websocket")
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(token))
}

impl Upstream {
    /// Passes the request on. The process says in its answer whether it switches.
    pub(super) async fn websocket(&self, request: Request<Incoming>, call: CallInfo) -> Response<Reply> {
        let uri = match self.uri(request.uri()) {
            Ok(uri) => uri,
            Err(error) => return refuse(StatusCode::BAD_REQUEST, error.to_string(), call.started).map(Reply::from),
        };
        let mut onward = Request::new(Empty::<Bytes>::new());
        *onward.uri_mut() = uri;
        *onward.headers_mut() = request.into_parts().0.headers;
        forward::strip_hop_by_hop(onward.headers_mut());
        switches(onward.headers_mut());
        onward.headers_mut().entry(HOST).or_insert(HeaderValue::from_static("localhost"));
        let asked = tokio::time::timeout(self.write_timeout, self.ask(onward)).await;
        let mut answer = match asked {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                log(format_args!("{}: {error} [{}]", self.address, call.id));
                return refuse(StatusCode::INTERNAL_SERVER_ERROR, "", call.started).map(Reply::from);
            }
            Err(_) => {
                log(format_args!("{} did not answer within {:?} [{}]", self.address, self.write_timeout, call.id));
                return refuse(StatusCode::GATEWAY_TIMEOUT, "", call.started).map(Reply::from);
            }
        };
        forward::strip_hop_by_hop(answer.headers_mut());
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            switches(answer.headers_mut());
            let process = hyper::upgrade::on(&mut answer);
            let linger = self.write_timeout;
            call.upgrade.then(async move |client| {
                // An error: the process went away at that moment.
                if let Ok(process) = process.await {
                    tunnel(client, TokioIo::new(process), linger).await;
                }
            });
            return answer.map(|_| Reply::from(Bytes::new()));
        }
        answer.map(Reply::Incoming)
    }

    async fn ask(&self, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, Box<dyn std::error::Error>> {
        let stream = self.address.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the answer, or when it has switched; errors are told to the exchange.
        drop(tokio::task::spawn_local(async move { drop(connection.with_upgrades().await) }));
        Ok(sender.send_request(request).await?)
    }
}

fn switches(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Copies both ways. When one side has said its last word, the other has `linger` for its own.
async fn tunnel(client: Raw, process: impl AsyncRead + AsyncWrite, linger: Duration) {
    let (from_client, to_client) = tokio::io::split(client);
    let (from_process, to_process) = tokio::io::split(process);
    let up = pin!(copy(from_client, to_process));
    let down = pin!(copy(from_process, to_client));
    match select(up, down).await {
        Either::Left((Ok(()), down)) => drop(tokio::time::timeout(linger, down).await),
        Either::Right((Ok(()), up)) => drop(tokio::time::timeout(linger, up).await),
        // What is broken ends both.
        Either::Left((Err(_), _)) | Either::Right((Err(_), _)) => {}
    }
}

/// Copies until there is no more, and says so.
async fn copy<R: AsyncRead, W: AsyncWrite>(mut from: ReadHalf<R>, mut to: WriteHalf<W>) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
        to.flush().await?;
    }
}
