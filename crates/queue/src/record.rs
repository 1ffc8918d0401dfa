//! How an invocation lies on disk: a version byte, a head in postcard's format behind its length, the raw body.

use crate::{Invocation, Source, TraceContext};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The version this code writes.
const VERSION: u8 = 1;
/// The version byte and the head's length.
const PREFIX: usize = 5;

#[derive(Deserialize, Serialize)]
struct Head {
    call_id: String,
    function: String,
    method: String,
    path_and_query: String,
    headers: Vec<(String, Vec<u8>)>,
    callback_url: Option<String>,
    accepted_at: u64,
    trace: Option<(String, String)>,
    source: u8,
    key: Option<String>,
}

/// Why bytes are no record.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum RecordError {
    /// A newer version wrote it.
    #[error("the record has version {0}, and this one reads {VERSION}")]
    Version(u8),
    /// It is cut short or garbled.
    #[error("the record is damaged")]
    Damaged,
}

/// An invocation as bytes.
pub(crate) fn encode(invocation: &Invocation) -> Vec<u8> {
    let head = Head {
        call_id: invocation.call_id.clone(),
        function: invocation.function.to_string(),
        method: invocation.method.clone(),
        path_and_query: invocation.path_and_query.clone(),
        headers: invocation.headers.clone(),
        callback_url: invocation.callback_url.clone(),
        accepted_at: invocation.accepted_at,
        trace: invocation.trace.as_ref().map(|trace| (trace.traceparent.clone(), trace.tracestate.clone())),
        source: match invocation.source {
            Source::Http => 0,
            Source::Mqtt => 1,
            Source::Cron => 2,
        },
        key: invocation.key.clone(),
    };
    let head = postcard::to_allocvec(&head).expect("text, bytes and numbers always encode");
    let mut record = Vec::with_capacity(PREFIX + head.len() + invocation.body.len());
    record.push(VERSION);
    // A head is made of a request's headers: far below 4 GiB.
    record.extend_from_slice(&u32::try_from(head.len()).unwrap_or(u32::MAX).to_le_bytes());
    record.extend_from_slice(&head);
    record.extend_from_slice(&invocation.body);
    record
}

/// The invocation in these bytes.
pub(crate) fn decode(record: &[u8]) -> Result<Invocation, RecordError> {
    let (version, rest) = record.split_first().ok_or(RecordError::Damaged)?;
    if *version != VERSION {
        return Err(RecordError::Version(*version));
    }
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(RecordError::Damaged)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| RecordError::Damaged)?;
    let (head, body) = rest.split_at_checked(length).ok_or(RecordError::Damaged)?;
    let head: Head = postcard::from_bytes(head).map_err(|_| RecordError::Damaged)?;
    Ok(Invocation {
        call_id: head.call_id,
        function: head.function.parse().map_err(|_| RecordError::Damaged)?,
        method: head.method,
        path_and_query: head.path_and_query,
        headers: head.headers,
        body: Bytes::copy_from_slice(body),
        callback_url: head.callback_url,
        accepted_at: head.accepted_at,
        trace: head.trace.map(|(traceparent, tracestate)| TraceContext { traceparent, tracestate }),
        source: match head.source {
            0 => Source::Http,
            1 => Source::Mqtt,
            2 => Source::Cron,
            _ => return Err(RecordError::Damaged),
        },
        key: head.key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn invocation() -> impl Strategy<Value = Invocation> {
        let text = || "[ -~]{0,20}";
        let headers = proptest::collection::vec(("[a-z-]{1,10}", proptest::collection::vec(any::<u8>(), 0..20)), 0..5);
        let body = proptest::collection::vec(any::<u8>(), 0..200);
        let source = prop_oneof![Just(Source::Http), Just(Source::Mqtt), Just(Source::Cron)];
        (text(), "[a-z]{1,10}", headers, body, any::<u64>(), proptest::option::of((text(), text())), source).prop_map(
            |(call_id, name, headers, body, accepted_at, trace, source)| Invocation {
                key: trace.as_ref().map(|(key, _)| key.clone()),
                call_id,
                function: name.parse().unwrap(),
                method: "POST".to_owned(),
                path_and_query: "/a%2Fb?c=d".to_owned(),
                headers,
                body: body.into(),
                callback_url: None,
                accepted_at,
                trace: trace.map(|(traceparent, tracestate)| TraceContext { traceparent, tracestate }),
                source,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(invocation in invocation()) {
            prop_assert_eq!(decode(&encode(&invocation)), Ok(invocation));
        }

        #[test]
        fn garbled_bytes_are_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            drop(decode(&bytes));
        }

        #[test]
        fn a_cut_record_never_reads_as_whole_headers(invocation in invocation(), cut in 0usize..5) {
            prop_assert!(decode(&encode(&invocation)[..cut]).is_err());
        }
    }

    #[test]
    fn a_newer_version_is_named() {
        assert_eq!(decode(&[9, 0, 0, 0, 0]), Err(RecordError::Version(9)));
    }
}
