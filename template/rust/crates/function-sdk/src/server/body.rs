//! The body of an answer: it counts, and when it ends the call is over, in the log, the metrics and the limits.

use super::watch::Watch;
use super::{BoxError, Core, Permit, Service, route};
use crate::log;
use crate::metrics::Metrics;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::http::{Method, Request, StatusCode, Uri};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

/// What is known of a call; dropping it writes it down.
pub(super) struct Record {
    watch: Rc<Watch>,
    metrics: Rc<Metrics>,
    method: Method,
    uri: Uri,
    started: Instant,
    /// 499 until there is an answer: the caller went away.
    status: StatusCode,
    bytes: u64,
    call_id: Option<String>,
    is_probe: bool,
}

impl Record {
    pub(super) fn new<S: Service>(
        core: &Core<S>,
        watch: Rc<Watch>,
        request: &Request<Incoming>,
        call_id: &str,
        started: Instant,
    ) -> Self {
        core.metrics.begin();
        Self {
            watch,
            metrics: Rc::clone(&core.metrics),
            method: request.method().clone(),
            uri: request.uri().clone(),
            started,
            status: StatusCode::from_u16(499).expect("499 is a status"),
            bytes: 0,
            call_id: core.log_call_id.then(|| call_id.to_owned()),
            is_probe: route::is_probe(request.headers()),
        }
    }

    pub(super) fn answered(&mut self, status: StatusCode) {
        self.status = status;
    }

    /// Counts what went out after HTTP.
    pub(super) fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let took = self.started.elapsed().as_secs_f64();
        self.watch.answered();
        self.metrics.end(self.status, &self.method, took);
        if self.is_probe {
            return;
        }
        let Self { method, uri, status, bytes, .. } = self;
        let uri = uri.path_and_query().map_or("/", |uri| uri.as_str());
        let mut line = format!("{method} {uri} - {} - ContentLength: {bytes}B ({took:.4}s)", status.as_u16());
        if let Some(id) = &self.call_id {
            line.push_str(&format!(" [{id}]"));
        }
        log::raw(&line);
    }
}

/// The body of any answer.
pub(super) enum Reply<B> {
    /// The server's own answer to a probe; ends the request at its end.
    Own(Full<Bytes>, #[expect(dead_code, reason = "held, not read")] Answered),
    /// The server's own answer to a call.
    Refused(Full<Bytes>, Record),
    /// The function's. The call is in flight until the body is dropped.
    Function(B, Record, #[expect(dead_code, reason = "held, not read")] Permit),
    /// None: the connection leaves HTTP, and the call goes on there.
    Switched,
}

/// Ends the request when dropped.
pub(super) struct Answered(Rc<Watch>);

impl Drop for Answered {
    fn drop(&mut self) {
        self.0.answered();
    }
}

impl<B> Reply<B> {
    pub(super) fn own(body: Full<Bytes>, watch: Rc<Watch>) -> Self {
        Self::Own(body, Answered(watch))
    }

    pub(super) fn refused(body: Full<Bytes>, record: Record) -> Self {
        Self::Refused(body, record)
    }

    pub(super) fn function(body: B, record: Record, permit: Permit) -> Self {
        Self::Function(body, record, permit)
    }
}

impl<B> Body for Reply<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let (frame, record) = match self.get_mut() {
            Self::Own(body, _) => (Pin::new(body).poll_frame(context).map_err(route::boxed), None),
            Self::Refused(body, record) => (Pin::new(body).poll_frame(context).map_err(route::boxed), Some(record)),
            Self::Function(body, record, _) => (Pin::new(body).poll_frame(context).map_err(Into::into), Some(record)),
            Self::Switched => return Poll::Ready(None),
        };
        if let (Some(record), Poll::Ready(Some(Ok(frame)))) = (record, &frame) {
            record.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body, _) | Self::Refused(body, _) => body.is_end_stream(),
            Self::Function(body, ..) => body.is_end_stream(),
            Self::Switched => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body, _) | Self::Refused(body, _) => body.size_hint(),
            Self::Function(body, ..) => body.size_hint(),
            Self::Switched => SizeHint::with_exact(0),
        }
    }
}
