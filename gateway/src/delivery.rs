//! Makes queued calls, by the same way as those whose clients wait: function -> scaler -> balancer -> forward.
//!
//! Connections belong to one thread, so the queue's worker and its calls have a thread of their own.

use crate::call::CALL_ID;
use crate::callback::{Callbacks, Ended};
use crate::function::refusal;
use crate::invoker::{CallError, Invoker};
use crate::readiness::Readiness;
use crate::scaler::NoReplica;
use crate::state::State;
use crate::trace;
use actix_web::ResponseError;
use bytes::Bytes;
use daemon::{Clock, Stop};
use forward::Body;
use futures_util::FutureExt;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Uri};
use queue::retry::{Decision, Delivery, RetryPolicy};
use queue::worker::{Config, Deliver, Worker};
use queue::{Invocation, Lease, Queue, Sequence};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::{Instrument, Span};
use wire::FunctionName;

/// The largest answer that is kept for a callback.
const ANSWER_LIMIT: usize = 16 << 20;
/// How much of answers is kept for callbacks at a time, in KiB.
const ANSWERS_KIB: u32 = 32 << 10;
/// How long an answer waits for room.
const ROOM_LIMIT: Duration = Duration::from_secs(5);
/// How long callbacks under way may take to end once every call has.
const CALLBACKS_LINGER: Duration = Duration::from_secs(10);
const INTERNAL: HeaderName = HeaderName::from_static(wire::header::INTERNAL);
const RETRY: HeaderName = HeaderName::from_static(wire::header::RETRY);
const RETRY_MAX: HeaderName = HeaderName::from_static(wire::header::RETRY_MAX);

/// Delivers what a gateway's queue holds.
pub struct QueueWorker {
    state: Arc<State>,
    queue: Arc<dyn Queue>,
    config: Config,
    readiness: Option<Readiness>,
}

impl QueueWorker {
    pub(crate) fn new(state: Arc<State>, queue: Arc<dyn Queue>, config: Config, readiness: Option<Readiness>) -> Self {
        Self { state, queue, config, readiness }
    }

    /// Delivers, on a thread of its own, until told to stop and calls under way have ended. It begins when the functions
    /// are known: a call of one that is not would be given up.
    pub async fn run(mut self, stop: Stop) -> io::Result<()> {
        if let Some(readiness) = self.readiness.take() {
            tokio::select! {
                () = readiness.listed() => {}
                () = stop.clone().stopped() => return Ok(()),
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (ended, ends) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("delivery".to_owned()).spawn(move || {
            tokio::task::LocalSet::new().block_on(&runtime, self.work(stop));
            drop(ended);
        })?;
        // Either way the thread is about to be gone: nothing is ever sent.
        ends.await.unwrap_or_default();
        thread.join().map_err(|_panic| io::Error::other("the delivery thread panicked; its log says why"))
    }

    async fn work(self, stop: Stop) {
        let Self { state, queue, config, .. } = self;
        let clock = Arc::clone(&state.clock);
        let callbacks = Rc::new(Callbacks::default());
        let linger = config.drain.min(CALLBACKS_LINGER);
        let deliverer = Deliverer {
            usual: config.policy.clone(),
            invoker: Invoker::new(state),
            callbacks: Rc::clone(&callbacks),
            room: Arc::new(Semaphore::new(ANSWERS_KIB as usize)),
            last: RefCell::default(),
        };
        Worker::new(config, queue, clock, deliverer).run(stop).await;
        if tokio::time::timeout(linger, callbacks.idle()).await.is_err() {
            tracing::warn!("callbacks were under way when delivery stopped and are lost");
        }
    }
}

/// Makes the calls of one worker.
struct Deliverer {
    invoker: Rc<Invoker>,
    usual: RetryPolicy,
    callbacks: Rc<Callbacks>,
    /// Room for answers, a permit for each KiB.
    room: Arc<Semaphore>,
    /// Answers that wait for their callback.
    last: RefCell<HashMap<Sequence, Answered>>,
}

/// What came of an attempt.
struct Answered {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
    /// What the body takes.
    room: Option<OwnedSemaphorePermit>,
    took: Duration,
    attempts: u32,
    /// What to tell a person, when the gateway answered in the function's stead.
    reason: Option<String>,
    gone: bool,
}

impl Deliver for Deliverer {
    fn policy(&self, function: &FunctionName, usual: &RetryPolicy) -> RetryPolicy {
        match self.invoker.function(&function.to_string()) {
            Some(function) => usual.clone().with(&function.replicas.annotations),
            None => usual.clone(),
        }
    }

    /// A panic ends this attempt and nothing else.
    async fn deliver(&self, lease: &Lease, attempts: u32) -> Delivery {
        match AssertUnwindSafe(self.attempt(lease, attempts)).catch_unwind().await {
            Ok(delivery) => delivery,
            Err(_panic) => Delivery {
                internal: true,
                reason: Some("the gateway failed on this call; its log says why".to_owned()),
                ..Delivery::default()
            },
        }
    }

    async fn ended(&self, lease: &Lease, delivery: &Delivery) {
        let Some(answered) = self.last.borrow_mut().remove(&lease.sequence) else { return };
        let ended = Ended {
            status: delivery.status.unwrap_or(answered.status),
            headers: &answered.headers,
            body: answered.body,
            room: answered.room,
            took: answered.took,
            retries: lease.attempt.saturating_sub(1),
            max_retries: answered.attempts.saturating_sub(1),
        };
        if AssertUnwindSafe(self.callbacks.post(&lease.invocation, ended)).catch_unwind().await.is_err() {
            tracing::error!(call_id = lease.invocation.call_id, "a callback panicked");
        }
    }
}

impl Deliverer {
    async fn attempt(&self, lease: &Lease, attempts: u32) -> Delivery {
        let (span, began) = (span(lease), Instant::now());
        let answered = call(self, lease, attempts, &span).instrument(span.clone()).await;
        let answered = Answered { took: began.elapsed(), attempts, ..answered };
        let delivery = Delivery {
            status: Some(answered.status),
            internal: answered.headers.contains_key(INTERNAL),
            retry_after: retry_after(&answered.headers, &*self.invoker.state().clock),
            reason: answered.reason.clone(),
            gone: answered.gone,
        };
        let policy = self.policy(&lease.invocation.function, &self.usual);
        let last = !matches!(policy.decide(lease.attempt, &delivery, 0.0), Decision::Again(_));
        if last && lease.invocation.callback_url.is_some() {
            self.last.borrow_mut().insert(lease.sequence, answered);
        }
        delivery
    }
}

/// How long the function asks to be left alone: seconds, or until a date.
fn retry_after(headers: &HeaderMap, clock: &dyn Clock) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let until = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(until.duration_since(clock.now())).unwrap_or_default())
}

