//! Makes queued calls, by the same way as those whose clients wait: function -> scaler -> balancer -> forward.
//!
//! Connections belong to one thread, so deliveries have a thread of their own; as many run at once as the queue's
//! worker asks for.

use crate::call::CALL_ID;
use crate::function::refusal;
use crate::invoker::Invoker;
use crate::state::State;
use crate::trace;
use actix_web::ResponseError;
use bytes::Bytes;
use forward::Body;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use queue::{Invocation, Lease};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};
use tracing::{Instrument, Span};

/// The largest answer that is kept for a callback.
const ANSWER_LIMIT: usize = 16 << 20;
const RETRY: HeaderName = HeaderName::from_static(wire::header::RETRY);
const RETRY_MAX: HeaderName = HeaderName::from_static(wire::header::RETRY_MAX);

/// What an attempt led to.
pub(crate) enum Attempt {
    /// The function is not deployed any more.
    Gone,
    /// The function answered, or the gateway in its stead.
    Answered {
        status: u16,
        headers: HeaderMap,
        body: Bytes,
        /// What to tell a person, when the gateway answered.
        reason: Option<String>,
    },
}

/// The thread that makes queued calls.
pub(crate) struct Delivery {
    jobs: Option<mpsc::UnboundedSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

struct Job {
    lease: Lease,
    attempts: u32,
    reply: oneshot::Sender<Attempt>,
}

impl Delivery {
    pub(crate) fn start(state: Arc<State>) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (jobs, queue) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new().name("delivery".to_owned()).spawn(move || {
            tokio::task::LocalSet::new().block_on(&runtime, work(state, queue));
        })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Makes one call. `attempts` is how many there will be at most. `None` when it was cut off, as at the end.
    pub(crate) async fn attempt(&self, lease: Lease, attempts: u32) -> Option<Attempt> {
        let (reply, answer) = oneshot::channel();
        self.jobs.as_ref()?.send(Job { lease, attempts, reply }).ok()?;
        answer.await.ok()
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        // The thread ends with its jobs' channel.
        self.jobs = None;
        if let Some(Err(_panic)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the delivery thread panicked");
        }
    }
}

async fn work(state: Arc<State>, mut queue: mpsc::UnboundedReceiver<Job>) {
    let invoker = Rc::new(Invoker::new(state));
    while let Some(Job { lease, attempts, mut reply }) = queue.recv().await {
        let invoker = Rc::clone(&invoker);
        // Ends with its job or with the thread; a panic ends the job, whose reply is dropped.
        drop(tokio::task::spawn_local(async move {
            let attempt = tokio::select! {
                attempt = attempt(&invoker, &lease, attempts) => attempt,
                () = reply.closed() => return,
            };
            drop(reply.send(attempt));
        }));
    }
}

async fn attempt(invoker: &Rc<Invoker>, lease: &Lease, attempts: u32) -> Attempt {
    let span = span(lease);
    let made = call(invoker, lease, attempts, &span);
    made.instrument(span.clone()).await
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

async fn call(invoker: &Rc<Invoker>, lease: &Lease, attempts: u32, span: &Span) -> Attempt {
    let invocation = &lease.invocation;
    let Some(function) = invoker.function(&invocation.function.to_string()) else { return Attempt::Gone };
    let mut underway = function.begin(invoker);
    let mut headers = headers(lease, attempts);
    trace::pass_on(span, &mut headers);
    let (Ok(method), Ok(uri)) =
        (Method::from_bytes(invocation.method.as_bytes()), invocation.path_and_query.parse::<Uri>())
    else {
        return answered(400, "the queued call's method or path is not one of HTTP".to_owned());
    };
    let response = invoker.call(&underway.function, invoker.state().config.upstream_timeout, |endpoint| {
        let mut made = Request::new(Body::Full(invocation.body.clone()));
        *made.method_mut() = method.clone();
        *made.uri_mut() = uri.clone();
        *made.headers_mut() = headers.clone();
        made.headers_mut().insert(HOST, endpoint.host.clone());
        Some(made)
    });
    let attempt = match response.await {
        Ok(response) => receive(response, invocation).await,
        Err(error) => {
            let refusal = refusal(&error);
            answered(refusal.status_code().as_u16(), refusal.to_string())
        }
    };
    if let Attempt::Answered { status, .. } = &attempt {
        underway.answered(*status);
    }
    attempt
}

async fn receive(response: forward::Response, invocation: &Invocation) -> Attempt {
    let (status, headers) = (response.status.as_u16(), response.headers);
    let body = if invocation.callback_url.is_some() {
        response.body.collect(ANSWER_LIMIT).await
    } else {
        drain(response.body).await
    };
    match body {
        Ok((body, true)) => Attempt::Answered { status, headers, body, reason: None },
        Ok((_, false)) => {
            let body =
                Bytes::from(format!("the answer is larger than {ANSWER_LIMIT} bytes, the most for a callback\n"));
            Attempt::Answered { status, headers, body, reason: None }
        }
        Err(error) => answered(502, format!("the answer of {} broke off: {error}", invocation.function)),
    }
}

/// Reads an answer that nobody wants to its end: a function that breaks off has failed.
async fn drain(mut body: forward::ResponseBody) -> Result<(Bytes, bool), forward::ForwardError> {
    while let Some(chunk) = body.chunk().await {
        chunk?;
    }
    Ok((Bytes::new(), true))
}

/// An answer of the gateway's own.
fn answered(status: u16, reason: String) -> Attempt {
    let internal = HeaderName::from_static(wire::header::INTERNAL);
    let headers = [(internal, HeaderValue::from_static("gateway"))].into_iter().collect();
    Attempt::Answered { status, headers, body: Bytes::from(format!("{reason}\n")), reason: Some(reason) }
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
