//! What goes on: watches, and logs that are followed.

use super::path::{Path, Query};
use super::{Answer, Api, Mode, status};
use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use std::convert::Infallible;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

impl Api {
    pub(super) fn watch(&self, path: Path, query: &Query) -> Answer {
        let mut at: u64 = query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
        let query = query.clone();
        if at > self.state().store.version() {
            return status(504, "Timeout", "Too large resource version");
        }
        self.stream(move |api| {
            let state = api.state();
            if at < state.store.forgotten {
                let gone = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                    "code": 410, "reason": "Expired", "message": "too old resource version"});
                return (vec![event("ERROR", &gone)], false);
            }
            let news = state.store.changes.iter().filter(|change| change.version > at);
            let news = news.filter(|change| path.takes(&change.resource, &change.namespace));
            let news = news.filter(|change| query.selects(&change.object));
            let lines = news.map(|change| event(change.what, &change.object)).collect();
            at = state.store.changes.last().map_or(at, |change| change.version.max(at));
            (lines, true)
        })
    }

    pub(super) fn log(&self, path: &Path, query: &Query) -> Answer {
        let (key, follow) = ((path.namespace.clone(), path.name.clone()), query.has("follow"));
        let since: Option<jiff::Timestamp> = query.get("sinceTime").and_then(|since| since.parse().ok());
        let tail: Option<usize> = query.get("tailLines").and_then(|tail| tail.parse().ok());
        let mut sent = 0;
        let mut first = true;
        self.stream(move |api| {
            let state = api.state();
            let all = state.logs.get(&key).cloned().unwrap_or_default();
            let mut lines: Vec<String> = all[sent..].to_vec();
            sent = all.len();
            let time = |line: &String| line.split(' ').next().and_then(|time| time.parse::<jiff::Timestamp>().ok());
            lines.retain(|line| since.is_none_or(|since| time(line).is_none_or(|at| at >= since)));
            if std::mem::replace(&mut first, false) {
                lines.drain(..lines.len().saturating_sub(tail.unwrap_or(usize::MAX)));
            }
            let alive = state.store.get("pods", &key.0, &key.1).is_some();
            (lines.into_iter().map(|line| line + "\n").collect(), follow && alive)
        })
    }

    /// A body that grows: `more` gives what is new, and whether to go on.
    fn stream(&self, mut more: impl FnMut(&Self) -> (Vec<String>, bool) + Send + 'static) -> Answer {
        let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(64);
        let api = self.clone();
        let mut bell = self.bell.subscribe();
        let age = self.state().age;
        tokio::spawn(async move {
            loop {
                bell.mark_unchanged();
                let is_over = |api: &Self| {
                    let state = api.state();
                    state.age != age || state.mode == Mode::Down
                };
                if is_over(&api) {
                    return;
                }
                let (lines, goes_on) = more(&api);
                for line in lines {
                    if sender.send(Ok(Frame::data(Bytes::from(line)))).await.is_err() {
                        return;
                    }
                }
                if !goes_on {
                    return;
                }
                tokio::select! {
                    changed = bell.changed() => if changed.is_err() { return },
                    () = sender.closed() => return,
                }
            }
        });
        Response::new(BodyExt::boxed(StreamBody::new(ReceiverStream::new(receiver))))
    }
}

fn event(what: &str, object: &Value) -> String {
    json!({"type": what, "object": object}).to_string() + "\n"
}