fn span(lease: &Lease) -> Span {
    if !daemon::trace::exporting() {
        return Span::none();
    }
    let Invocation { function, call_id, trace, .. } = &lease.invocation;
    let span = tracing::info_span!("deliver", %function, call_id, attempt = lease.attempt);
    if let Some(trace) = trace {
        trace::set_parent(&span, &trace.traceparent, &trace.tracestate);
    }
    span
}

async fn call(deliverer: &Deliverer, lease: &Lease, attempts: u32, span: &Span) -> Answered {
    let invoker = &deliverer.invoker;
    let invocation = &lease.invocation;
    let Some(function) = invoker.function(&invocation.function.to_string()) else {
        let reason = format!("{} is not deployed any more", invocation.function);
        return Answered { gone: true, ..own(404, reason) };
    };
    let mut underway = function.begin(invoker);
    let mut headers = headers(lease, attempts);
    trace::pass_on(span, &mut headers);
    let (Ok(method), Ok(uri)) =
        (Method::from_bytes(invocation.method.as_bytes()), invocation.path_and_query.parse::<Uri>())
    else {
        return own(400, "the queued call's method or path is not one of HTTP".to_owned());
    };
    let response = invoker.call(&underway.function, invoker.state().config.upstream_timeout, |endpoint| {
        let mut made = Request::new(Body::Full(invocation.body.clone()));
        *made.method_mut() = method.clone();
        *made.uri_mut() = uri.clone();
        *made.headers_mut() = headers.clone();
        made.headers_mut().insert(HOST, endpoint.host.clone());
        Some(made)
    });
    let answered = match response.await {
        Ok(response) => receive(response, invocation, &deliverer.room).await,
        Err(error) => {
            let refusal = refusal(&error);
            let gone = matches!(error, CallError::NoReplica(NoReplica::Gone(_)));
            Answered { gone, ..own(refusal.status_code().as_u16(), refusal.to_string()) }
        }
    };
    underway.answered(answered.status);
    answered
}

