//! From `main` to the last call: settings, the thread's runtime, signals, the handler as a [`Service`].

use crate::call_id::CurrentCall;
use crate::server::{CallInfo, Leave, Server, Service, Signals, refuse, stamp};
use crate::settings::{EXIT_USAGE, Settings};
use crate::{Context, Handler, Request, Response, door, log};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::http::request::Parts;
use hyper::http::{self, StatusCode};
use std::cell::OnceCell;
use std::convert::Infallible;
use std::fmt::Display;
use std::pin::pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

/// Serves `handler` until the platform stops the function. The whole of a function's `main`.
pub fn serve(handler: impl Handler) -> ExitCode {
    serve_with(async |_| Ok::<_, Infallible>(handler))
}

/// Serves the handler that `init` makes: for functions that open data, read secrets or have work to do at their start.
///
/// While `init` works, health is good, readiness is not, and calls are answered 503. If it fails, its error is logged
/// and the process ends with 1, so that the platform starts it again.
pub fn serve_with<H, E>(init: impl AsyncFnOnce(Context) -> Result<H, E>) -> ExitCode
where
    H: Handler,
    E: Display,
{
    let settings = match Settings::from_env(door::environment) {
        Ok(settings) => settings,
        Err(error) => {
            log(error);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    on_one_thread(async {
        let (server, mut signals) = match (Server::bind(settings.clone()), Signals::new()) {
            (Ok(server), Ok(signals)) => (server, signals),
            (Err(error), _) => return failed(error),
            (_, Err(error)) => return failed(format_args!("signals cannot be caught: {error}")),
        };
        let function = Rc::new(Function::new(&settings));
        let (leave, left) = tokio::sync::oneshot::channel();
        let run = server.run(Rc::clone(&function), async move {
            // The sender is kept until the first signal.
            left.await.unwrap_or(Leave::AtOnce)
        });
        let start = async {
            match init(Context::from_process()).await {
                Ok(handler) => {
                    function.start(handler);
                    std::future::pending().await
                }
                Err(error) => failed(error),
            }
        };
        let signals = async {
            let first = signals.next().await;
            leave.send(first).unwrap_or_default();
            signals.next().await;
            log("told to stop twice: ending at once");
        };
        tokio::select! {
            code = start => code,
            () = run => ExitCode::SUCCESS,
            () = signals => ExitCode::FAILURE,
        }
    })
}

fn failed(error: impl Display) -> ExitCode {
    log(error);
    ExitCode::FAILURE
}

/// Runs `work` on this thread, where tasks need not be `Send`. Nothing of it is left when this returns.
pub fn on_one_thread<F: Future>(work: F) -> F::Output {
    let runtime = runtime();
    let output = LocalSet::new().block_on(&runtime, work);
    // A thread that still looks up a name must not hold the process.
    runtime.shutdown_background();
    output
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("the system gives an epoll descriptor and a pipe")
}

/// A handler as a service: whole bodies, time limits, one task a call.
pub(crate) struct Function<H> {
    /// Empty while the function starts.
    handler: OnceCell<Rc<H>>,
    body_limit: usize,
    read_timeout: Duration,
}

impl<H: Handler> Function<H> {
    pub(crate) fn new(settings: &Settings) -> Self {
        let read_timeout = settings.read_timeout.unwrap_or(settings.write_timeout);
        Self { handler: OnceCell::new(), body_limit: settings.body_limit, read_timeout }
    }

    pub(crate) fn start(&self, handler: H) {
        self.handler.set(Rc::new(handler)).ok().expect("started once");
    }

    async fn read<B>(&self, body: B) -> Result<Bytes, (StatusCode, String)>
    where
        B: Body<Data = Bytes, Error: Into<crate::server::BoxError>>,
    {
        let whole = tokio::time::timeout(self.read_timeout, Limited::new(body, self.body_limit).collect());
        match whole.await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err((
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body has more than {} bytes (setting body_limit)\n", self.body_limit),
            )),
            Ok(Err(error)) => Err((StatusCode::BAD_REQUEST, format!("the body broke off: {error}\n"))),
            Err(_) => Err((
                StatusCode::REQUEST_TIMEOUT,
                format!("the body did not arrive within {:?} (setting read_timeout)\n", self.read_timeout),
            )),
        }
    }
}

impl<H: Handler> Service for Function<H> {
    type Body = Full<Bytes>;

    async fn call(self: Rc<Self>, request: http::Request<Incoming>, call: CallInfo) -> http::Response<Full<Bytes>> {
        let CallInfo { id, started, limit, permit, .. } = call;
        let Some(handler) = self.handler.get().map(Rc::clone) else {
            return refuse(StatusCode::SERVICE_UNAVAILABLE, "the function is starting; try again\n", started);
        };
        let (parts, body) = request.into_parts();
        let body = match self.read(body).await {
            Ok(body) => body,
            Err((status, text)) => return refuse(status, text, started),
        };
        // A task of its own: a caller that goes away must not stop a call half-way, and a panic ends this call only.
        let task = tokio::task::spawn_local(async move {
            let current = CurrentCall::new(&id, &parts.headers);
            let work = async { handler.handle(whole(parts, body, id)).await };
            let answer = current.scope(within(limit, work)).await;
            drop(permit);
            answer
        });
        match task.await {
            Ok(Some(response)) => answered(response, started),
            Ok(None) => refuse(StatusCode::GATEWAY_TIMEOUT, "", started),
            Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "the function panicked; its log says why\n", started),
        }
    }

    async fn ready(self: Rc<Self>) -> http::Response<Full<Bytes>> {
        let status = if self.handler.get().is_some() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let mut response = http::Response::new(Full::default());
        *response.status_mut() = status;
        response
    }
}

/// `work`, or nothing when it takes longer than `limit`.
async fn within<F: Future>(limit: Option<Duration>, work: F) -> Option<F::Output> {
    match limit {
        None => Some(work.await),
        Some(limit) => {
            let work = pin!(work);
            tokio::time::timeout(limit, work).await.ok()
        }
    }
}

fn whole(parts: Parts, body: Bytes, call_id: String) -> Request {
    Request {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers,
        body,
        call_id,
    }
}

fn answered(response: Response, started: Instant) -> http::Response<Full<Bytes>> {
    let (status, headers, body) = response.into_parts();
    let mut response = http::Response::new(Full::new(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    // The length is the body's, whatever the handler copied from elsewhere.
    response.headers_mut().remove(http::header::CONTENT_LENGTH);
    response.headers_mut().remove(http::header::TRANSFER_ENCODING);
    stamp(response.headers_mut(), started);
    response
}
