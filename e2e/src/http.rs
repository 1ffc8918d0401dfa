//! A plain HTTP client, as `curl` would be one.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;
use std::time::Duration;

/// How long a connection is kept that nothing is sent on.
const IDLE: Duration = Duration::from_secs(5);
/// How long any answer may take: whoever is connected to what has gone with its node hears nothing for minutes.
const ANSWERS: Duration = Duration::from_secs(120);

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// A header's text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A client with a pool of connections.
#[derive(Clone, Debug)]
pub struct Http(Client<HttpConnector, Full<Bytes>>);

impl Default for Http {
    fn default() -> Self {
        // Shorter than a server keeps them: a request on a connection that is just being closed fails.
        Self(Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE).pool_timer(TokioTimer::new()).build_http())
    }
}

impl Http {
    /// A client that connects anew for each request, as tills do. A connection that was made while a Service had nobody may
    /// have left the machine: whoever keeps it is answered from there for as long as he asks.
    #[must_use]
    pub fn without_pool() -> Self {
        Self(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http())
    }

    /// Sends one request. An error is one of the connection, never a status.
    pub async fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).map_err(|error| error.to_string())?;
        let answer = tokio::time::timeout(ANSWERS, self.answer(request)).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("no whole answer within {ANSWERS:?}")));
        answer.map_err(|error| format!("{url}: {error}"))
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Result<Answer, String> {
        let response = self.0.request(request).await.map_err(|error| format!("{error:?}"))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
        Ok(Answer { status: StatusCode::as_u16(&head.status), headers: head.headers, body })
    }

    /// GET.
    pub async fn get(&self, url: &str) -> Result<Answer, String> {
        self.send("GET", url, &[], Bytes::new()).await
    }

    /// POST.
    pub async fn post(&self, url: &str, body: impl Into<Bytes>) -> Result<Answer, String> {
        self.send("POST", url, &[], body).await
    }
}
