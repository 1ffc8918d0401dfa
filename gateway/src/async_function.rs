//! `/async-function/NAME`: a call that is taken now and made later. 202 says that it is on disk.

use crate::call::{self, CALL_ID, Start, TOKEN_LIMIT, Target};
use crate::callback;
use crate::client_body;
use crate::function::{no_function, of_this_thread};
use crate::invoker::Invoker;
use crate::respond::{self, Refusal};
use crate::trace;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::FutureExt;
use hyper::header::{HeaderMap, HeaderValue};
use queue::{Invocation, Queue, Source};
use sha2::{Digest, Sha256};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tracing::{Instrument, Span};
use url::Url;
use wire::{FunctionName, annotation};

/// Takes one call. A panic ends this request and nothing else.
pub(crate) async fn handle(request: HttpRequest, payload: web::Payload) -> HttpResponse {
    match AssertUnwindSafe(serve(&request, payload)).catch_unwind().await {
        Ok(answer) => answer,
        Err(_panic) => respond::panicked().answer(),
    }
}

async fn serve(request: &HttpRequest, payload: web::Payload) -> HttpResponse {
    let Some((invoker, scheme)) = of_this_thread(request) else { return respond::not_set_up().answer() };
    let start = Start::now(&*invoker.state().clock);
    let headers = call::headers(request.head(), scheme, &start);
    let call_id = headers.get(CALL_ID).cloned().unwrap_or_else(|| call::new_call_id(&start));
    let span = span(&headers, &call_id);
    let taken = take(invoker, request, headers, payload).instrument(span).await;
    let mut answer = match taken {
        Ok(()) => HttpResponse::Accepted().finish(),
        Err(refusal) => refusal.answer(),
    };
    respond::mark(answer.headers_mut(), &call_id, &start.header);
    answer
}

fn span(headers: &HeaderMap, call_id: &HeaderValue) -> Span {
    if !daemon::trace::exporting() {
        return Span::none();
    }
    let span = tracing::info_span!("enqueue", call_id = call_id.to_str().unwrap_or_default());
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    trace::set_parent(&span, text(trace::PARENT), text(trace::STATE));
    span
}

async fn take(
    invoker: &Invoker,
    request: &HttpRequest,
    mut headers: HeaderMap,
    payload: web::Payload,
) -> Result<(), Refusal> {
    let state = invoker.state();
    let queue: &Arc<dyn Queue> = state.queue.as_ref().ok_or_else(|| {
        Refusal::NotFound("this gateway has no queue: start it with one, or call /function instead".to_owned())
    })?;
    if request.method() != actix_web::http::Method::POST {
        return Err(Refusal::MethodNotAllowed("POST"));
    }
    call::check_id(request.head())?;
    let raw = request.uri().path_and_query().map_or("/", |raw| raw.as_str());
    let target = Target::of(raw, "/async-function/").ok_or_else(|| no_function(""))?;
    let path = target.path_and_query()?;
    let function = invoker.function(target.name).ok_or_else(|| no_function(target.name))?;
    let callback_url = callback_url(&headers)?;
    let limit = state.config.async_body_limit;
    let body = client_body::read_whole(request.headers(), payload, limit, state.config.read_timeout).await?;
    trace::pass_on(&Span::current(), &mut headers);
    let invocation = Invocation {
        call_id: headers.get(CALL_ID).map(lossy).unwrap_or_default(),
        function: function.name.clone(),
        method: "POST".to_owned(),
        path_and_query: path.as_str().to_owned(),
        body,
        callback_url,
        accepted_at: state.clock.unix_millis(),
        trace: trace::of_headers(&headers),
        source: source(&headers),
        key: key(&function.replicas.annotations, &headers),
        headers: headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect(),
    };
    push(queue, invocation, &function.name).await
}

async fn push(queue: &Arc<dyn Queue>, invocation: Invocation, function: &FunctionName) -> Result<(), Refusal> {
    queue.push(vec![invocation]).await.map(drop).map_err(|error| {
        tracing::error!(%function, %error, "a call could not be queued");
        error.into()
    })
}

fn callback_url(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(given) = headers.get(wire::header::CALLBACK_URL).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let text = lossy(given);
    let refuse = |why: &str| {
        let shown: String = text.chars().take(200).collect();
        Refusal::BadRequest(format!("X-Callback-Url {shown:?}: {why}; give an absolute http:// or https:// URL"))
    };
    let url = Url::parse(&text).map_err(|error| refuse(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(refuse("it is not one that can be posted to"));
    }
    callback::destination(&url).map_err(|error| refuse(&error))?;
    // As it was understood.
    Ok(Some(url.into()))
}

fn source(headers: &HeaderMap) -> Source {
    let connector = headers.get(wire::header::CONNECTOR).map(lossy).unwrap_or_default();
    if connector.contains("mqtt") {
        Source::Mqtt
    } else if connector.contains("cron") {
        Source::Cron
    } else {
        Source::Http
    }
}

/// The value that orders calls: of the header that the function's annotation names; its digest if it is long.
fn key(annotations: &wire::function::TextMap, headers: &HeaderMap) -> Option<String> {
    let value = headers.get(annotations.get(annotation::QUEUE_KEY)?.trim())?;
    Some(if value.len() > TOKEN_LIMIT { format!("{:x}", Sha256::digest(value.as_bytes())) } else { lossy(value) })
}

fn lossy(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        [(hyper::header::HeaderName::from_static(name), HeaderValue::from_static(value))].into_iter().collect()
    }

    #[test]
    fn callbacks_go_to_absolute_urls() {
        let of = |url| callback_url(&headers("x-callback-url", url));
        assert_eq!(of("http://127.0.0.1:1/function/a?b").unwrap().as_deref(), Some("http://127.0.0.1:1/function/a?b"));
        assert_eq!(of("").unwrap(), None);
        // What is kept is what can be posted to.
        for (given, kept) in [
            ("http://till/a b?c d", "http://till/a%20b?c%20d"),
            (r"http:\\till\a", "http://till/a"),
            ("HTTP://Till", "http://till/"),
            ("http://me:a%3Ab@till/", "http://me:a%3Ab@till/"),
        ] {
            assert_eq!(of(given).unwrap().as_deref(), Some(kept));
        }
        for bad in ["/function/a", "ftp://a/b", "http://", "mailto:a@b", "http://[", "x", "http://a\"b/"] {
            assert!(matches!(of(bad), Err(Refusal::BadRequest(_))), "{bad}");
        }
    }

    #[test]
    fn connectors_name_themselves() {
        for (name, wanted) in [
            ("crema/mqtt-broker", Source::Mqtt),
            ("crema/cron-connector", Source::Cron),
            ("connector-sdk", Source::Http),
        ] {
            assert_eq!(source(&headers("x-connector", name)), wanted);
        }
    }

    #[test]
    fn the_annotation_names_the_header_that_orders() {
        let annotations = [(annotation::QUEUE_KEY.to_owned(), "X-Topic".to_owned())].into();
        assert_eq!(key(&annotations, &headers("x-topic", "a/b")).as_deref(), Some("a/b"));
        assert_eq!(key(&annotations, &HeaderMap::new()), None);
        let long = |end: &str| {
            let value = HeaderValue::from_str(&format!("{}{end}", "x".repeat(60_000))).unwrap();
            key(&annotations, &[(hyper::header::HeaderName::from_static("x-topic"), value)].into_iter().collect())
                .unwrap()
        };
        assert_eq!((long("a").len(), long("a") == long("a"), long("a") == long("b")), (64, true, false));
        assert_eq!(key(&[].into(), &headers("x-topic", "a")), None);
    }
}
