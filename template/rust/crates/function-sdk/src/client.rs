//! HTTP/1.1 to one address, over connections that are kept: what [`crate::Gateway`] and the tests call with.

use crate::{Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::http::header::{CONTENT_TYPE, HOST};
use hyper::http::{self, HeaderMap, HeaderName, HeaderValue, Method};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::{TcpStream, UnixStream};
use wire::header;

/// How long a call may take unless [`Call::within`] says otherwise.
const DEFAULT_LIMIT: Duration = Duration::from_secs(30);
/// The largest answer, in bytes.
const ANSWER_LIMIT: usize = 16 * 1024 * 1024;
/// The most connections kept while no call uses them, and for how long: less than servers keep theirs, so that a call
/// rarely meets one that is just being closed.
const IDLE_CONNECTIONS: usize = 8;
const IDLE_FOR: Duration = Duration::from_secs(3);

/// A call to make.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
    limit: Duration,
    /// Why the call cannot be made, found while it was put together.
    flaw: Option<String>,
}

impl Call {
    /// A call with any method. The path may carry a query.
    #[must_use]
    pub fn new(method: Method, path: &str) -> Self {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Self { method, path, headers: HeaderMap::new(), body: Bytes::new(), limit: DEFAULT_LIMIT, flaw: None }
    }

    /// POST.
    #[must_use]
    pub fn post(path: &str) -> Self {
        Self::new(Method::POST, path)
    }

    /// GET.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self::new(Method::GET, path)
    }

    /// Sets a JSON body.
    #[must_use]
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(json) => {
                self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                self.body = json.into();
            }
            Err(error) => self.flaw = Some(format!("its body cannot be written as JSON: {error}")),
        }
        self
    }

    /// Sets the body's bytes and nothing else.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => drop(self.headers.insert(name, value)),
            _ => self.flaw = Some(format!("HTTP does not allow the header {name:?} or its value")),
        }
        self
    }

    /// Limits how long the call may take, from connecting to the answer's last byte; 30 s unless set.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Passes a request's trace context on. A call made while a request is answered passes that request's on by
    /// itself; this is for work done later.
    #[must_use]
    pub fn on_behalf_of(mut self, request: &Request) -> Self {
        for name in [header::TRACEPARENT, header::TRACESTATE] {
            self.pass_on(name, request.headers.get(name).cloned());
        }
        self
    }

    pub(crate) fn pass_on(&mut self, name: &'static str, value: Option<HeaderValue>) {
        if let Some(value) = value {
            self.headers.entry(name).or_insert(value);
        }
    }

    pub(crate) fn prefix(mut self, prefix: &str) -> Self {
        self.path.insert_str(0, prefix);
        self
    }
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The platform named no gateway.
    #[error("no gateway to call {function:?} at: the environment variable gateway_url is not set")]
    NoGateway {
        /// Whom the call was for.
        function: String,
    },
    /// The gateway's address cannot be used.
    #[error("gateway_url={url}: {why}; give http:// with a numeric address and a port, such as http://127.0.0.1:8080")]
    Address {
        /// The address as given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The call itself cannot be made.
    #[error("the call of {path} cannot be made: {why}")]
    Invalid {
        /// The path.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// No connection: nothing was sent.
    #[error("{to} cannot be reached: {source}")]
    Connect {
        /// The address.
        to: String,
        /// Why.
        source: io::Error,
    },
    /// No whole answer in time. Whether the call was carried out is not known.
    #[error("{to} gave no whole answer to {path} within {limit:?}")]
    Timeout {
        /// The address.
        to: String,
        /// The path.
        path: String,
        /// The call's limit.
        limit: Duration,
    },
    /// The connection broke. Whether the call was carried out is not known.
    #[error("the call of {path} at {to} broke off: {source}")]
    Broken {
        /// The address.
        to: String,
        /// The path.
        path: String,
        /// Why.
        source: hyper::Error,
    },
    /// The answer has more than 16 MiB.
    #[error("{to} answered {path} with more than {ANSWER_LIMIT} bytes")]
    TooLarge {
        /// The address.
        to: String,
        /// The path.
        path: String,
    },
}

impl CallError {
    /// Whether nothing was sent, so that calling again cannot do anything twice.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        !matches!(self, Self::Timeout { .. } | Self::Broken { .. } | Self::TooLarge { .. })
    }
}

