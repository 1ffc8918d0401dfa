//! The stores whose promises are tested: push one, and list what is there.

use bytes::Bytes;
use function_sdk::sqlite::{Database, rusqlite};
use queue::sqlite::Durability;
use queue::{Invocation, Queue, QueueError, Source, sled, sqlite};
use rusqlite::Connection;
use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// The queue in SQLite.
    SqliteQueue,
    /// The queue in sled.
    SledQueue,
    /// What a function keeps its data in.
    FunctionData,
}

impl Kind {
    pub(crate) fn named(name: &str) -> Self {
        let all = [Self::SqliteQueue, Self::SledQueue, Self::FunctionData];
        all.into_iter().find(|kind| format!("{kind:?}") == name).expect("the parent names a kind")
    }

    pub(crate) fn open(self, directory: &Path, durability: Durability) -> Result<Store, String> {
        let say = |error: QueueError| error.to_string();
        let directory = &directory.join("data");
        match (self, durability) {
            (Self::SqliteQueue, _) => sqlite::open_with(directory, durability).map(Store::Queue).map_err(say),
            (Self::SledQueue, _) => sled::open_with(directory, durability).map(Store::Queue).map_err(say),
            (Self::FunctionData, Durability::Full) => Database::open(directory, "data.sqlite", &[TABLE])
                .map(|database| Store::Data(Arc::new(database)))
                .map_err(|error| error.to_string()),
            (Self::FunctionData, Durability::None) => unsynced(directory).map_err(|error| error.to_string()),
        }
    }
}

const TABLE: &str = "CREATE TABLE kept (id TEXT PRIMARY KEY NOT NULL, body BLOB NOT NULL) STRICT;";
const KEEP: &str = "INSERT INTO kept (id, body) VALUES (?1, ?2)";

/// What the SDK does, without its syncs.
fn unsynced(directory: &Path) -> rusqlite::Result<Store> {
    std::fs::create_dir_all(directory).expect("the disk works yet");
    let connection = Connection::open(directory.join("data.sqlite"))?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "off")?;
    connection.execute_batch(TABLE)?;
    connection.pragma_update(None, "user_version", 1)?;
    Ok(Store::Unsynced(Arc::new(Mutex::new(connection))))
}

#[derive(Clone)]
pub(crate) enum Store {
    Queue(Arc<dyn Queue>),
    Data(Arc<Database>),
    Unsynced(Arc<Mutex<Connection>>),
}

impl Store {
    /// Keeps a body under an id; returns once it is acknowledged.
    pub(crate) async fn keep(&self, id: String, body: Bytes) -> Result<(), String> {
        match self {
            Self::Queue(queue) => {
                queue.push(vec![invocation(id, body)]).await.map(drop).map_err(|error| error.to_string())
            }
            Self::Data(database) => database
                .write(move |transaction| transaction.execute(KEEP, (id, body.as_ref())))
                .await
                .map(drop)
                .map_err(|error| error.to_string()),
            Self::Unsynced(connection) => {
                let connection = connection.lock().unwrap();
                connection.execute(KEEP, (id, body.as_ref())).map(drop).map_err(|error| error.to_string())
            }
        }
    }

    /// The ids that are there with a body of this size.
    pub(crate) async fn kept(&self, size: usize) -> Result<HashSet<String>, String> {
        match self {
            Self::Queue(queue) => {
                let mut there = HashSet::new();
                loop {
                    // Few at a time: bodies are large.
                    let leases = queue.lease(64, Vec::new(), u64::MAX >> 1).await.map_err(|error| error.to_string())?;
                    if leases.is_empty() {
                        return Ok(there);
                    }
                    let whole = leases.into_iter().filter(|lease| lease.invocation.body == body(size));
                    there.extend(whole.map(|lease| lease.invocation.call_id));
                }
            }
            Self::Data(database) => database
                .read(move |transaction| {
                    let mut select = transaction.prepare("SELECT id FROM kept WHERE body = ?1")?;
                    select.query_map([body(size).as_ref()], |row| row.get(0))?.collect()
                })
                .await
                .map_err(|error| error.to_string()),
            Self::Unsynced(_) => Err("it is read as the SDK reads it".to_owned()),
        }
    }

    pub(crate) async fn close(&self) {
        if let Self::Queue(queue) = self {
            queue.close().await;
        }
    }
}

/// Bytes that do not compress and are not all alike.
pub(crate) fn body(size: usize) -> Bytes {
    (0..size).map(|byte| (byte.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

pub(crate) fn invocation(call_id: String, body: Bytes) -> Invocation {
    Invocation {
        call_id,
        function: "order".parse().expect("a good name"),
        method: "POST".to_owned(),
        path_and_query: "/".to_owned(),
        headers: vec![("content-type".to_owned(), b"application/octet-stream".to_vec())],
        body,
        callback_url: None,
        accepted_at: 1_000,
        trace: None,
        source: Source::Http,
        key: None,
    }
}
