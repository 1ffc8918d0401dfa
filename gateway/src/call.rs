//! What a client asks for: the function's name and what goes on to it, taken from raw bytes and never decoded.

use crate::respond::Refusal;
use actix_web::dev::RequestHead;
use actix_web::http::header::HeaderMap as ClientHeaders;
use bytes::Bytes;
use daemon::Clock;
use forward::{is_hop_by_hop, strip_hop_by_hop};
use hyper::Method;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::PathAndQuery;
use uuid::Uuid;

pub(crate) const CALL_ID: HeaderName = HeaderName::from_static(wire::header::CALL_ID);
pub(crate) const START_TIME: HeaderName = HeaderName::from_static(wire::header::START_TIME);
/// The longest id and the longest ordering key of a client's: both are kept and shown many times.
pub(crate) const TOKEN_LIMIT: usize = 256;
const FORWARDED_HOST: HeaderName = HeaderName::from_static(wire::header::FORWARDED_HOST);
const FORWARDED_FOR: HeaderName = HeaderName::from_static(wire::header::FORWARDED_FOR);
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What the listener speaks, `http` or `https`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scheme(pub(crate) &'static str);

/// The path of a request, taken apart.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Target<'a> {
    /// The name as the client wrote it.
    pub(crate) name: &'a str,
    /// What follows it, `/` at least, with the query.
    pub(crate) rest: std::borrow::Cow<'a, str>,
}

impl<'a> Target<'a> {
    /// Takes `/function/NAME[/rest][?query]` apart after `prefix`, which ends in `/`.
    pub(crate) fn of(raw: &'a str, prefix: &str) -> Option<Self> {
        let tail = raw.strip_prefix(prefix)?;
        let end = tail.find(['/', '?']).unwrap_or(tail.len());
        let (name, rest) = tail.split_at(end);
        let rest = if rest.starts_with('/') { rest.into() } else { format!("/{rest}").into() };
        (!name.is_empty()).then_some(Self { name, rest })
    }

    /// What the function is asked for.
    pub(crate) fn path_and_query(&self) -> Result<PathAndQuery, Refusal> {
        PathAndQuery::from_maybe_shared(Bytes::copy_from_slice(self.rest.as_bytes()))
            .map_err(|error| Refusal::BadRequest(format!("the path is not one that can be passed on: {error}")))
    }
}

/// The methods functions take.
pub(crate) fn method(head: &RequestHead) -> Result<Method, Refusal> {
    Ok(match head.method.as_str() {
        "GET" => Method::GET,
        "POST" => Method::POST,
        "PUT" => Method::PUT,
        "PATCH" => Method::PATCH,
        "DELETE" => Method::DELETE,
        "OPTIONS" => Method::OPTIONS,
        "HEAD" => Method::HEAD,
        _ => return Err(Refusal::MethodNotAllowed("GET, POST, PUT, PATCH, DELETE, OPTIONS, HEAD")),
    })
}

/// Checks the id that a client gives its call; none is fine.
pub(crate) fn check_id(head: &RequestHead) -> Result<(), Refusal> {
    let mut given = head.headers().get_all(wire::header::CALL_ID);
    if given.all(|id| id.is_empty() || is_id(id.as_bytes())) {
        return Ok(());
    }
    Err(Refusal::BadRequest(format!(
        "X-Call-Id is longer than {TOKEN_LIMIT} bytes or has other than visible ASCII characters in it; give a shorter \
         one such as a UUID, or leave it out and the gateway makes one"
    )))
}

fn is_id(text: &[u8]) -> bool {
    (1..=TOKEN_LIMIT).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic)
}

/// The headers that go on to the function, without those of the connection and of the body's framing; `X-Call-Id`,
/// `X-Start-Time` and what tells of the client are in.
pub(crate) fn headers(head: &RequestHead, scheme: Scheme, start: &Start) -> HeaderMap {
    let client = head.headers();
    let mut headers = copied(client);
    let host = client.get(actix_web::http::header::HOST).and_then(|host| HeaderValue::from_bytes(host.as_bytes()).ok());
    // HTTP/2 says it in the request's target.
    let host = host.or_else(|| HeaderValue::from_str(head.uri.authority()?.as_str()).ok());
    if let (Some(host), false) = (host, headers.contains_key(FORWARDED_HOST)) {
        headers.insert(FORWARDED_HOST, host);
    }
    if !headers.contains_key(FORWARDED_PROTO) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme.0));
    }
    if let Some(peer) = head.peer_addr
        && let Ok(value) = forwarded_for(&headers, peer.ip())
    {
        headers.insert(FORWARDED_FOR, value);
    }
    if headers.get(CALL_ID).is_none_or(|id| !is_id(id.as_bytes())) {
        headers.insert(CALL_ID, new_call_id(start));
    }
    headers.insert(START_TIME, start.header.clone());
    headers
}