/// Where to connect to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Address {
    /// Host, numeric or not, and port.
    Tcp(String, u16),
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(formatter, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(formatter, "{host}:{port}"),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

type Connection = SendRequest<Full<Bytes>>;

/// Calls one address. Clones share their connections.
#[derive(Clone)]
pub(crate) struct Client {
    address: Rc<Address>,
    idle: Rc<RefCell<Vec<(Connection, Instant)>>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Client({})", self.address)
    }
}

impl Client {
    pub(crate) fn new(address: Address) -> Self {
        Self { address: Rc::new(address), idle: Rc::default() }
    }

    /// Makes a call and reads the whole answer.
    pub(crate) async fn send(&self, call: Call) -> Result<Response, CallError> {
        let (limit, path) = (call.limit, call.path.clone());
        let request = self.request(call)?;
        match tokio::time::timeout(limit, self.exchange(request, &path)).await {
            Ok(result) => result,
            Err(_) => Err(CallError::Timeout { to: self.address.to_string(), path, limit }),
        }
    }

    fn request(&self, call: Call) -> Result<http::Request<Full<Bytes>>, CallError> {
        let Call { method, path, headers, body, flaw, .. } = call;
        let invalid = |why: String| CallError::Invalid { path: path.clone(), why };
        if let Some(flaw) = flaw {
            return Err(invalid(flaw));
        }
        let mut request = http::Request::builder()
            .method(method)
            .uri(path.as_str())
            .body(Full::new(body))
            .map_err(|error| invalid(error.to_string()))?;
        *request.headers_mut() = headers;
        let host = match &*self.address {
            Address::Unix(_) => HeaderValue::from_static("localhost"),
            tcp @ Address::Tcp(..) => {
                HeaderValue::from_str(&tcp.to_string()).map_err(|error| invalid(error.to_string()))?
            }
        };
        request.headers_mut().entry(HOST).or_insert(host);
        Ok(request)
    }

    async fn exchange(&self, request: http::Request<Full<Bytes>>, path: &str) -> Result<Response, CallError> {
        let broken = |source| CallError::Broken { to: self.address.to_string(), path: path.to_owned(), source };
        let mut request = Some(request);
        // Idle connections first. One that the other side has closed gives the request back unsent.
        let (mut connection, answer) = loop {
            let idle = self.take_idle();
            let fresh = idle.is_none();
            let mut connection = match idle {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            let sent = request.take().expect("a request that was not sent is put back");
            match connection.try_send_request(sent).await {
                Ok(answer) => break (connection, answer),
                Err(mut error) => match error.take_message() {
                    Some(unsent) if !fresh => request = Some(unsent),
                    _ => return Err(broken(error.into_error())),
                },
            }
        };
        let (parts, body) = answer.into_parts();
        let body = match Limited::new(body, ANSWER_LIMIT).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => match error.downcast::<hyper::Error>() {
                Ok(error) => return Err(broken(*error)),
                Err(other) => {
                    debug_assert!(other.is::<LengthLimitError>(), "{other}");
                    return Err(CallError::TooLarge { to: self.address.to_string(), path: path.to_owned() });
                }
            },
        };
        if connection.ready().await.is_ok() {
            self.keep(connection);
        }
        Ok(Response::from_parts(parts.status, parts.headers, body))
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|(connection, since)| !connection.is_closed() && since.elapsed() < IDLE_FOR);
        Some(idle.pop()?.0)
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE_CONNECTIONS {
            idle.push((connection, Instant::now()));
        }
    }

    async fn connect(&self) -> Result<Connection, CallError> {
        let refused = |source| CallError::Connect { to: self.address.to_string(), source };
        match &*self.address {
            Address::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(refused)?;
                stream.set_nodelay(true).map_err(refused)?;
                handshake(stream).await.map_err(refused)
            }
            Address::Unix(path) => handshake(UnixStream::connect(path).await.map_err(refused)?).await.map_err(refused),
        }
    }
}

async fn handshake<S>(stream: S) -> io::Result<Connection>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Ends when its sender is dropped or the peer closes; what went wrong, the sender is told.
    drop(tokio::task::spawn_local(async move { connection.await.unwrap_or_default() }));
    Ok(sender)
}
