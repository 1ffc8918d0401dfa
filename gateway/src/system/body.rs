//! Reads JSON bodies: with a limit in size and time, whatever `Content-Type` says, chunked or not.

use crate::respond::Refusal;
use crate::state::State;
use actix_web::web;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The largest body of a `/system` request, in bytes. Secrets are the largest: 1 MiB, more in base64.
const LIMIT: usize = 2 * 1024 * 1024;

/// Reads `what` from the body.
pub(super) async fn json<T: DeserializeOwned>(what: &str, payload: web::Payload, state: &State) -> Result<T, Refusal> {
    parse(&read(payload, state.config.read_timeout).await?, what, ToString::to_string)
}

/// Like [`json`], but its error repeats nothing of the body.
pub(super) async fn confidential_json<T: DeserializeOwned>(
    what: &str,
    payload: web::Payload,
    state: &State,
) -> Result<T, Refusal> {
    parse(&read(payload, state.config.read_timeout).await?, what, |error| {
        let why = if error.is_data() { "a field has the wrong type or is missing" } else { "it is not valid" };
        format!("{why} at line {} column {}", error.line(), error.column())
    })
}

/// Like [`json`], but no body at all is the default.
pub(super) async fn optional_json<T: DeserializeOwned + Default>(
    what: &str,
    payload: web::Payload,
    state: &State,
) -> Result<T, Refusal> {
    let bytes = read(payload, state.config.read_timeout).await?;
    if bytes.is_empty() { Ok(T::default()) } else { parse(&bytes, what, ToString::to_string) }
}

fn parse<T: DeserializeOwned>(
    bytes: &[u8],
    what: &str,
    say: impl FnOnce(&serde_json::Error) -> String,
) -> Result<T, Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::BadRequest(format!("the request has no body: send {what} as JSON")));
    }
    let refuse = |why: &str| Refusal::BadRequest(format!("the body is not {what} in JSON: {why}"));
    // An array would be taken as the fields in their order.
    let blank = bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    if bytes.get(blank) == Some(&b'[') {
        let line = bytes[..blank].iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = bytes[..=blank].rsplit(|byte| *byte == b'\n').next().map_or(1, <[u8]>::len);
        return Err(refuse(&format!("an object is expected, not an array, at line {line} column {column}")));
    }
    serde_json::from_slice(bytes).map_err(|error| refuse(&say(&error)))
}

/// The whole body.
async fn read(mut payload: web::Payload, limit: Duration) -> Result<Vec<u8>, Refusal> {
    let reading = async {
        let mut bytes = Vec::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| Refusal::BadRequest(format!("the body broke off: {error}")))?;
            if bytes.len() + chunk.len() > LIMIT {
                return Err(Refusal::TooLarge(format!("the body is over the limit of {LIMIT} bytes for /system")));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    };
    tokio::time::timeout(limit, reading).await.unwrap_or_else(|_| {
        Err(Refusal::RequestTimeout(format!(
            "the body did not arrive within {} (read_timeout)",
            wire::duration::format(limit)
        )))
    })
}
