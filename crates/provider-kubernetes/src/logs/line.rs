//! One pod's log, line by line, with the time of each.

use crate::answer;
use futures_util::io::AsyncBufReadExt;
use futures_util::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};
use std::future::ready;
use std::time::Duration;
use wire::FunctionName;
use wire::log::LogLine;

/// How long the API server may take to open a log.
const PATIENCE: Duration = Duration::from_secs(15);

/// A line and when it was written.
#[derive(Clone, Debug)]
pub(super) struct Timed {
    pub(super) at: Timestamp,
    pub(super) line: LogLine,
}

/// Which lines of a pod's log are wanted.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) follow: bool,
    pub(super) since: Option<Timestamp>,
    pub(super) tail: Option<usize>,
}

/// Opens a pod's log. The stream ends where the log does or the connection breaks.
pub(super) async fn open(
    pods: &Api<Pod>,
    function: &FunctionName,
    pod: &str,
    wish: &Wish,
) -> Result<BoxStream<'static, Timed>, String> {
    let params = LogParams {
        container: Some(function.name().to_owned()),
        follow: wish.follow,
        // The API takes whole seconds and rounds: a second earlier misses nothing, and what is too early is left out
        // below.
        since_time: wish.since.and_then(|since| since.checked_sub(Duration::from_secs(1)).ok()),
        tail_lines: wish.tail.and_then(|tail| i64::try_from(tail).ok()),
        timestamps: true,
        ..LogParams::default()
    };
    let opened = tokio::time::timeout(PATIENCE, pods.log_stream(pod, &params)).await;
    let reader = match opened {
        Ok(Ok(reader)) => reader,
        Ok(Err(kube::Error::Api(status))) => return Err(format!("{} ({})", status.message, status.code)),
        Ok(Err(error)) => return Err(answer::unanswered(&error)),
        Err(_) => return Err("the Kubernetes API server does not answer".to_owned()),
    };
    let (function, pod, since) = (function.clone(), pod.to_owned(), wish.since);
    // What a function writes need not be UTF-8.
    let lines = stream::unfold(Box::pin(reader), |mut reader| async move {
        let mut bytes = Vec::new();
        let read = reader.read_until(b'\n', &mut bytes).await.ok().filter(|read| *read > 0)?;
        bytes.truncate(read - usize::from(bytes.ends_with(b"\n")));
        Some((bytes, reader))
    });
    let lines = lines.filter_map(move |bytes| {
        let line = read(&String::from_utf8_lossy(&bytes), &function, &pod);
        ready(line.filter(|line| since.is_none_or(|since| line.at >= since)))
    });
    Ok(lines.boxed())
}

/// Reads `TIME TEXT`.
fn read(text: &str, function: &FunctionName, pod: &str) -> Option<Timed> {
    let (time, text) = text.split_once(' ').unwrap_or((text, ""));
    let at: Timestamp = time.parse().ok()?;
    let line = LogLine {
        name: function.name().to_owned(),
        namespace: function.namespace().to_owned(),
        instance: pod.to_owned(),
        timestamp: at.to_string(),
        text: text.trim_end_matches('\r').to_owned(),
    };
    Some(Timed { at, line })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_time_and_a_text() {
        let function = "order.shop".parse().unwrap();
        let line = read("2026-01-02T05:04:05.000000007+02:00 hello  world ", &function, "order-1").unwrap();
        assert_eq!(line.line.timestamp, "2026-01-02T03:04:05.000000007Z");
        assert_eq!((line.line.text.as_str(), line.line.instance.as_str()), ("hello  world ", "order-1"));
        assert_eq!(read("2026-01-02T03:04:05Z", &function, "p").unwrap().line.text, "");
        assert!(read("unable to retrieve container logs", &function, "p").is_none());
    }
}
