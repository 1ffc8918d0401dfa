//! The stores under test, and invocations to put into them.

use queue::sqlite::Durability;
use queue::{Invocation, Queue, QueueError, Source, sled, sqlite};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Store {
    Sqlite,
    Sled,
}

impl Store {
    pub(crate) fn open(self, directory: &Path) -> Arc<dyn Queue> {
        self.try_open(directory).unwrap()
    }

    pub(crate) fn try_open(self, directory: &Path) -> Result<Arc<dyn Queue>, QueueError> {
        match self {
            Self::Sqlite => sqlite::open_with(directory, Durability::Full),
            Self::Sled => sled::open_with(directory, Durability::Full),
        }
    }
}

/// sled itself, in the directory of a closed store: its file may stay locked for a moment.
pub(crate) fn raw_sled(directory: &Path) -> ::sled::Db {
    let begun = Instant::now();
    loop {
        match ::sled::open(directory.join("queue.sled")) {
            Ok(db) => return db,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(30), "not within 30 s: {error}"),
        }
        std::thread::yield_now();
    }
}

/// An invocation of `function`, accepted at 1000.
pub(crate) fn invocation(call_id: &str, function: &str) -> Invocation {
    Invocation {
        call_id: call_id.to_owned(),
        function: function.parse().unwrap(),
        method: "POST".to_owned(),
        path_and_query: "/".to_owned(),
        headers: vec![("x-test".to_owned(), b"yes".to_vec())],
        body: "body".into(),
        callback_url: None,
        accepted_at: 1_000,
        trace: None,
        source: Source::Http,
        key: None,
    }
}

pub(crate) fn keyed(call_id: &str, function: &str, key: &str) -> Invocation {
    Invocation { key: Some(key.to_owned()), ..invocation(call_id, function) }
}
