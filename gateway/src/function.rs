//! `/function/NAME[.NAMESPACE][/rest][?query]`: a call whose answer the client waits for.

use crate::call::{self, CALL_ID, Scheme, Start, Target};
use crate::client_body::{ClientBody, ClientError};
use crate::invoker::{CallError, Endpoint, Invoker, Underway};
use crate::respond::{self, Refusal};
use crate::scaler::NoReplica;
use crate::trace;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::RequestHead;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap as AnswerHeaders, HeaderName as AnswerName, HeaderValue as AnswerValue};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use forward::{ForwardError, Reason, Response, ResponseBody};
use futures_util::FutureExt;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tracing::{Instrument, Span};

/// When it is worth trying again what could not be reached, or has too many waiting.
const SOON: Duration = Duration::from_secs(1);
/// The same for a function that is in trouble.
const LATER: Duration = Duration::from_secs(5);

/// Serves one call. A panic ends this call and nothing else.
pub(crate) async fn handle(request: HttpRequest, payload: web::Payload) -> HttpResponse {
    match AssertUnwindSafe(serve(&request, payload)).catch_unwind().await {
        Ok(answer) => answer,
        Err(_panic) => respond::panicked().answer(),
    }
}

async fn serve(request: &HttpRequest, payload: web::Payload) -> HttpResponse {
    let Some((invoker, scheme)) = of_this_thread(request) else { return respond::not_set_up().answer() };
    let head = request.head();
    let start = Start::now(&*invoker.state().clock);
    let mut headers = call::headers(head, scheme, &start);
    let call_id = headers.get(CALL_ID).cloned().unwrap_or_else(|| call::new_call_id(&start));
    let mut answer = match begin(invoker, head) {
        Ok(begun) => {
            let span = begun.span(&headers, &call_id);
            trace::pass_on(&span, &mut headers);
            // Made once more only when the request has to be sent again.
            let again = || {
                let mut headers = call::headers(head, scheme, &start);
                headers.insert(CALL_ID, call_id.clone());
                trace::pass_on(&span, &mut headers);
                headers
            };
            run(begun, head, headers, again, payload).instrument(span.clone()).await
        }
        Err(refusal) => refusal.answer(),
    };
    respond::mark(answer.headers_mut(), &call_id, &start.header);
    answer
}

/// What the routes of this thread were set up with.
pub(crate) fn of_this_thread(request: &HttpRequest) -> Option<(&Rc<Invoker>, Scheme)> {
    Some((request.app_data::<Rc<Invoker>>()?, *request.app_data::<Scheme>()?))
}

/// A call whose function is known.
pub(crate) struct Begun {
    pub(crate) invoker: Rc<Invoker>,
    pub(crate) underway: Underway,
    pub(crate) method: Method,
    pub(crate) path: hyper::http::uri::PathAndQuery,
}

pub(crate) fn begin(invoker: &Rc<Invoker>, head: &RequestHead) -> Result<Begun, Refusal> {
    let method = call::method(head)?;
    call::check_id(head)?;
    let raw = head.uri.path_and_query().map_or("/", |raw| raw.as_str());
    let target = Target::of(raw, "/function/").ok_or_else(|| no_function(""))?;
    let path = target.path_and_query()?;
    let function = invoker.function(target.name).ok_or_else(|| no_function(target.name))?;
    Ok(Begun { underway: function.begin(invoker), invoker: Rc::clone(invoker), method, path })
}

/// What whoever names a function that is not there is told.
pub(crate) fn no_function(name: &str) -> Refusal {
    let shown: String = name.chars().take(130).collect();
    Refusal::NotFound(format!(
        "no function {shown:?} is deployed: see `faas-cli list` for those that are, and `faas-cli deploy` to add one"
    ))
}

impl Begun {
    /// The call's span; none when nobody collects spans.
    pub(crate) fn span(&self, headers: &hyper::HeaderMap, call_id: &HeaderValue) -> Span {
        if !daemon::trace::exporting() {
            return Span::none();
        }
        let call_id = call_id.to_str().unwrap_or_default();
        let span =
            tracing::info_span!("invoke", function = %self.underway.function.name, call_id, method = %self.method);
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
        trace::set_parent(&span, text(trace::PARENT), text(trace::STATE));
        span
    }
}

