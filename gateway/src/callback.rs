//! The result of an asynchronous call, posted to the URL its caller gave. One attempt in bounded time, beside
//! delivery; failures are logged.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::http::uri::InvalidUri;
use hyper::{Method, Request, Uri};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::percent_decode_str;
use queue::Invocation;
use rustls::{ClientConfig, RootCertStore};
use std::iter::once;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;
use wire::header;

/// How long a callback may take.
const LIMIT: Duration = Duration::from_secs(30);
/// How long opening a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How many callbacks are under way at a time.
const AT_A_TIME: u32 = 16;
/// How long a callback waits while so many are under way.
const ROOM_LIMIT: Duration = Duration::from_secs(5);

type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Posts results.
pub(crate) struct Callbacks {
    client: OnceLock<HttpClient>,
    room: Arc<Semaphore>,
}

impl Default for Callbacks {
    fn default() -> Self {
        Self { client: OnceLock::new(), room: Arc::new(Semaphore::new(AT_A_TIME as usize)) }
    }
}

/// How a call ended, as its caller is told.
pub(crate) struct Ended<'a> {
    pub(crate) status: u16,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: Bytes,
    /// What the body takes; given back when it has been posted.
    pub(crate) room: Option<OwnedSemaphorePermit>,
    pub(crate) took: Duration,
    /// Attempts before the last one.
    pub(crate) retries: u32,
    pub(crate) max_retries: u32,
}

impl Callbacks {
    /// Starts to post the result, if the caller asked for it. Waits only when too many are being posted, and not long.
    pub(crate) async fn post(&self, invocation: &Invocation, mut ended: Ended<'_>) {
        let Some(url) = &invocation.callback_url else { return };
        let (function, call_id, url) = (invocation.function.clone(), invocation.call_id.clone(), shown(url));
        let room = Arc::clone(&self.room).acquire_owned();
        let Ok(Ok(room)) = tokio::time::timeout(ROOM_LIMIT, room).await else {
            tracing::warn!(%function, call_id, url, limit = AT_A_TIME, "a callback is dropped: too many are under way");
            return;
        };
        let answer = ended.room.take();
        let request = match request(invocation, ended) {
            Ok(request) => request,
            Err(error) => return tracing::warn!(%function, call_id, url, error, "a callback failed"),
        };
        let client = self.client().clone();
        let posting = async move {
            let _room = (room, answer);
            match tokio::time::timeout(LIMIT, exchange(&client, request)).await {
                Ok(Ok(status)) if status < 400 => tracing::debug!(%function, call_id, url, status, "callback posted"),
                Ok(Ok(status)) => tracing::warn!(%function, call_id, url, status, "a callback was refused"),
                Ok(Err(error)) => tracing::warn!(%function, call_id, url, error, "a callback failed"),
                Err(_) => tracing::warn!(%function, call_id, url, "a callback took too long"),
            }
        };
        // It lives as long as the delivery thread, which waits for it.
        drop(tokio::spawn(posting));
    }

    /// Waits until no callback is under way.
    pub(crate) async fn idle(&self) {
        self.room.acquire_many(AT_A_TIME).await.map(drop).unwrap_or_default();
    }

    fn client(&self) -> &HttpClient {
        self.client.get_or_init(|| {
            let mut http = HttpConnector::new();
            http.enforce_http(false);
            http.set_nodelay(true);
            http.set_connect_timeout(Some(CONNECT_LIMIT));
            let connector =
                HttpsConnectorBuilder::new().with_tls_config(tls()).https_or_http().enable_http1().wrap_connector(http);
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(4).build(connector)
        })
    }
}

