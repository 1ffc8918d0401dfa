//! Headers that belong to one connection.

use crate::Body;
use hyper::Request;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};

/// Removes the headers that belong to one connection, those that `Connection` names among them. `Content-Length` and
/// `Host` stay also when `Connection` names them: a client must not be able to take them away.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // Most messages have none, and looking at all names once costs less than asking for each.
    let mut doomed: Vec<HeaderName> = headers.keys().filter(|name| is_hop_by_hop(name.as_str())).cloned().collect();
    if doomed.is_empty() {
        return;
    }
    let named = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named = named.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok());
    doomed.extend(named.filter(|name| *name != CONTENT_LENGTH && *name != HOST));
    for name in doomed {
        headers.remove(name);
    }
}

/// Whether a header, its name in lower case, belongs to one connection: the list of the `wire` crate as a table that
/// compilers are good at.
#[must_use]
pub fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Says how long the body is, in exactly one way, whatever the headers said before: by its length or chunked. Two
/// ways at once are how requests are smuggled.
pub(crate) fn frame(request: &mut Request<Body>) {
    let (length, chunked) = (request.body().length(), matches!(request.body(), Body::Stream { length: None, .. }));
    let headers = request.headers_mut();
    headers.remove(TRANSFER_ENCODING);
    headers.remove(CONTENT_LENGTH);
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    } else if chunked {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_connection_names_is_removed_but_never_the_length() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "X-Private, keep-alive"),
            ("connection", "content-length,host"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("content-length", "3"),
            ("host", "a"),
            ("x-public", "1"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        strip_hop_by_hop(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "host", "x-public"]);
    }

    #[test]
    fn the_list_is_the_one_of_the_wire() {
        assert!(wire::header::HOP_BY_HOP.iter().all(|name| is_hop_by_hop(name)));
        for other in ["host", "content-length", "te2", "x-upgrade", ""] {
            assert_eq!(is_hop_by_hop(other), wire::header::is_hop_by_hop(other), "{other}");
        }
    }

    #[test]
    fn a_length_is_said_in_one_way() {
        let mut request = Request::new(Body::Full(Bytes::from_static(b"abc")));
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        request.headers_mut().append(CONTENT_LENGTH, HeaderValue::from_static("77"));
        frame(&mut request);
        assert!(!request.headers().contains_key(TRANSFER_ENCODING));
        assert_eq!(request.headers().get_all(CONTENT_LENGTH).iter().collect::<Vec<_>>(), ["3"]);
    }

    use bytes::Bytes;
}
