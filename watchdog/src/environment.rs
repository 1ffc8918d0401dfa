//! A request as environment variables, for forked processes.

use hyper::header::{HOST, HeaderMap};
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

/// `x-call-id` → `Http_X_Call_Id`.
fn variable(header: &str) -> String {
    let mut name = String::with_capacity(header.len() + 5);
    name.push_str("Http");
    for part in header.split('-') {
        let mut letters = part.chars();
        name.push('_');
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
