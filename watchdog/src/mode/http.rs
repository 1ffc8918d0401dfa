//! Mode http: one process, which serves HTTP itself.

mod address;
mod websocket;

use crate::BuildError;
use crate::config::Config;
use crate::reply::Reply;
use address::{Address, CONNECT};
use bytes::Bytes;
use forward::{Body, ForwardError, Limits, Pool, Reason, SMALL_BODY, Settings, Target};
use function_sdk::log;
use function_sdk::server::{BoxError, CallInfo, refuse, stamp};
use futures_util::TryStreamExt;
use http_body_util::{BodyExt, BodyStream, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{ACCEPT, CONTENT_LENGTH, HOST, HeaderValue};
use hyper::http::uri::InvalidUri;
use hyper::{Method, Request, Response, StatusCode, Uri};
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long a connection to the process is kept while no call uses it: shorter than servers keep theirs, so that a
/// call rarely meets one that is just being closed.
const IDLE_FOR: Duration = Duration::from_millis(1500);
/// How long a readiness question may take, and how long its answer may be.
const READY_WITHIN: Duration = Duration::from_secs(5);
const READY_LENGTH: usize = 64 * 1024;

/// Where the process serves.
pub(crate) struct Upstream {
    address: Address,
    /// What stands before every path; empty as a rule.
    base: String,
    /// Connections live on a `LocalSet`, so they begin with the first call.
    target: OnceCell<Rc<Target>>,
    buffer_body: bool,
    body_limit: usize,
    read_timeout: Duration,
    write_timeout: Duration,
    ready_path: Option<String>,
}

impl Upstream {
    /// Reads the URL and looks its host up, once.
    pub(crate) async fn resolve(url: &str, config: &Config) -> Result<Self, BuildError> {
        let (address, base) = Address::resolve(url).await?;
        let settings = &config.settings;
        Ok(Self {
            address,
            base,
            target: OnceCell::new(),
            buffer_body: config.buffer_body,
            body_limit: settings.body_limit,
            read_timeout: settings.read_timeout.unwrap_or(settings.write_timeout),
            write_timeout: settings.write_timeout,
            ready_path: config.ready_path.clone(),
        })
    }

    fn target(&self) -> &Rc<Target> {
        self.target.get_or_init(|| {
            let pool = Pool::new(Settings { idle_for: IDLE_FOR, ..Settings::default() });
            pool.target(&self.address.upstream())
        })
    }

    /// Passes a call on, and the answer back.
    pub(crate) async fn call(&self, request: Request<Incoming>, call: CallInfo) -> Response<Reply> {
        if websocket::is_asked_for(&request) {
            return self.websocket(request, call).await;
        }
        let (parts, body) = request.into_parts();
        let total = match call.limit {
            Some(limit) if !is_stream(parts.headers.get(ACCEPT)) => limit,
            _ => self.write_timeout,
        };
        let uri = match self.uri(&parts.uri) {
            Ok(uri) => uri,
            Err(error) => return refuse(StatusCode::BAD_REQUEST, error.to_string(), call.started).map(Reply::from),
        };
        let body = match self.body(body, parts.headers.contains_key(CONTENT_LENGTH)).await {
            Ok(body) => body,
            Err((status, text)) => return refuse(status, text, call.started).map(Reply::from),
        };
        // What can be sent once more is a body that is held whole.
        let again = match &body {
            Body::Empty => Some(Bytes::new()),
            Body::Full(bytes) => Some(bytes.clone()),
            Body::Stream { .. } => None,
        };
        let is_empty = matches!(body, Body::Empty);
        let first = RefCell::new(Some(body));
        let result = self
            .target()
            .send(Limits { connect: CONNECT, total }, || {
                let body = first.take().or_else(|| match (&again, is_empty) {
                    (Some(_), true) => Some(Body::Empty),
                    (Some(bytes), false) => Some(Body::Full(bytes.clone())),
                    (None, _) => None,
                })?;
                let mut request = Request::new(body);
                *request.method_mut() = parts.method.clone();
                *request.uri_mut() = uri.clone();
                *request.headers_mut() = parts.headers.clone();
                request.headers_mut().entry(HOST).or_insert(HeaderValue::from_static("localhost"));
                Some(request)
            })
            .await;
        match result {
            Ok(answer) => {
                let mut response = Response::new(Reply::from(answer.body));
                *response.status_mut() = answer.status;
                *response.headers_mut() = answer.headers;
                stamp(response.headers_mut(), call.started);
                response
            }
            Err(error) => failed(&error, &call.id, call.started).map(Reply::from),
        }
    }

    fn uri(&self, asked: &Uri) -> Result<Uri, InvalidUri> {
        self.beneath(asked.path_and_query().map_or("/", |path| path.as_str()))
    }

    fn beneath(&self, path_and_query: &str) -> Result<Uri, InvalidUri> {
        if self.base.is_empty() { path_and_query.parse() } else { format!("{}{path_and_query}", self.base).parse() }
    }

    /// Small bodies of known length are held, so that they leave with the head and can be sent once more; others are
    /// streamed, with their length when there is one.
    async fn body(&self, body: Incoming, has_length: bool) -> Result<Body, (StatusCode, String)> {
        if body.is_end_stream() {
            return Ok(if has_length { Body::Full(Bytes::new()) } else { Body::Empty });
        }
        let length = body.size_hint().exact();
        let is_small = length.is_some_and(|length| length <= SMALL_BODY as u64);
        if !is_small && !self.buffer_body {
            let chunks = BodyStream::new(body).try_filter_map(|frame| async { Ok(frame.into_data().ok()) });
            return Ok(Body::stream(chunks.map_err(BoxError::from), length));
        }
        match tokio::time::timeout(self.read_timeout, Limited::new(body, self.body_limit).collect()).await {
            Ok(Ok(body)) => Ok(Body::Full(body.to_bytes())),
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

    /// What the function says at `ready_path`; without one it is ready when its process takes connections.
    pub(crate) async fn ready(&self) -> Response<Full<Bytes>> {
        let Some(path) = &self.ready_path else {
            let is_ready = self.address.connect().await.is_ok();
            let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            return empty(status);
        };
        let limits = Limits { connect: READY_WITHIN, total: READY_WITHIN };
        let asked = self.target().send(limits, || {
            let mut request = Request::new(Body::Empty);
            *request.method_mut() = Method::GET;
            *request.uri_mut() = self.beneath(&format!("/{}", path.trim_start_matches('/'))).ok()?;
            request.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
            Some(request)
        });
        match asked.await {
            Ok(answer) => {
                let body = answer.body.collect(READY_LENGTH).await.map(|(body, _)| body).unwrap_or_default();
                let mut response = Response::new(Full::new(body));
                *response.status_mut() = answer.status;
                response
            }
            Err(_) => empty(StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// Whether the caller reads events as they come: those are bounded by `write_timeout` only.
fn is_stream(accept: Option<&HeaderValue>) -> bool {
    let accept = accept.and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.contains("text/event-stream") || accept.contains("application/x-ndjson")
}

fn failed(error: &ForwardError, call_id: &str, started: Instant) -> Response<Full<Bytes>> {
    log(format_args!("{error} [{call_id}]"));
    let status = match error.reason {
        Reason::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
        Reason::RequestBody(_) => StatusCode::BAD_REQUEST,
        Reason::Connect(_) | Reason::Closed(_) | Reason::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    refuse(status, "", started)
}
