//! Answers a query: what is in the files, then, when followed, what comes.

use super::file::Stored;
use futures_util::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use provider::LogQuery;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc;
use wire::FunctionName;
use wire::log::LogLine;

/// Lines read ahead of a reader.
const AHEAD: usize = 256;

/// What a line must be.
#[derive(Clone, Debug)]
struct Filter {
    since: Option<Timestamp>,
    instance: Option<String>,
}

impl Filter {
    fn takes(&self, timestamp: &str, instance: &str) -> bool {
        let at = || timestamp.parse::<Timestamp>().ok();
        self.instance.as_ref().is_none_or(|wanted| wanted == instance)
            && self.since.is_none_or(|since| at().is_none_or(|at| at >= since))
    }
}

pub(super) fn stream(
    name: FunctionName,
    files: Vec<(File, u64)>,
    followed: Option<broadcast::Receiver<LogLine>>,
    query: &LogQuery,
    since: Option<Timestamp>,
) -> BoxStream<'static, LogLine> {
    let filter = Filter { since, instance: query.instance.clone() };
    let old = stored(name.clone(), files, query.tail, filter.clone());
    match followed {
        None => old.boxed(),
        Some(receiver) => old.chain(new(name, receiver, filter)).boxed(),
    }
}

/// The lines in the files, read on a blocking thread that ends when nobody reads on.
fn stored(
    name: FunctionName,
    files: Vec<(File, u64)>,
    tail: Option<usize>,
    filter: Filter,
) -> impl stream::Stream<Item = LogLine> + Send + 'static {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let reader = tokio::task::spawn_blocking(move || {
        let lines = files.into_iter().flat_map(|(file, length)| {
            BufReader::new(file.take(length)).split(b'\n').map_while(Result::ok).collect::<Vec<_>>()
        });
        let mut lines = lines
            .filter_map(|line| serde_json::from_slice::<Stored>(&line).ok())
            .filter(|line| filter.takes(&line.timestamp, &line.instance))
            .map(|line| line.into_line(&name));
        match tail {
            None => drop(lines.try_for_each(|line| sender.blocking_send(line))),
            Some(count) => {
                let mut last = VecDeque::new();
                for line in lines {
                    last.push_back(line);
                    if last.len() > count {
                        last.pop_front();
                    }
                }
                drop(last.into_iter().try_for_each(|line| sender.blocking_send(line)));
            }
        }
    });
    stream::unfold((receiver, reader), |(mut receiver, reader)| async move {
        let line = receiver.recv().await?;
        Some((line, (receiver, reader)))
    })
}

/// The lines to come.
fn new(
    name: FunctionName,
    receiver: broadcast::Receiver<LogLine>,
    filter: Filter,
) -> impl stream::Stream<Item = LogLine> + Send + 'static {
    stream::unfold((name, receiver, filter, String::new()), |(name, mut receiver, filter, mut at)| async move {
        loop {
            let line = match receiver.recv().await {
                Ok(line) if filter.takes(&line.timestamp, &line.instance) => line,
                Ok(_) => continue,
                Err(RecvError::Lagged(missed)) => LogLine {
                    name: name.name().to_owned(),
                    namespace: name.namespace().to_owned(),
                    timestamp: at.clone(),
                    text: format!("crema: {missed} lines are left out here: they came faster than they were read"),
                    ..LogLine::default()
                },
                Err(RecvError::Closed) => return None,
            };
            at.clone_from(&line.timestamp);
            return Some((line, (name, receiver, filter, at)));
        }
    })
}