async fn run(
    begun: Begun,
    head: &RequestHead,
    headers: hyper::HeaderMap,
    again: impl Fn() -> hyper::HeaderMap,
    payload: web::Payload,
) -> HttpResponse {
    let Begun { invoker, mut underway, method, path } = begun;
    let config = &invoker.state().config;
    let mut body = match ClientBody::read(head.headers(), payload, config.read_timeout).await {
        Ok(body) => body,
        Err(error) => return refuse(&mut underway, error.into()),
    };
    let mut headers = Some(headers);
    let uri = Uri::from(path);
    let response = invoker.call(&underway.function, config.upstream_timeout, |endpoint| {
        let mut made = Request::new(body.take()?);
        *made.method_mut() = method.clone();
        *made.uri_mut() = uri.clone();
        *made.headers_mut() = headers.take().unwrap_or_else(&again);
        address(made.headers_mut(), endpoint);
        Some(made)
    });
    match response.await {
        Ok(response) => answer(response, &method, head, underway),
        Err(error) => {
            tracing::debug!(function = %underway.function.name, %error, "call failed");
            refuse(&mut underway, refusal(&error))
        }
    }
}

/// Says in `headers` whom the request is for, and who sends it when the client did not say.
pub(crate) fn address(headers: &mut hyper::HeaderMap, endpoint: &Endpoint) {
    headers.insert(HOST, endpoint.host.clone());
    if !headers.contains_key(USER_AGENT) {
        headers.insert(USER_AGENT, HeaderValue::from_static(crate::PRODUCT));
    }
}

pub(crate) fn refuse(underway: &mut Underway, refusal: Refusal) -> HttpResponse {
    let answer = refusal.answer();
    underway.answered(answer.status().as_u16());
    answer
}

/// Which answer a failed call gets.
pub(crate) fn refusal(error: &CallError) -> Refusal {
    let text = error.to_string();
    match error {
        CallError::NoReplica(NoReplica::Gone(_)) => Refusal::NotFound(text),
        CallError::NoReplica(NoReplica::TooLate { .. }) => Refusal::GatewayTimeout(text),
        CallError::NoReplica(NoReplica::TooMany { .. }) => Refusal::Unavailable { text, retry_after: Some(SOON) },
        CallError::NoReplica(_) => Refusal::Unavailable { text, retry_after: Some(LATER) },
        CallError::Forward { error: ForwardError { reason, .. }, function } => {
            let logs = format!("{text}; see `faas-cli logs {}`", function.name());
            match reason {
                Reason::Connect(_) => Refusal::Unavailable { text: logs, retry_after: Some(SOON) },
                Reason::TimedOut(_) => Refusal::GatewayTimeout(format!(
                    "{text} (upstream_timeout); call it asynchronously at /async-function/{}, or allow it more time",
                    function.name()
                )),
                Reason::RequestBody(cause) => match ClientError::within(&**cause) {
                    Some(client) => client.clone().into(),
                    None => Refusal::BadGateway(logs),
                },
                Reason::Closed(_) | Reason::Broken(_) => Refusal::BadGateway(logs),
            }
        }
    }
}

/// The function's answer as the client gets it.
pub(crate) fn answer(response: Response, method: &Method, head: &RequestHead, mut underway: Underway) -> HttpResponse {
    let Response { status, headers, body } = response;
    underway.answered(status.as_u16());
    let code = StatusCode::from_u16(status.as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
    let bodyless = code == StatusCode::NO_CONTENT || code == StatusCode::NOT_MODIFIED;
    let mut answer = HttpResponse::new(code);
    copy(&headers, answer.headers_mut());
    if !bodyless && !headers.contains_key(CONTENT_TYPE) {
        let like = head.headers().get(actix_web::http::header::CONTENT_TYPE).cloned();
        answer.headers_mut().insert(
            actix_web::http::header::CONTENT_TYPE,
            like.unwrap_or_else(|| AnswerValue::from_static("text/plain; charset=utf-8")),
        );
    }
    let size = match body.length() {
        _ if bodyless => BodySize::None,
        Some(length) => BodySize::Sized(length),
        None if *method == Method::HEAD => BodySize::None,
        None => BodySize::Stream,
    };
    answer.set_body(Answer { body, size, _underway: underway }).map_into_boxed_body()
}

pub(crate) fn copy(from: &hyper::HeaderMap, to: &mut AnswerHeaders) {
    for (name, value) in from {
        let name = AnswerName::from_bytes(name.as_str().as_bytes());
        if let (Ok(name), Ok(value)) = (name, AnswerValue::from_bytes(value.as_bytes())) {
            to.append(name, value);
        }
    }
}

/// A body on its way to the client; the call has ended when it is dropped.
struct Answer {
    body: ResponseBody,
    size: BodySize,
    _underway: Underway,
}

impl MessageBody for Answer {
    type Error = ForwardError;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, ForwardError>>> {
        let polled = self.body.poll_chunk(context);
        if let Poll::Ready(Some(Err(error))) = &polled {
            tracing::warn!(%error, "an answer broke off");
        }
        polled
    }
}