fn request(invocation: &Invocation, ended: Ended<'_>) -> Result<Request<Full<Bytes>>, String> {
    let url = invocation.callback_url.as_deref().unwrap_or_default();
    let (uri, authorization) = destination(&Url::parse(url).map_err(|error| error.to_string())?)?;
    let mut headers = headers(invocation, &ended);
    // The caller's own, rather than one that the function has answered with.
    if let Some(authorization) = authorization {
        headers.insert(AUTHORIZATION, authorization);
    }
    let mut request = Request::new(Full::new(ended.body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

/// What is asked for to post to a URL, and the `Authorization` that its name and password make.
pub(crate) fn destination(url: &Url) -> Result<(Uri, Option<HeaderValue>), String> {
    let uri = bare(url.clone()).as_str().parse().map_err(|error: InvalidUri| error.to_string())?;
    let (name, password) = (url.username(), url.password());
    if name.is_empty() && password.is_none() {
        return Ok((uri, None));
    }
    let both: Vec<u8> =
        percent_decode_str(name).chain(once(b':')).chain(percent_decode_str(password.unwrap_or_default())).collect();
    let value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(both)));
    let mut value = value.map_err(|error| error.to_string())?;
    value.set_sensitive(true);
    Ok((uri, Some(value)))
}

/// The URL without name and password.
fn bare(mut url: Url) -> Url {
    // Only URLs without a host refuse these, and have none.
    url.set_username("").and_then(|()| url.set_password(None)).unwrap_or_default();
    url
}

async fn exchange(client: &HttpClient, request: Request<Full<Bytes>>) -> Result<u16, String> {
    let response = client.request(request).await.map_err(|error| chain(&error))?;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    // Read so that the connection can be used again, and not for ever.
    let mut left: usize = 1 << 20;
    while let Some(Ok(frame)) = body.frame().await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            break;
        }
    }
    Ok(status)
}

/// A callback's URL as the log shows it: without name, password and query, which may be secret.
fn shown(url: &str) -> String {
    let Ok(url) = Url::parse(url) else { return "(no URL)".to_owned() };
    let mut url = bare(url);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// Trusts whom the machine trusts.
fn tls() -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the cipher suites of the default versions");
    match builder.clone().with_native_roots() {
        Ok(trusting) => trusting.with_no_client_auth(),
        Err(error) => {
            tracing::warn!(%error, "the machine's certificates cannot be read; callbacks to https:// will fail");
            builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
        }
    }
}

fn headers(invocation: &Invocation, ended: &Ended<'_>) -> HeaderMap {
    let mut headers = ended.headers.clone();
    forward::strip_hop_by_hop(&mut headers);
    headers.remove(hyper::header::CONTENT_LENGTH);
    headers.remove(hyper::header::HOST);
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    set(header::CALL_ID, &invocation.call_id);
    set(header::FUNCTION_NAME, &invocation.function.to_string());
    set(header::FUNCTION_STATUS, &ended.status.to_string());
    set(header::DURATION_SECONDS, &format!("{:.6}", ended.took.as_secs_f64()));
    set(header::START_TIME, &(u128::from(invocation.accepted_at) * 1_000_000).to_string());
    set(header::RETRY, &ended.retries.to_string());
    set(header::RETRY_MAX, &ended.max_retries.to_string());
    if let Some(trace) = &invocation.trace {
        set(header::TRACEPARENT, &trace.traceparent);
        set(header::TRACESTATE, &trace.tracestate);
    }
    headers.insert(USER_AGENT, HeaderValue::from_static(crate::PRODUCT));
    headers
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_shows_no_secret_of_a_callback() {
        assert_eq!(shown("https://user:secret@example.com:8443/a/b?token=secret#c"), "https://example.com:8443/a/b");
        assert_eq!(shown("secret"), "(no URL)");
        let (uri, authorization) = destination(&Url::parse("https://user:secret@example.com/a").unwrap()).unwrap();
        assert_eq!(format!("{uri} {authorization:?}"), "https://example.com/a Some(Sensitive)");
    }

    #[test]
    fn name_and_password_of_a_url_are_sent_as_basic_authorization() {
        for (url, said) in [
            ("http://till/", None),
            ("http://me@till/", Some("me:")),
            ("http://:pass@till/", Some(":pass")),
            ("http://m%C3%A9:a%3Ab%40%2f+%@till/", Some("mé:a:b@/+%")),
        ] {
            let (uri, authorization) = destination(&Url::parse(url).unwrap()).unwrap();
            let said = said.map(|said| format!("Basic {}", STANDARD.encode(said)));
            assert_eq!(
                (uri.to_string().as_str(), authorization.as_ref().map(HeaderValue::as_bytes)),
                ("http://till/", said.as_deref().map(str::as_bytes))
            );
        }
    }
}
