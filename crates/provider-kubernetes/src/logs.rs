//! Logs of all replicas of a function, merged by time.

mod follow;
mod line;
mod merge;

use crate::answer::ask;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::core::PartialObjectMeta;
use kube::{Client, ResourceExt};
use kubernetes::label;
use provider::{LogQuery, ProviderError, ReplicaTable, Result};
use std::collections::VecDeque;
use wire::FunctionName;
use wire::log::LogLine;

/// The most lines that `tail` keeps in memory.
const MAX_TAIL: usize = 100_000;
/// Pods whose logs are opened at a time.
const OPENED_AT_ONCE: usize = 8;

/// Reads a query's `since`.
pub(crate) fn since(query: &LogQuery) -> Result<Option<Timestamp>> {
    let read = |text: &String| {
        text.parse()
            .map_err(|_| ProviderError::Invalid(format!("since: {text:?} is not a moment like 2026-01-02T03:04:05Z")))
    };
    query.since.as_ref().map(read).transpose()
}

/// The log lines of a function that a query asks for.
pub(crate) async fn open(
    client: &Client,
    name: &FunctionName,
    query: LogQuery,
    since: Option<Timestamp>,
    table: ReplicaTable,
) -> Result<BoxStream<'static, LogLine>> {
    let logs = Logs {
        pods: Api::namespaced(client.clone(), name.namespace()),
        metadata: Api::namespaced(client.clone(), name.namespace()),
        name: name.clone(),
        instance: query.instance,
        tail: query.tail.map(|tail| tail.min(MAX_TAIL)),
        since,
    };
    let names = logs.pod_names().await?;
    if query.follow {
        return Ok(follow::stream(logs, names, table));
    }
    let merged = merge::merge(logs.open_all(names).await);
    match logs.tail {
        None => Ok(merged.map(|timed| timed.line).boxed()),
        Some(tail) => {
            let last = last_of(merged, tail).await;
            Ok(stream::iter(last.into_iter().map(|timed| timed.line)).boxed())
        }
    }
}

/// The logs of one function.
#[derive(Clone)]
struct Logs {
    pods: Api<Pod>,
    metadata: Api<PartialObjectMeta<Pod>>,
    name: FunctionName,
    instance: Option<String>,
    tail: Option<usize>,
    since: Option<Timestamp>,
}

impl Logs {
    fn selector(&self) -> String {
        format!("{}={}", label::FUNCTION, self.name.name())
    }

    fn wants(&self, pod: &str) -> bool {
        self.instance.as_ref().is_none_or(|wanted| wanted == pod)
    }

    async fn pod_names(&self) -> Result<Vec<String>> {
        let params = ListParams::default().labels(&self.selector());
        let doing = format!("list the pods of function {}", self.name);
        let pods = ask(doing, self.pods.list_metadata(&params)).await?;
        Ok(pods.items.iter().map(ResourceExt::name_any).filter(|pod| self.wants(pod)).collect())
    }

    /// What is there of the logs of these pods; a pod without a log yet has none.
    async fn open_all(&self, pods: Vec<String>) -> Vec<BoxStream<'static, line::Timed>> {
        let opened = stream::iter(pods).map(async |pod| {
            let wish = line::Wish { follow: false, since: self.since, tail: self.tail };
            match line::open(&self.pods, &self.name, &pod, &wish).await {
                Ok(lines) => Some(lines),
                Err(error) => {
                    tracing::debug!(function = %self.name, pod, %error, "A pod's log cannot be read");
                    None
                }
            }
        });
        opened.buffered(OPENED_AT_ONCE).filter_map(std::future::ready).collect().await
    }
}

/// The last lines of a stream.
async fn last_of(mut lines: impl stream::Stream<Item = line::Timed> + Unpin, count: usize) -> VecDeque<line::Timed> {
    let mut last = VecDeque::new();
    while let Some(line) = lines.next().await {
        last.push_back(line);
        if last.len() > count {
            last.pop_front();
        }
    }
    last
}
