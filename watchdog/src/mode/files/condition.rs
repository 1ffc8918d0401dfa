//! What the conditions of a request make of its answer (RFC 9110 §13).

use super::range::{self, Part, Range};
use super::tree::Entry;
use hyper::header::{
    HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};
use hyper::{Method, StatusCode};
use std::time::{SystemTime, UNIX_EPOCH};

/// What is answered.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// The whole file.
    Whole,
    /// A part.
    Part(Part),
    /// A status without the file.
    Without(StatusCode),
}

/// Looks at the conditions in the order that the RFC gives.
pub(super) fn verdict(method: &Method, headers: &HeaderMap, entry: &Entry) -> Verdict {
    let is_read = method == Method::GET || method == Method::HEAD;
    if !is_read {
        return Verdict::Whole;
    }
    let failed = match (text(headers, IF_MATCH), seconds(headers, IF_UNMODIFIED_SINCE), entry.modified) {
        (Some(_), _, _) => !names(headers, IF_MATCH, &entry.tag, Match::Strong),
        (None, Some(since), Some(modified)) => modified > since,
        _ => false,
    };
    if failed {
        return Verdict::Without(StatusCode::PRECONDITION_FAILED);
    }
    let is_known = match (text(headers, IF_NONE_MATCH), seconds(headers, IF_MODIFIED_SINCE), entry.modified) {
        (Some(_), _, _) => names(headers, IF_NONE_MATCH, &entry.tag, Match::Weak),
        (None, Some(since), Some(modified)) => modified <= since,
        _ => false,
    };
    if is_known {
        return Verdict::Without(StatusCode::NOT_MODIFIED);
    }
    match text(headers, RANGE).filter(|_| method == Method::GET && is_same(headers, entry)) {
        Some(range) => match range::read(range, entry.size) {
            Range::Part(part) => Verdict::Part(part),
            Range::Outside => Verdict::Without(StatusCode::RANGE_NOT_SATISFIABLE),
            Range::Ignored => Verdict::Whole,
        },
        None => Verdict::Whole,
    }
}

/// Whether the part asked for is one of the file that the caller knows (`If-Range`).
fn is_same(headers: &HeaderMap, entry: &Entry) -> bool {
    match text(headers, IF_RANGE) {
        None => true,
        Some(tag) if tag.starts_with(['"', 'W']) && tag.ends_with('"') => tag == entry.tag,
        Some(_) => seconds(headers, IF_RANGE).is_some() && seconds(headers, IF_RANGE) == entry.modified,
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Match {
    Strong,
    Weak,
}

/// Whether a list of tags, or `*`, names `tag`.
fn names(headers: &HeaderMap, name: HeaderName, tag: &str, how: Match) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).any(|given| {
        let given = if how == Match::Weak { given.strip_prefix("W/").unwrap_or(given) } else { given };
        given == "*" || given == tag
    })
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// A date in seconds since 1970; `None` also when it is none.
fn seconds(headers: &HeaderMap, name: HeaderName) -> Option<u64> {
    let date: SystemTime = httpdate::parse_http_date(text(headers, name)?).ok()?;
    date.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    const TAG: &str = "\"a-1\"";
    const DATE: &str = "Mon, 23 Nov 2026 01:02:03 GMT";
    const EARLIER: &str = "Mon, 23 Nov 2026 01:02:02 GMT";

    fn of(method: Method, given: &[(HeaderName, &'static str)]) -> Verdict {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(name, HeaderValue::from_static(value));
        }
        let entry = Entry {
            file: std::fs::File::open("/dev/null").unwrap(),
            size: 10,
            modified: Some(1_795_395_723),
            tag: TAG.to_owned(),
            content_type: String::new(),
        };
        verdict(&method, &headers, &entry)
    }

    #[test]
    fn conditions_are_met_in_the_order_of_the_rfc() {
        let without = |status: u16| Verdict::Without(StatusCode::from_u16(status).unwrap());
        let part = Verdict::Part(Part { from: 2, length: 8 });
        let ranged = (RANGE, "bytes=2-");
        for (given, expected) in [
            (vec![], Verdict::Whole),
            (vec![(IF_NONE_MATCH, TAG)], without(304)),
            (vec![(IF_NONE_MATCH, "\"b\", W/\"a-1\"")], without(304)),
            (vec![(IF_NONE_MATCH, "\"b\""), (IF_NONE_MATCH, TAG)], without(304)),
            (vec![(IF_NONE_MATCH, "*")], without(304)),
            (vec![(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, DATE)], Verdict::Whole),
            (vec![(IF_MODIFIED_SINCE, DATE)], without(304)),
            (vec![(IF_MODIFIED_SINCE, EARLIER)], Verdict::Whole),
            (vec![(IF_MODIFIED_SINCE, "yesterday")], Verdict::Whole),
            (vec![(IF_MATCH, "\"b\"")], without(412)),
            (vec![(IF_MATCH, "W/\"a-1\"")], without(412)),
            (vec![(IF_MATCH, TAG), (IF_UNMODIFIED_SINCE, EARLIER)], Verdict::Whole),
            (vec![(IF_UNMODIFIED_SINCE, EARLIER)], without(412)),
            (vec![ranged.clone()], Verdict::Part(Part { from: 2, length: 8 })),
            (vec![(RANGE, "bytes=10-")], without(416)),
            (vec![ranged.clone(), (IF_RANGE, TAG)], part),
            (vec![ranged.clone(), (IF_RANGE, DATE)], Verdict::Part(Part { from: 2, length: 8 })),
            (vec![ranged.clone(), (IF_RANGE, "W/\"a-1\"")], Verdict::Whole),
            (vec![ranged.clone(), (IF_RANGE, EARLIER)], Verdict::Whole),
            (vec![ranged.clone(), (IF_NONE_MATCH, TAG)], without(304)),
        ] {
            assert_eq!(of(Method::GET, &given), expected, "{given:?}");
        }
        assert_eq!(of(Method::HEAD, &[ranged]), Verdict::Whole);
        assert_eq!(of(Method::POST, &[(IF_NONE_MATCH, TAG)]), Verdict::Whole);
    }
}
