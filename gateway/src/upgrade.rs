//! `GET /function/NAME` that asks for WebSocket. Once the function has agreed, client and function speak it over the
//! gateway, which copies bytes; any other answer of the function is an ordinary one.
//!
//! actix takes every request that names WebSocket out of the routes and gives its connection away. What is no upgrade
//! after all (another route, no `Connection: upgrade`) is asked of the routes here, as if `Upgrade` had not been there.

mod client;
mod tunnel;

pub(crate) use client::Wire;

use crate::call::{self, CALL_ID, Scheme, Start};
use crate::function::{Begun, address, answer, begin, copy, refusal, refuse};
use crate::invoker::{Invoker, Underway};
use crate::respond::{self, Refusal};
use crate::trace;
use actix_codec::Framed;
use actix_http::h1::Codec;
use actix_http::{ConnectionType, Request};
use actix_service::Service;
use actix_web::HttpResponse;
use actix_web::dev::{RequestHead, ServiceResponse};
use actix_web::http::{Method, StatusCode, Version, header};
use client::Client;
use forward::{Body, Switched, Tunnel};
use futures_util::FutureExt;
use hyper::Uri;
use hyper::header::HeaderValue;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use tracing::Instrument;

/// The one protocol that a connection can be switched to.
const WEBSOCKET: &str = "websocket";

/// What becomes of a request.
enum Outcome {
    /// It is answered in HTTP.
    Answer(HttpResponse),
    /// The function agreed: the answer that says so, and the connection to it.
    Switch(HttpResponse, Tunnel, Underway),
}

/// Serves one request that names WebSocket, and its connection to the end. A panic ends this request and nothing else.
pub(crate) async fn serve<T: Wire>(
    routes: &impl Service<Request, Response = ServiceResponse, Error = HttpResponse>,
    invoker: &Rc<Invoker>,
    scheme: Scheme,
    request: Request,
    framed: Framed<T, Codec>,
) {
    let mut client = Client::new(framed);
    let asked = async {
        if is_upgrade(request.head()) {
            return ask(invoker, scheme, request.head()).await;
        }
        Outcome::Answer(match has_body(request.head()) {
            true => bodies_do_not_go_with_it().answer(),
            false => routes.call(request).await.map_or_else(|refused| refused, HttpResponse::from),
        })
    };
    let asked = AssertUnwindSafe(asked).catch_unwind();
    let outcome = tokio::select! {
        outcome = asked => outcome.unwrap_or_else(|_panic| Outcome::Answer(respond::panicked().answer())),
        // Nobody is left to answer.
        () = client.gone() => return,
    };
    let served = match outcome {
        Outcome::Answer(answer) => client.answer(answer).await,
        Outcome::Switch(agreed, tunnel, _underway) => client.switch(agreed, tunnel).await,
    };
    served.unwrap_or_else(|error| tracing::debug!(%error, "a connection that was upgraded broke off"));
}

fn is_upgrade(head: &RequestHead) -> bool {
    let path = head.uri.path();
    head.method == Method::GET
        && head.version == Version::HTTP_11
        && head.upgrade()
        && path.starts_with("/function/")
        && !has_body(head)
}

/// Whether a body follows. actix no longer tells where it would end.
fn has_body(head: &RequestHead) -> bool {
    let length = head.headers().get(header::CONTENT_LENGTH);
    length.is_some_and(|length| length.as_bytes() != b"0") || head.headers().contains_key(header::TRANSFER_ENCODING)
}

fn bodies_do_not_go_with_it() -> Refusal {
    Refusal::BadRequest("a request with a body cannot ask for WebSocket: leave out `Upgrade` or the body".to_owned())
}

/// Asks a function, as `function::handle` does for other calls.
async fn ask(invoker: &Rc<Invoker>, scheme: Scheme, head: &RequestHead) -> Outcome {
    let start = Start::now(&*invoker.state().clock);
    let mut headers = call::headers(head, scheme, &start);
    let call_id = headers.get(CALL_ID).cloned().unwrap_or_else(|| call::new_call_id(&start));
    let mut outcome = match begin(invoker, head) {
        Ok(begun) => {
            let span = begun.span(&headers, &call_id);
            trace::pass_on(&span, &mut headers);
            run(begun, head, headers).instrument(span).await
        }
        Err(refusal) => Outcome::Answer(refusal.answer()),
    };
    let (Outcome::Answer(answer) | Outcome::Switch(answer, ..)) = &mut outcome;
    respond::mark(answer.headers_mut(), &call_id, &start.header);
    outcome
}

async fn run(begun: Begun, head: &RequestHead, headers: hyper::HeaderMap) -> Outcome {
    let Begun { invoker, mut underway, method, path } = begun;
    let limit = invoker.state().config.upstream_timeout;
    let uri = Uri::from(path);
    let protocol = HeaderValue::from_static(WEBSOCKET);
    let switched = invoker.switch(&underway.function, limit, &protocol, |endpoint| {
        let mut request = hyper::Request::new(Body::Empty);
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers.clone();
        address(request.headers_mut(), endpoint);
        request
    });
    match switched.await {
        Ok(Switched::No(response)) => Outcome::Answer(answer(response, &method, head, underway)),
        Ok(Switched::Yes { headers, tunnel }) => {
            underway.answered(StatusCode::SWITCHING_PROTOCOLS.as_u16());
            let mut agreed = HttpResponse::new(StatusCode::SWITCHING_PROTOCOLS);
            agreed.head_mut().set_connection_type(ConnectionType::Upgrade);
            copy(&headers, agreed.headers_mut());
            agreed.headers_mut().insert(header::UPGRADE, header::HeaderValue::from_static(WEBSOCKET));
            Outcome::Switch(agreed, tunnel, underway)
        }
        Err(error) => {
            tracing::debug!(function = %underway.function.name, %error, "call failed");
            Outcome::Answer(refuse(&mut underway, refusal(&error)))
        }
    }
}
