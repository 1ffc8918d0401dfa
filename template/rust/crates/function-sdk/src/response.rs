//! What a handler answers, and what a call of another function gives back.

use bytes::Bytes;
use hyper::http::header::CONTENT_TYPE;
use hyper::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;

/// An answer: status, headers, body.
#[derive(Clone, Debug, Default)]
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Response {
    /// An empty answer. A number that is no HTTP status is 500.
    #[must_use]
    pub fn new(status: impl TryInto<StatusCode>) -> Self {
        let status = status.try_into().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, ..Self::default() }
    }

    /// An empty 200.
    #[must_use]
    pub fn ok() -> Self {
        Self::default()
    }

    /// Sets a header. A name or value that HTTP does not allow is left out, with a line in the log.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => drop(self.headers.insert(name, value)),
            _ => crate::log(format_args!("the answer's header {name:?} is left out: HTTP does not allow {value:?}")),
        }
        self
    }

    /// Sets a text body.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        self.content("text/plain; charset=utf-8", Bytes::from(text.into()))
    }

    /// Sets a JSON body. What cannot be written as JSON (a map whose keys are no text) makes the answer a 500.
    #[must_use]
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(json) => self.content("application/json", json.into()),
            Err(error) => Self::new(StatusCode::INTERNAL_SERVER_ERROR).text(format!("no JSON answer: {error}")),
        }
    }

    /// Sets the body's bytes and nothing else.
    #[must_use]
    pub fn bytes(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Whether the status is 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// The body as text; what is not UTF-8 becomes `�`.
    #[must_use]
    pub fn body_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body read as JSON.
    pub fn body_json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    pub(crate) fn from_parts(status: StatusCode, headers: HeaderMap, body: Bytes) -> Self {
        Self { status, headers, body }
    }

    pub(crate) fn into_parts(self) -> (StatusCode, HeaderMap, Bytes) {
        (self.status, self.headers, self.body)
    }

    fn content(mut self, content_type: &'static str, body: Bytes) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.body = body;
        self
    }
}
