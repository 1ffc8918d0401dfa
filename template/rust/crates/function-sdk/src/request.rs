//! What a handler is asked.

use bytes::Bytes;
use hyper::http::{HeaderMap, Method};
use serde::de::DeserializeOwned;
use std::borrow::Cow;

/// One call of the function, body and all.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The HTTP method.
    pub method: Method,
    /// The path as the caller wrote it, percent signs and all; starts with `/`.
    pub path: String,
    /// What stands after the `?`, as the caller wrote it.
    pub query: Option<String>,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// The invocation's id, the same over retries; made up when the caller gave none.
    pub call_id: String,
}

impl Request {
    /// The body as text; what is not UTF-8 becomes `�`.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body read as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// The first value of a header, when it is there and text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The first value of a query parameter, decoded (`%41` and `+`).
    #[must_use]
    pub fn query_param(&self, name: &str) -> Option<String> {
        self.query.as_deref()?.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key) == name).then(|| decode(value))
        })
    }
}

/// Decodes `application/x-www-form-urlencoded` text. A `%` that starts no escape stays.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        bytes.push(match (first, tail) {
            (b'+', _) => b' ',
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    rest = after;
                    high << 4 | low
                }
                _ => b'%',
            },
            (other, _) => *other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_parameters_are_decoded() {
        let query = "status=pending&name=a+b%2Fc&odd=%4&empty&last=%e2%82%ac";
        let request = Request { query: Some(query.to_owned()), ..Request::default() };
        for (name, value) in [("status", "pending"), ("name", "a b/c"), ("odd", "%4"), ("empty", ""), ("last", "€")] {
            assert_eq!(request.query_param(name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(request.query_param("none"), None);
    }
}