async fn receive(response: forward::Response, invocation: &Invocation, room: &Arc<Semaphore>) -> Answered {
    let (status, headers) = (response.status.as_u16(), response.headers);
    let mut taken = None;
    if invocation.callback_url.is_some() {
        let length = response.body.length().and_then(|length| usize::try_from(length).ok()).unwrap_or(ANSWER_LIMIT);
        let room = Arc::clone(room).acquire_many_owned(kibibytes(length.min(ANSWER_LIMIT)));
        // The function waits with its answer meanwhile, and its time is not ours to use up.
        taken = tokio::time::timeout(ROOM_LIMIT, room).await.ok().and_then(Result::ok);
    }
    let body = match &taken {
        Some(_) => response.body.collect(ANSWER_LIMIT).await,
        None => drain(response.body).await,
    };
    let body = match body {
        Ok((_, true)) if taken.is_none() && invocation.callback_url.is_some() => {
            "the answer is not kept: those that wait to be posted take all the room there is\n".into()
        }
        Ok((body, true)) => body,
        Ok((_, false)) => format!("the answer is larger than {ANSWER_LIMIT} bytes, the most for a callback\n").into(),
        Err(error) => return own(502, format!("the answer of {} broke off: {error}", invocation.function)),
    };
    if let Some(taken) = &mut taken {
        let rest = taken.num_permits().saturating_sub(kibibytes(body.len()) as usize);
        drop(taken.split(rest));
    }
    Answered { status, headers, body, room: taken, took: Duration::ZERO, attempts: 0, reason: None, gone: false }
}

fn kibibytes(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX)
}

/// Reads an answer that nobody wants to its end: a function that breaks off has failed.
async fn drain(mut body: forward::ResponseBody) -> Result<(Bytes, bool), forward::ForwardError> {
    while let Some(chunk) = body.chunk().await {
        chunk?;
    }
    Ok((Bytes::new(), true))
}

/// An answer of the gateway's own.
fn own(status: u16, reason: String) -> Answered {
    let headers = [(INTERNAL, HeaderValue::from_static("gateway"))].into_iter().collect();
    let body = Bytes::from(format!("{reason}\n"));
    let took = Duration::ZERO;
    Answered { status, headers, body, room: None, took, attempts: 0, reason: Some(reason), gone: false }
}

fn headers(lease: &Lease, attempts: u32) -> HeaderMap {
    let invocation = &lease.invocation;
    let mut headers = HeaderMap::with_capacity(invocation.headers.len() + 4);
    for (name, value) in &invocation.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers.remove(CONTENT_LENGTH);
    if let Ok(call_id) = HeaderValue::from_str(&invocation.call_id) {
        headers.insert(CALL_ID, call_id);
    }
    headers.insert(RETRY, HeaderValue::from(lease.attempt.saturating_sub(1)));
    headers.insert(RETRY_MAX, HeaderValue::from(attempts.saturating_sub(1)));
    if let Some(trace) = &invocation.trace {
        let text = |text: &str| HeaderValue::from_str(text).ok();
        if let Some(parent) = text(&trace.traceparent) {
            headers.insert(trace::PARENT, parent);
        }
        if let Some(state) = text(&trace.tracestate).filter(|state| !state.is_empty()) {
            headers.insert(trace::STATE, state);
        }
    }
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(crate::PRODUCT));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(bytes: usize, length: Option<u64>) -> forward::Response {
        let body = forward::ResponseBody::Full { bytes: vec![0; bytes].into(), length };
        forward::Response { status: hyper::StatusCode::OK, headers: HeaderMap::new(), body }
    }

    #[tokio::test(start_paused = true)]
    async fn answers_for_callbacks_take_no_more_room_than_there_is() {
        let room = Arc::new(Semaphore::new(ANSWERS_KIB as usize));
        let untold = Invocation {
            call_id: "a".to_owned(),
            function: "f".parse().unwrap(),
            method: "POST".to_owned(),
            path_and_query: "/".to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
            callback_url: None,
            accepted_at: 0,
            trace: None,
            source: queue::Source::Http,
            key: None,
        };
        let invocation = Invocation { callback_url: Some("http://till/".to_owned()), ..untold.clone() };
        // Its length is not known: room for the most is taken, and what it does not need given back.
        let small = receive(response(10, None), &invocation, &room).await;
        assert_eq!((small.body.len(), room.available_permits()), (10, ANSWERS_KIB as usize - 1));
        let large = 16 << 20;
        let first = receive(response(large, Some(large as u64)), &invocation, &room).await;
        assert_eq!(first.body.len(), large);
        let third = receive(response(large, Some(large as u64)), &invocation, &room).await;
        assert!(third.room.is_none() && third.body.starts_with(b"the answer is not kept"), "{:?}", third.body);
        assert_eq!(third.status, 200);
        drop(first);
        assert_eq!(receive(response(large, Some(large as u64)), &invocation, &room).await.body.len(), large);
        // Nobody is told of this one.
        let untold = receive(response(large, None), &untold, &room).await;
        assert!(untold.body.is_empty() && untold.room.is_none());
    }
}
