//! One request: the platform's own paths, the limit, and the function for all else. Statuses are chosen here.

use super::body::{Record, Reply};
use super::upgrade::{Switch, Upgrade};
use super::watch::Watch;
use super::{BoxError, CallInfo, Core, INTERNAL, Service};
use crate::call_id;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::http::header::{CONTENT_TYPE, EXPECT, USER_AGENT};
use hyper::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use std::convert::Infallible;
use std::rc::Rc;
use std::time::{Duration, Instant};
use wire::{duration, header};

const HEALTH: &str = "/_/health";
const READY: &str = "/_/ready";
const CALL_ID: HeaderName = HeaderName::from_static(header::CALL_ID);
/// What is read of a refused request's body, so that its sender reads the answer instead of a broken connection.
const DISCARDED: usize = 256 * 1024;
const DISCARD_FOR: Duration = Duration::from_secs(1);

pub(super) async fn answer<S: Service>(
    core: Rc<Core<S>>,
    watch: Rc<Watch>,
    switch: Rc<Switch>,
    request: Request<Incoming>,
) -> Result<Response<Reply<S::Body>>, Infallible> {
    let started = Instant::now();
    watch.request(started);
    let own = |watch, response: Response<Full<Bytes>>| Ok(response.map(|body| Reply::own(body, watch)));
    match request.uri().path() {
        HEALTH => own(watch, health(&core, request.method())),
        READY => {
            let response = ready(&core, request.method()).await;
            own(watch, response)
        }
        _ => Ok(function(core, watch, switch, request, started).await),
    }
}

fn health<S: Service>(core: &Core<S>, method: &Method) -> Response<Full<Bytes>> {
    if method != Method::GET {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "");
    }
    if core.draining.get() || !core.service.healthy() {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "");
    }
    plain(StatusCode::OK, "OK")
}

async fn ready<S: Service>(core: &Core<S>, method: &Method) -> Response<Full<Bytes>> {
    let most = core.settings.max_inflight;
    if method != Method::GET {
        plain(StatusCode::METHOD_NOT_ALLOWED, "")
    } else if core.draining.get() || !core.service.healthy() {
        plain(StatusCode::SERVICE_UNAVAILABLE, "")
    } else if core.flight.is_full(most) {
        full(most)
    } else {
        Rc::clone(&core.service).ready().await
    }
}

async fn function<S: Service>(
    core: Rc<Core<S>>,
    watch: Rc<Watch>,
    switch: Rc<Switch>,
    mut request: Request<Incoming>,
    started: Instant,
) -> Response<Reply<S::Body>> {
    let id = call_id::of(request.headers());
    let id_value = HeaderValue::from_str(&id).ok();
    let mut record = Record::new(&core, watch, &request, &id, started);
    let most = core.settings.max_inflight;
    let mut response = match core.flight.enter(most) {
        None => {
            discard(&mut request).await;
            record.answered(StatusCode::TOO_MANY_REQUESTS);
            full(most).map(|body| Reply::refused(body, record))
        }
        Some(permit) => {
            if let Some(id) = &id_value {
                request.headers_mut().insert(CALL_ID, id.clone());
            }
            let limit = limit(request.headers(), core.settings.exec_timeout);
            let call = CallInfo { id, started, limit, permit: permit.clone(), upgrade: Upgrade::of(&switch) };
            let response = Rc::clone(&core.service).call(request, call).await;
            record.answered(response.status());
            if response.status() == StatusCode::SWITCHING_PROTOCOLS && switch.is_offered() {
                switch.accept(record, permit);
                response.map(|_| Reply::Switched)
            } else {
                switch.refuse();
                response.map(|body| Reply::function(body, record, permit))
            }
        }
    };
    if let Some(id) = id_value {
        response.headers_mut().entry(CALL_ID).or_insert(id);
    }
    response
}

/// `exec_timeout`, or the request's own limit when that is shorter.
fn limit(headers: &HeaderMap, exec_timeout: Option<Duration>) -> Option<Duration> {
    let asked = headers.get(header::TIMEOUT).and_then(|value| duration::parse(value.to_str().ok()?).ok());
    match (asked.filter(|asked| !asked.is_zero()), exec_timeout) {
        (Some(asked), Some(most)) => Some(asked.min(most)),
        (asked, most) => asked.or(most),
    }
}

/// The answer to one call too many.
fn full(most: usize) -> Response<Full<Bytes>> {
    let text = format!("Concurrent request limit exceeded. Max concurrent requests: {most}\n");
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(header::INTERNAL, HeaderValue::from_static("faas-middleware"));
    response
}

/// An answer that the function did not give: marked as the watchdog's, with the time the call took.
#[must_use]
pub fn refuse(status: StatusCode, text: impl Into<Bytes>, started: Instant) -> Response<Full<Bytes>> {
    let text = text.into();
    let mut response = Response::new(Full::new(text.clone()));
    *response.status_mut() = status;
    if !text.is_empty() {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    response.headers_mut().insert(header::INTERNAL, HeaderValue::from_static(INTERNAL));
    stamp(response.headers_mut(), started);
    response
}

/// Sets `X-Duration-Seconds` to the time since `started`.
pub fn stamp(headers: &mut HeaderMap, started: Instant) {
    let seconds = format!("{:.6}", started.elapsed().as_secs_f64());
    if let Ok(value) = HeaderValue::try_from(seconds) {
        headers.insert(header::DURATION_SECONDS, value);
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}

async fn discard(request: &mut Request<Incoming>) {
    // A sender that waits to be asked for its body is not asked.
    if request.headers().contains_key(EXPECT) {
        return;
    }
    let body = request.body_mut();
    let read = async {
        let mut seen = 0;
        while seen < DISCARDED && !body.is_end_stream() {
            match body.frame().await {
                Some(Ok(frame)) => seen += frame.data_ref().map_or(0, Bytes::len),
                _ => return,
            }
        }
    };
    tokio::time::timeout(DISCARD_FOR, read).await.unwrap_or_default();
}

/// Whether a request is a probe of Kubernetes, which is not logged.
pub(super) fn is_probe(headers: &HeaderMap) -> bool {
    headers.get(USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"kube-probe"))
}

/// Keeps [`BoxError`] a bound that bodies of either side meet.
pub(super) fn boxed(error: impl Into<BoxError>) -> BoxError {
    error.into()
}
