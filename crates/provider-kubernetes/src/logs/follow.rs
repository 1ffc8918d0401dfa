//! Logs as they grow: first what is there, by time, then new lines of all pods, also of those that start later. It ends
//! with the function, or with the reader.

use super::line::{self, Timed, Wish};
use super::{Logs, merge};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::watcher::{self, Event};
use kubernetes::WATCH_SECONDS;
use provider::ReplicaTable;
use std::collections::{HashMap, HashSet, VecDeque};
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use wire::log::LogLine;

/// Lines read ahead of a reader.
const AHEAD: usize = 256;
/// How long to wait before a log is opened again: a container that starts has none yet. Longer and longer while nothing comes
/// of it, up to the second: one that ends again and again is not asked about all the time.
const REOPEN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));

/// Where in a pod's log a reader is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Place {
    /// The time of the last line read.
    at: Option<Timestamp>,
    /// How many lines of that time were read.
    lines: usize,
}

impl Place {
    fn passed(&mut self, at: Timestamp) {
        self.lines = if self.at == Some(at) { self.lines + 1 } else { 1 };
        self.at = Some(at);
    }
}

/// Follows the logs of a function: those of these pods, and of those to come.
pub(super) fn stream(logs: Logs, pods: Vec<String>, table: ReplicaTable) -> BoxStream<'static, LogLine> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let task = AbortOnDropHandle::new(tokio::spawn(async move {
        let Some(places) = past(&logs, pods, &sender).await else { return };
        let mut table = table;
        tokio::select! {
            () = new(&logs, places, &sender) => {}
            () = sender.closed() => {}
            _ = table.wait_for(&logs.name, |function| function.is_none()) => {}
        }
    }));
    let lines = stream::unfold((receiver, task), |(mut receiver, task)| async move {
        let line = receiver.recv().await?;
        Some((line, (receiver, task)))
    });
    lines.boxed()
}

/// Sends what is there; gives how far each pod's log was read. `None` when nobody reads any more.
async fn past(logs: &Logs, pods: Vec<String>, sender: &mpsc::Sender<LogLine>) -> Option<HashMap<String, Place>> {
    let mut places: HashMap<String, Place> = pods.iter().map(|pod| (pod.clone(), Place::default())).collect();
    let mut merged = merge::merge(logs.open_all(pods).await);
    let mut kept: VecDeque<LogLine> = VecDeque::new();
    while let Some(Timed { at, line }) = merged.next().await {
        places.entry(line.instance.clone()).or_default().passed(at);
        match logs.tail {
            None => sender.send(line).await.ok()?,
            Some(tail) => {
                kept.push_back(line);
                if kept.len() > tail {
                    kept.pop_front();
                }
            }
        }
    }
    for line in kept {
        sender.send(line).await.ok()?;
    }
    Some(places)
}

/// Sends new lines, for ever.
async fn new(logs: &Logs, mut places: HashMap<String, Place>, sender: &mpsc::Sender<LogLine>) {
    let mut readers = JoinSet::new();
    let mut open: HashSet<String> = HashSet::new();
    let config = watcher::Config::default().labels(&logs.selector()).timeout(WATCH_SECONDS);
    let mut pods = pin!(watcher::watcher(logs.metadata.clone(), config));
    loop {
        tokio::select! {
            event = pods.next() => match event {
                Some(Ok(Event::Apply(pod) | Event::InitApply(pod))) => {
                    let pod = pod.name_any();
                    if logs.wants(&pod) && open.insert(pod.clone()) {
                        let place = places.remove(&pod).unwrap_or_default();
                        readers.spawn(read(logs.clone(), pod, place, sender.clone()));
                    }
                }
                Some(Ok(Event::Delete(_) | Event::Init | Event::InitDone)) => {}
                Some(Err(error)) => {
                    tracing::debug!(function = %logs.name, %error, "The pods of a function cannot be followed");
                    tokio::time::sleep(REOPEN.0).await;
                }
                None => return,
            },
            Some(_) = readers.join_next(), if !readers.is_empty() => {}
        }
    }
}

/// Sends the new lines of one pod until it is gone.
async fn read(logs: Logs, pod: String, mut place: Place, sender: mpsc::Sender<LogLine>) {
    let mut wait = REOPEN.0;
    loop {
        let (before, opened) = (place, Instant::now());
        let since = place.at.max(logs.since);
        let wish = Wish { follow: true, since, tail: None };
        // Of a pod that was there, what is older has been sent; one that is new is read from its beginning.
        match line::open(&logs.pods, &logs.name, &pod, &wish).await {
            Ok(mut lines) => {
                let mut known = place.lines;
                while let Some(Timed { at, line }) = lines.next().await {
                    if place.at == Some(at) && known > 0 {
                        known -= 1;
                        continue;
                    }
                    place.passed(at);
                    if sender.send(line).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) => tracing::debug!(function = %logs.name, pod, error, "A pod's log cannot be followed"),
        }
        // A connection that was quiet for long is no container that does not run.
        if place != before || opened.elapsed() > REOPEN.1 {
            wait = REOPEN.0;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(REOPEN.1);
        // While the API server is away nobody knows: the pod may be there still.
        if let Ok(None) = logs.pods.get_metadata_opt(&pod).await {
            return;
        }
    }
}
