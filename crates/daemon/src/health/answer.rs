//! What is answered to whom.

use super::{Report, figure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

const PLAIN: &str = "text/plain; charset=utf-8";
const METHODS: &str = "GET, HEAD";

/// The answer to a request, whatever its body.
pub(super) fn to<B>(request: &Request<B>, report: &impl Report) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let text = format!("method not allowed; allowed: {METHODS}\n");
        let mut refusal = said(StatusCode::METHOD_NOT_ALLOWED, PLAIN, text);
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static(METHODS));
        return refusal;
    }
    match request.uri().path() {
        "/healthz" => said(StatusCode::OK, PLAIN, "OK"),
        "/ready" => match report.not_ready() {
            None => said(StatusCode::OK, PLAIN, "OK"),
            Some(why) => said(StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("{why}\n")),
        },
        "/metrics" => match figure::exposition(&report.figures()) {
            Ok(text) => said(StatusCode::OK, prometheus::TEXT_FORMAT, text),
            Err(error) => {
                tracing::error!(%error, "The figures cannot be written");
                said(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("the figures cannot be written: {error}\n"))
            }
        },
        _ => said(StatusCode::NOT_FOUND, PLAIN, "404 page not found: there are /healthz, /ready and /metrics\n"),
    }
}

fn said(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
