//! A request as environment variables, for forked processes.

use hyper::header::{HOST, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Method, Uri};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// `Http_Method`, `Http_Path`, `Http_Query`, and `Http_` with each header's name, whose first value it has.
///
/// Not `Proxy`, which no honest client sends: as `Http_Proxy` it would tell many programs where to send their own
/// requests ("httpoxy").
pub(crate) fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Vec<(OsString, OsString)> {
    let mut variables: Vec<(OsString, OsString)> = Vec::with_capacity(headers.keys_len() + 3);
    for name in headers.keys().filter(|name| **name != HOST && name.as_str() != "proxy") {
        if let Some(value) = headers.get(name) {
            variables.push((variable(name.as_str()).into(), OsStr::from_bytes(value.as_bytes()).to_owned()));
        }
    }
    // After the headers: none of them can stand in for these.
    variables.push(("Http_Method".into(), method.as_str().into()));
    variables.push(("Http_Path".into(), uri.path().into()));
    if let Some(query) = uri.query() {
        variables.push(("Http_Query".into(), query.into()));
    }
    variables
}

/// The same, and those that only the classic watchdog sets: the host, and the body's length by two names.
pub(crate) fn classic(request: &Parts, length: usize) -> Vec<(OsString, OsString)> {
    let mut variables = of(&request.method, &request.uri, &request.headers);
    if let Some(host) = request.headers.get(HOST) {
        variables.push(("Http_Host".into(), OsStr::from_bytes(host.as_bytes()).to_owned()));
    }
    for name in ["Http_ContentLength", "Http_Content_Length"] {
        variables.push((name.into(), length.to_string().into()));
    }
    variables
}

/// `x-call-id` → `Http_X_Call_Id`.
fn variable(header: &str) -> String {
    format!("Http_{}", capitalized(header, '_'))
}

/// A header's name, each part with a capital letter, `between` the parts.
pub(crate) fn capitalized(header: &str, between: char) -> String {
    let mut name = String::with_capacity(header.len());
    for part in header.split('-') {
        if !name.is_empty() {
            name.push(between);
        }
        let mut letters = part.chars();
        name.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    #[test]
    fn a_client_cannot_choose_the_functions_proxy() {
        let mut headers = HeaderMap::new();
        for name in ["Proxy", "PROXY", "proxy"] {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("evil.example"));
        }
        let variables = of(&Method::GET, &"/".parse().unwrap(), &headers);
        let proxy = variables.iter().find(|(key, _)| key.eq_ignore_ascii_case("http_proxy"));
        assert_eq!(proxy, None);
    }

    #[test]
    fn a_request_becomes_variables() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("host", "a"), ("x-call-id", "1"), ("accept", "first"), ("accept", "second"), ("method", "forged")]
        {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let variables = of(&Method::POST, &"/a%2Fb?x=1".parse().unwrap(), &headers);
        let value =
            |name: &str| variables.iter().rfind(|(key, _)| key == name).map(|(_, value)| value.to_str().unwrap());
        for (name, expected) in [
            ("Http_Method", "POST"),
            ("Http_Path", "/a%2Fb"),
            ("Http_Query", "x=1"),
            ("Http_X_Call_Id", "1"),
            ("Http_Accept", "first"),
        ] {
            assert_eq!(value(name), Some(expected), "{name}");
        }
        assert_eq!(value("Http_Host"), None);
    }
}