/// The peers so far and the one that sent this request.
fn forwarded_for(
    headers: &HeaderMap,
    peer: std::net::IpAddr,
) -> Result<HeaderValue, hyper::header::InvalidHeaderValue> {
    // An IPv4 client of a dual-stack listener.
    let mut text = peer.to_canonical().to_string();
    if headers.contains_key(FORWARDED_FOR) {
        let mut before: Vec<&[u8]> = headers.get_all(FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
        let last = std::mem::take(&mut text);
        before.push(last.as_bytes());
        return HeaderValue::from_bytes(&before.join(&b", "[..]));
    }
    HeaderValue::from_str(&text)
}

fn copied(client: &ClientHeaders) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(client.len() + 6);
    for (name, value) in client {
        // The gateway has answered an Expect; Host and the length are set anew. Connection goes last, since it names
        // others.
        let text = name.as_str();
        if matches!(text, "expect" | "host" | "content-length") || (text != "connection" && is_hop_by_hop(text)) {
            continue;
        }
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            headers.append(name, value);
        }
    }
    strip_hop_by_hop(&mut headers);
    headers
}

/// When a call came in.
pub(crate) struct Start {
    nanoseconds: u64,
    /// Nanoseconds since 1970.
    pub(crate) header: HeaderValue,
}

impl Start {
    pub(crate) fn now(clock: &dyn Clock) -> Self {
        let nanoseconds = u64::try_from(clock.now().as_nanosecond()).unwrap_or(0);
        Self { nanoseconds, header: nanoseconds.into() }
    }
}

/// A UUID of version 7 (RFC 9562 §5.7): ids of calls that come one after another lie together in the queue's index, and
/// a commit writes a few pages of it instead of one for each call.
pub(crate) fn new_call_id(start: &Start) -> HeaderValue {
    let mut buffer = Uuid::encode_buffer();
    // From the thread's generator: the system's costs a call into it each time.
    let random = rand::random();
    let id = uuid::Builder::from_unix_timestamp_millis(start.nanoseconds / 1_000_000, &random).into_uuid();
    let text = id.hyphenated().encode_lower(&mut buffer);
    HeaderValue::from_str(text).expect("a UUID is letters, digits and hyphens")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_short_and_visible() {
        let check = |id: Vec<u8>| {
            let value = actix_web::http::header::HeaderValue::from_bytes(&id).unwrap();
            check_id(
                actix_web::test::TestRequest::default().insert_header(("x-call-id", value)).to_http_request().head(),
            )
        };
        for good in ["", "mine", "0b7e1b5c-4f0e-4b8e-9d0e-6c5c8f0b7e1b", "a/b:~!", "x".repeat(TOKEN_LIMIT).as_str()] {
            assert!(check(good.into()).is_ok(), "{good}");
        }
        for bad in ["x".repeat(TOKEN_LIMIT + 1).into_bytes(), b"a b".to_vec(), "ä".into(), b"a\tb".to_vec()] {
            assert!(matches!(check(bad.clone()), Err(Refusal::BadRequest(_))), "{bad:?}");
        }
    }

    #[test]
    fn raw_paths_stay_raw() {
        let of = |raw| Target::of(raw, "/function/").map(|target| (target.name, target.rest.into_owned()));
        for (raw, name, rest) in [
            ("/function/order", "order", "/"),
            ("/function/order/", "order", "/"),
            ("/function/order?a=b", "order", "/?a=b"),
            ("/function/order.shop/a%2Fb//c/./d?x=%3F&y", "order.shop", "/a%2Fb//c/./d?x=%3F&y"),
            ("/function/order//", "order", "//"),
        ] {
            assert_eq!(of(raw), Some((name, rest.to_owned())), "{raw}");
        }
        for none in ["/function/", "/function//order", "/function/?a", "/functions/order"] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
