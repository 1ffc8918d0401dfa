//! The classic watchdog: a process for every call, everything held whole, one content type in and out.

use super::Fork;
use super::fork::Whole;
use crate::config::{Classic as Settings, Config};
use crate::environment;
use crate::output::Failure;
use crate::process::Streams;
use crate::reply::Reply;
use crate::sniff;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use function_sdk::log;
use function_sdk::server::{CallInfo, refuse, stamp};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use std::collections::BTreeMap;

/// Others are answered 405.
const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// A process for every call, as the classic watchdog runs it.
#[derive(Clone, Debug)]
pub(crate) struct Classic {
    fork: Fork,
    settings: Settings,
    /// `None`: the request's own.
    content_type: Option<HeaderValue>,
}

impl Classic {
    pub(crate) fn new(config: &Config, settings: &Settings) -> Self {
        let content_type = config.content_type.as_deref().and_then(|name| HeaderValue::from_str(name).ok());
        Self { fork: Fork::new(config), settings: settings.clone(), content_type }
    }

    /// Whole body to stdin; stdout, and stderr with it if asked for, to the answer.
    pub(crate) async fn call(&self, request: Request<Incoming>, call: CallInfo) -> Response<Reply> {
        if !METHODS.contains(request.method()) {
            return refuse(StatusCode::METHOD_NOT_ALLOWED, "", call.started).map(Reply::from);
        }
        let (parts, body) = request.into_parts();
        let body = match self.fork.whole(body, &call).await {
            Ok(body) => body,
            Err(response) => return response,
        };
        if self.settings.debug_headers {
            for (name, value) in &parts.headers {
                log(format_args!("{}: {} [{}]", canonical(name.as_str()), value.to_str().unwrap_or("?"), call.id));
            }
        }
        let variables =
            if self.settings.cgi_headers { environment::classic(&parts, body.len()) } else { Vec::default() };
        let input = if self.settings.marshal_request { marshal(&parts.headers, &body) } else { body };
        let streams = if self.settings.combine_output { Streams::Combined } else { Streams::Each };
        let Whole { output, failure } = self.fork.run(variables, input, streams, &call).await;
        if self.settings.write_debug {
            log(format_args!("{} bytes of output in {:?} [{}]", output.len(), call.started.elapsed(), call.id));
            self.fork.lines.show(&output).await;
        }
        match failure {
            None => self.answer(&parts, output, &call),
            Some(failure) => self.failed(&failure, &output, &call),
        }
    }

    fn answer(&self, parts: &Parts, output: Bytes, call: &CallInfo) -> Response<Reply> {
        let looks = || HeaderValue::from_static(sniff::content_type(&output));
        let given = self.content_type.as_ref().or_else(|| parts.headers.get(CONTENT_TYPE));
        let content_type = given.cloned().unwrap_or_else(looks);
        let mut response = Response::new(Reply::from(output));
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        stamp(response.headers_mut(), call.started);
        response
    }

    fn failed(&self, failure: &Failure, output: &[u8], call: &CallInfo) -> Response<Reply> {
        self.fork.log(failure, call);
        if let Failure::TimedOut = failure {
            return refuse(StatusCode::REQUEST_TIMEOUT, "Killed process.\n", call.started).map(Reply::from);
        }
        let text = [format!("{failure}\n").as_bytes(), output].concat();
        refuse(StatusCode::INTERNAL_SERVER_ERROR, text, call.started).map(Reply::from)
    }
}

/// `{"header":{"Name":["value", …]},"body":{"raw":base64}}`
fn marshal(headers: &HeaderMap, body: &[u8]) -> Bytes {
    let mut all: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| ![HOST, TRANSFER_ENCODING].contains(*name)) {
        all.entry(canonical(name.as_str())).or_default().push(String::from_utf8_lossy(value.as_bytes()));
    }
    let headers = serde_json::to_string(&all).expect("text is JSON");
    Bytes::from(format!(r#"{{"header":{headers},"body":{{"raw":"{}"}}}}"#, STANDARD.encode(body)))
}

/// `x-call-id` → `X-Call-Id`.
fn canonical(header: &str) -> String {
    environment::capitalized(header, '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_marshalled_with_its_headers() {
        let mut headers = HeaderMap::new();
        headers.append(HOST, HeaderValue::from_static("a"));
        headers.append("x-one", HeaderValue::from_static("1"));
        headers.append("x-one", HeaderValue::from_static("\"2\""));
        let text = marshal(&headers, b"hello");
        assert_eq!(text, r#"{"header":{"X-One":["1","\"2\""]},"body":{"raw":"aGVsbG8="}}"#);
    }
}
