//! One HTTP exchange with the gateway, in bounded time and memory.

use crate::{ClientConfig, ClientError, tls};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONNECTION, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The largest answer that is read; a list of ten thousand functions is a tenth of it.
const ANSWER_LIMIT: usize = 64 * 1024 * 1024;
/// How long opening a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long an unused connection is kept. Shorter than servers keep theirs, so that none is used as it closes.
const IDLE_LIMIT: Duration = Duration::from_secs(4);
/// How much of a refusal's text is repeated.
const LINE_LIMIT: usize = 300;

/// Connections to one gateway.
pub(crate) struct Transport {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    authorization: Option<HeaderValue>,
    time_limit: Duration,
    /// The last exchange came to nothing. Its connection may lead to whoever has the gateway's address now: a cluster gives
    /// addresses away again, and what is connected stays so.
    is_doubtful: AtomicBool,
}

/// What came back, body read.
pub(crate) struct Answer {
    pub(crate) method: &'static str,
    pub(crate) url: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What to ask.
pub(crate) struct Ask<'a> {
    pub(crate) method: &'static str,
    pub(crate) path: &'a str,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Whether the credentials go along.
    pub(crate) signed: bool,
}

impl Transport {
    pub(crate) fn new(config: &ClientConfig) -> Result<Self, ClientError> {
        let refuse = |why: &str| ClientError::Url { url: shown(&config.url), why: why.to_owned() };
        let url = url::Url::parse(config.url.trim()).map_err(|error| refuse(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refuse("it is neither http:// nor https://"));
        }
        if url.host_str().is_none() || url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("it has no host, or a query"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("user and password belong into files (basic_auth, secret_mount_path)"));
        }
        let authorization = match &config.credentials {
            Some(credentials) => {
                let mut value = HeaderValue::try_from(credentials.authorization())
                    .expect("base64 holds only what a header value may hold");
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        let tls = if url.scheme() == "https" { tls::trusting(config.ca.as_deref()) } else { tls::trusting_nobody() }?;
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_LIMIT));
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_LIMIT)
            .build(connector);
        let base = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { client, base, authorization, time_limit: config.time_limit, is_doubtful: AtomicBool::new(false) })
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Asks and reads the whole answer, whatever its status.
    pub(crate) async fn exchange(&self, ask: Ask<'_>) -> Result<Answer, ClientError> {
        let (method, url) = (ask.method, format!("{}{}", self.base, ask.path));
        let wrong = |why: String| ClientError::Request { url: url.clone(), why };
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).map_err(|error| wrong(error.to_string()))?)
            .uri(&url)
            .body(Full::new(ask.body))
            .map_err(|error| wrong(error.to_string()))?;
        *request.headers_mut() = ask.headers;
        if let Some(authorization) = self.authorization.as_ref().filter(|_| ask.signed) {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        if self.is_doubtful.load(Ordering::Relaxed) {
            request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| chain(&error))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_LIMIT).collect().await.map_err(|error| chain(&*error))?.to_bytes();
            Ok((parts, body))
        };
        let ended = tokio::time::timeout(self.time_limit, exchange).await;
        let is_good =
            matches!(&ended, Ok(Ok((parts, _))) if !parts.status.is_client_error() && !parts.status.is_server_error());
        self.is_doubtful.store(!is_good, Ordering::Relaxed);
        match ended {
            Ok(Ok((parts, body))) => Ok(Answer { method, url, status: parts.status, headers: parts.headers, body }),
            Ok(Err(why)) => Err(ClientError::Unreachable { method, url, why }),
            Err(_) => Err(ClientError::TimeLimit { method, url, limit: self.time_limit }),
        }
    }
}

impl Answer {
    /// The answer when its status is 2xx, else the refusal.
    pub(crate) fn accepted(self) -> Result<Self, ClientError> {
        if self.status.is_success() {
            return Ok(self);
        }
        let text = String::from_utf8_lossy(&self.body);
        let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason given");
        let line = line.chars().take(LINE_LIMIT).collect();
        Err(ClientError::Refused { method: self.method, url: self.url, status: self.status.as_u16(), line })
    }
}

/// An error with its causes, since hyper's own text says only which step failed.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A URL without what may be a password.
fn shown(url: &str) -> String {
    let shown = match url.rsplit_once('@') {
        Some((_, rest)) => rest,
        None => url,
    };
    shown.chars().take(200).collect()
}
