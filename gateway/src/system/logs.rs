//! `/system/logs`: a function's log as a stream of JSON objects, one a line, each sent as it comes.
//!
//! A followed log has no time limit (`write_timeout` does not cut it): it ends when the client goes, the function is
//! deleted or the gateway stops. While a function is silent an empty line now and then tells a client that went without
//! a word from one that waits.

use super::functions::named;
use super::query;
use crate::respond::Refusal;
use crate::state::State;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{Error, HttpRequest, HttpResponse, web};
use bytes::Bytes;
use daemon::Stop;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use provider::LogQuery;
use std::time::Duration;
use wire::log::LogLine;

/// How long a stream is silent before an empty line goes out.
const HEARTBEAT: Duration = Duration::from_secs(15);

pub(super) async fn stream(
    request: HttpRequest,
    state: web::Data<State>,
    stop: web::Data<Stop>,
) -> Result<HttpResponse, Refusal> {
    let Some(name) = query::get(&request, "name") else {
        return Err(Refusal::BadRequest("name is missing: say whose log, as in /system/logs?name=hello".to_owned()));
    };
    let name = named(&name, &query::namespace(&request, &state))?;
    let query = LogQuery {
        // Zero and less is all, as OpenFaaS has it.
        tail: query::number(&request, "tail")?.and_then(|tail| usize::try_from(tail).ok()).filter(|tail| *tail > 0),
        since: query::get(&request, "since"),
        instance: query::get(&request, "instance"),
        follow: query::flag(&request, "follow")?,
    };
    let lines = state.provider.logs(&name, query).await?;
    let stop = Stop::clone(&stop).stopped();
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/x-ndjson"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(written(lines, HEARTBEAT).take_until(stop)))
}

/// Lines as they are written, and an empty one whenever none came for a while.
fn written(
    lines: BoxStream<'static, LogLine>,
    heartbeat: Duration,
) -> impl Stream<Item = Result<Bytes, Error>> + 'static {
    stream::unfold(lines, move |mut lines| async move {
        let line = match tokio::time::timeout(heartbeat, lines.next()).await {
            Err(_) => Vec::new(),
            Ok(line) => serde_json::to_vec(&line?).expect("a log line is strings only"),
        };
        Some((Ok([line.as_slice(), b"\n"].concat().into()), lines))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_log_is_kept_open_with_empty_lines() {
        let line = LogLine { name: "a".to_owned(), text: "one\ntwo".to_owned(), ..LogLine::default() };
        let lines = stream::iter([line]).chain(stream::pending()).boxed();
        let chunks: Vec<_> =
            written(lines, Duration::from_millis(1)).take(3).map(|chunk| chunk.unwrap()).collect().await;
        assert!(chunks[0].ends_with(b"}\n") && chunks[0].iter().filter(|byte| **byte == b'\n').count() == 1);
        assert_eq!(&chunks[1..], ["\n", "\n"]);
    }
}
