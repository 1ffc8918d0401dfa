//! The result of an asynchronous call, posted to the URL its caller gave. One attempt in bounded time; failures are
//! logged.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use queue::Invocation;
use rustls::{ClientConfig, RootCertStore};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use wire::header;

/// How long a callback may take.
const LIMIT: Duration = Duration::from_secs(30);
/// How long opening a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Posts results.
#[derive(Default)]
pub(crate) struct Callbacks(OnceLock<HttpClient>);

/// How a call ended, as its caller is told.
pub(crate) struct Ended<'a> {
    pub(crate) status: u16,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) took: Duration,
    /// Attempts before the last one.
    pub(crate) retries: u32,
    pub(crate) max_retries: u32,
}

impl Callbacks {
    /// Posts the result, if the caller asked for it.
    pub(crate) async fn post(&self, invocation: &Invocation, ended: Ended<'_>) {
        let Some(url) = &invocation.callback_url else { return };
        let (function, call_id) = (&invocation.function, &invocation.call_id);
        let posting = self.exchange(url, invocation, ended);
        match tokio::time::timeout(LIMIT, posting).await {
            Ok(Ok(status)) if status < 400 => tracing::debug!(%function, call_id, url, status, "callback posted"),
            Ok(Ok(status)) => tracing::warn!(%function, call_id, url, status, "a callback was refused"),
            Ok(Err(error)) => tracing::warn!(%function, call_id, url, error, "a callback failed"),
            Err(_) => tracing::warn!(%function, call_id, url, "a callback took too long"),
        }
    }

    async fn exchange(&self, url: &str, invocation: &Invocation, ended: Ended<'_>) -> Result<u16, String> {
        let mut request = Request::new(Full::new(ended.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.parse().map_err(|error| format!("{error}"))?;
        *request.headers_mut() = headers(invocation, &ended);
        let response = self.client().request(request).await.map_err(|error| chain(&error))?;
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

    fn client(&self) -> &HttpClient {
        self.0.get_or_init(|| {
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
