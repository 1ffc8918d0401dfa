//! Reads query strings as Go's clients write them.

use crate::respond::Refusal;
use crate::state::State;
use actix_web::HttpRequest;

/// A parameter's first value; `None` when it is absent or empty.
pub(super) fn get(request: &HttpRequest, name: &str) -> Option<String> {
    url::form_urlencoded::parse(request.query_string().as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
        .filter(|value| !value.is_empty())
}

/// A truth value in any of the spellings that Go's `ParseBool` takes; `false` when absent.
pub(super) fn flag(request: &HttpRequest, name: &str) -> Result<bool, Refusal> {
    match get(request, name).as_deref() {
        Some("1" | "t" | "T" | "TRUE" | "true" | "True") => Ok(true),
        None | Some("0" | "f" | "F" | "FALSE" | "false" | "False") => Ok(false),
        Some(other) => {
            let other: String = other.chars().take(40).collect();
            Err(Refusal::BadRequest(format!("{name}={other}: give true or false")))
        }
    }
}

/// A whole number; `None` when absent.
pub(super) fn number(request: &HttpRequest, name: &str) -> Result<Option<i64>, Refusal> {
    let Some(text) = get(request, name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        let text: String = text.chars().take(40).collect();
        Refusal::BadRequest(format!("{name}={text}: give a whole number"))
    })
}

/// The namespace the query names, or the default one.
pub(super) fn namespace(request: &HttpRequest, state: &State) -> String {
    namespace_or(request, state, "")
}

/// The namespace of a request that may name it in the body or in the query: the body's, the query's, the default one.
pub(super) fn namespace_or(request: &HttpRequest, state: &State, in_body: &str) -> String {
    if !in_body.is_empty() {
        return in_body.to_owned();
    }
    get(request, "namespace").unwrap_or_else(|| state.provider.default_namespace().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn reads_what_clients_send() {
        let request = |uri: &str| TestRequest::with_uri(uri).to_http_request();
        assert_eq!(get(&request("/a?since=2026-01-02T03%3A04%3A05%2B02%3A00"), "since").unwrap().len(), 25);
        assert!(flag(&request("/a?follow=1"), "follow").unwrap());
        assert!(!flag(&request("/a"), "follow").unwrap());
        assert!(flag(&request("/a?follow=yes"), "follow").is_err());
        assert_eq!(number(&request("/a?tail=-1"), "tail").unwrap(), Some(-1));
        assert!(number(&request("/a?tail=x"), "tail").is_err());
    }
}
