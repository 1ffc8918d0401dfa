//! What functions write, line by line: `logs/NS/NAME/`, rotated and capped, and passed on to those who follow.
//!
//! Writing never makes a function wait for a reader or for a slow disk's sync; what cannot be written is counted in
//! the platform's own log, not an error of the function.

mod file;
mod lines;
mod query;
mod reader;

pub(crate) use reader::{Captured, Reader};

use crate::config::LogLimits;
use crate::disk;
use daemon::Clock;
use file::{RotatedFile, Stored};
use futures_util::stream::BoxStream;
use provider::LogQuery;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;
use wire::FunctionName;
use wire::log::LogLine;

/// Lines a follower may fall behind before it misses some. The room for them is there while anyone follows.
const FOLLOWER_LAG: usize = 4096;

/// The logs of all functions.
pub(crate) struct Logs {
    dir: PathBuf,
    limits: LogLimits,
    clock: Arc<dyn Clock>,
    /// Held for a map operation.
    open: Mutex<HashMap<FunctionName, Arc<FunctionLog>>>,
}

/// The log of one function.
pub(crate) struct FunctionLog {
    name: FunctionName,
    clock: Arc<dyn Clock>,
    /// Held while some lines are appended, so that a follower's first new line is the one after its last old one.
    open: Mutex<Open>,
}

struct Open {
    file: RotatedFile,
    /// `None` when nobody follows, and when the log is removed: that ends the followers' streams.
    followers: Option<broadcast::Sender<LogLine>>,
}

impl Logs {
    pub(crate) fn new(dir: &Path, limits: LogLimits, clock: Arc<dyn Clock>) -> Self {
        Self { dir: dir.to_owned(), limits, clock, open: Mutex::default() }
    }

    /// A function's log.
    pub(crate) fn of(&self, name: &FunctionName) -> Arc<FunctionLog> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let log = open.entry(name.clone()).or_insert_with(|| {
            Arc::new(FunctionLog {
                name: name.clone(),
                clock: Arc::clone(&self.clock),
                open: Mutex::new(Open { file: RotatedFile::new(self.path(name), self.limits), followers: None }),
            })
        });
        Arc::clone(log)
    }

    /// Removes a function's log. Replicas that are still ending write no more.
    pub(crate) fn remove(&self, name: &FunctionName) -> io::Result<()> {
        let removed = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        if let Some(log) = removed {
            let mut open = log.open();
            open.file.close();
            open.followers = None;
        }
        disk::remove_dir(&self.path(name), disk::briefly())
    }

    fn path(&self, name: &FunctionName) -> PathBuf {
        self.dir.join(name.namespace()).join(name.name())
    }
}

impl Open {
    fn follow(&mut self) -> broadcast::Receiver<LogLine> {
        self.followers.get_or_insert_with(|| broadcast::Sender::new(FOLLOWER_LAG)).subscribe()
    }
}

impl FunctionLog {
    /// Appends lines of one replica, which were read at the same time.
    pub(crate) fn append(&self, instance: &str, texts: &[String]) {
        if texts.is_empty() {
            return;
        }
        let mut open = self.open();
        let timestamp = format!("{:.9}", self.clock.now());
        open.file.append(&timestamp, instance, texts);
        if open.followers.as_ref().is_some_and(|followers| followers.receiver_count() == 0) {
            open.followers = None;
        }
        let Some(followers) = &open.followers else { return };
        for text in texts {
            let (timestamp, instance, text) = (timestamp.clone().into(), instance.into(), text.into());
            // That the last follower has just gone is no error.
            followers.send(Stored { timestamp, instance, text }.into_line(&self.name)).map(drop).unwrap_or_default();
        }
    }

    /// Appends a line of the platform's.
    pub(crate) fn note(&self, instance: &str, text: &str) {
        self.append(instance, &[format!("crema: {text}")]);
    }

    /// The lines a query asks for.
    pub(crate) fn read(&self, query: &LogQuery, since: Option<jiff::Timestamp>) -> BoxStream<'static, LogLine> {
        let (snapshot, followed) = {
            let mut open = self.open();
            let can_follow = query.follow && !open.file.is_closed();
            let followed = can_follow.then(|| open.follow());
            (open.file.snapshot(), followed)
        };
        query::stream(self.name.clone(), snapshot, followed, query, since)
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_log_that_nobody_follows_holds_no_room_for_followers() {
        let dir = tempfile::tempdir().unwrap();
        let limits = LogLimits { bytes: 1000, files: 2 };
        let log = Logs::new(dir.path(), limits, Arc::new(daemon::SystemClock)).of(&"talker".parse().unwrap());
        assert!(log.open().followers.is_none());
        let stream = log.read(&LogQuery { follow: true, ..LogQuery::default() }, None);
        log.note("talker-1", "one");
        assert!(log.open().followers.is_some());
        drop(stream);
        log.note("talker-1", "two");
        assert!(log.open().followers.is_none());
    }
}
