//! One exchange: a connection, the request, the head of the answer.

use crate::error::{ForwardError, Reason};
use crate::headers::{frame, strip_hop_by_hop};
use crate::pool::{Connection, Target};
use crate::response::{Response, ResponseBody, Streaming};
use crate::{Body, BodyError, Upstream};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::CONTENT_LENGTH;
use hyper::http::response::Parts;
use hyper::{Method, Request, StatusCode};
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long an exchange may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Until there is a connection; 5 s.
    pub connect: Duration,
    /// From the beginning to the last byte of the answer; 60 s.
    pub total: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), total: Duration::from_secs(60) }
    }
}

/// A request that failed, and what is known of it.
pub(crate) struct Unanswered {
    pub(crate) reason: Reason,
    again: Again,
}

/// Whether a request may be sent again.
enum Again {
    /// It was not sent; here it is.
    Unsent(Box<Request<Body>>),
    /// Nothing of it was written.
    Unwritten,
    /// The upstream closed the connection without reading it.
    Unread,
    /// It may have run, and may run again.
    Repeatable,
    /// It may have run.
    No,
}

impl Unanswered {
    pub(crate) fn on(self, upstream: &Upstream) -> ForwardError {
        let unread = matches!(self.again, Again::Unsent(_) | Again::Unwritten | Again::Unread);
        ForwardError { unread, ..ForwardError::new(upstream, self.reason) }
    }
}

impl Target {
    /// Does an exchange.
    ///
    /// `request` makes the request, once there is a connection; hop-by-hop headers are removed and the body's length
    /// is said in one way. A kept connection may turn out to be closed by the upstream. Then the request is sent once
    /// more, on a new connection, provided that it cannot have run: nothing of it was written, or the upstream closed
    /// without reading it, or no byte of an answer came and its method is one that may be repeated (RFC 9110 §9.2.2).
    /// For that `request` is called again, which returns `None` when the body was streamed and is gone. An error says
    /// whether another upstream may be tried ([`ForwardError::unread`]).
    pub async fn send(
        self: &Rc<Self>,
        limits: Limits,
        mut request: impl FnMut() -> Option<Request<Body>>,
    ) -> Result<Response, ForwardError> {
        let in_flight = self.begin();
        let deadline = Instant::now() + limits.total;
        let failed = |reason| ForwardError::new(self.upstream(), reason);
        let mut unsent: Option<Box<Request<Body>>> = None;
        let mut stale: Option<Reason> = None;
        loop {
            let idle = if stale.is_none() { self.idle() } else { None };
            let mut connection = match idle {
                Some(connection) => connection,
                // Whatever came of a kept connection, the request may be sent: also to another upstream.
                None => self
                    .connect(limits.connect.min(limits.total))
                    .await
                    .map_err(|error| failed(Reason::Connect(error)))?,
            };
            let Some(mut made) = unsent.take().map(|request| *request).or_else(&mut request) else {
                let gone = || Reason::RequestBody("it was streamed and cannot be sent again".into());
                return Err(failed(stale.unwrap_or_else(gone)));
            };
            strip_hop_by_hop(made.headers_mut());
            frame(&mut made);
            let method = made.method().clone();
            let sent = timeout_at(deadline, connection.exchange(made, self.upstream())).await;
            match sent {
                Err(_) => return Err(failed(Reason::TimedOut(limits.total))),
                Ok(Ok(response)) => {
                    let (parts, incoming) = response.into_parts();
                    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
                        return Err(failed(Reason::Broken("it switched protocols unasked".into())));
                    }
                    let streaming = Streaming::new(incoming, connection, in_flight, deadline, limits.total);
                    return Ok(answered(parts, streaming, &method).await);
                }
                Ok(Err(unanswered)) => {
                    if stale.is_some() || !connection.reused || matches!(unanswered.again, Again::No) {
                        return Err(unanswered.on(self.upstream()));
                    }
                    if let Again::Unsent(request) = unanswered.again {
                        unsent = Some(request);
                    }
                    stale = Some(unanswered.reason);
                }
            }
        }
    }
}

/// An upstream's answer, its head and what came with it.
pub(crate) async fn answered(parts: Parts, streaming: Streaming, method: &Method) -> Response {
    let mut response = Response { status: parts.status, headers: parts.headers, body: EMPTY };
    strip_hop_by_hop(&mut response.headers);
    response.body = receive(streaming, &mut response.headers, method).await;
    response
}

const EMPTY: ResponseBody = ResponseBody::Full { bytes: Bytes::new(), length: Some(0) };

/// The body, at once when it is empty or came with the head.
async fn receive(mut streaming: Streaming, headers: &mut hyper::HeaderMap, method: &Method) -> ResponseBody {
    let told = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if streaming.is_end() {
        streaming.end();
        let length = if *method == Method::HEAD { told } else { told.or(Some(0)) };
        return ResponseBody::Full { bytes: Bytes::new(), length };
    }
    if streaming.length().is_none() {
        // Chunked or until the connection closes: a length beside that would be a lie.
        headers.remove(CONTENT_LENGTH);
    }
    let whole = poll_fn(|context| Poll::Ready(streaming.poll_whole(context))).await;
    match whole {
        Some(bytes) => ResponseBody::Full { length: Some(bytes.len() as u64), bytes },
        None => ResponseBody::Stream(Box::new(streaming)),
    }
}

impl Connection {
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Body>,
        upstream: &Upstream,
    ) -> Result<hyper::Response<Incoming>, Unanswered> {
        let repeatable = request.method().is_idempotent();
        let error = match self.sender.try_send_request(request).await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        let mut error = error;
        if let Some(request) = error.take_message() {
            return Err(Unanswered {
                reason: Reason::Closed(error.into_error().into()),
                again: Again::Unsent(Box::new(request)),
            });
        }
        let error = error.into_error();
        let silent = !self.traffic.read();
        let again = match silent {
            false => Again::No,
            true if !self.traffic.written() => Again::Unwritten,
            // TCP is reset by whoever wants to, a Unix socket only when something in it was not read.
            true if matches!(upstream, Upstream::Unix(_)) && was_reset(&error) => Again::Unread,
            true if repeatable => Again::Repeatable,
            true => Again::No,
        };
        if error.is_user() || error.is_body_write_aborted() {
            return Err(Unanswered { reason: Reason::RequestBody(source_of(error)), again: Again::No });
        }
        let reason = if silent { Reason::Closed(error.into()) } else { Reason::Broken(error.into()) };
        Err(Unanswered { reason, again })
    }
}

/// Whether the connection was reset.
fn was_reset(error: &hyper::Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return matches!(io.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe);
        }
        source = error.source();
    }
    false
}

/// What the body's stream failed with.
fn source_of(error: hyper::Error) -> BodyError {
    error.into()
}
