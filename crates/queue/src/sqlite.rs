//! The default store: SQLite in WAL mode with synchronous=FULL.
//!
//! A push is one row. Its body goes when the invocation is done; what is left is its status, until it is forgotten. A
//! dead letter is kept whole.

mod dead_letters;
mod status;

use crate::record;
use crate::writer::{Answer, Ask, Engine, Writer};
use crate::{Counts, Invocation, Lease, Outcome, Queue, QueueError, Sequence};
use rusqlite::{Connection, ErrorCode, OptionalExtension, named_params, params};
pub(crate) use status::rfc3339;
use status::status;
use std::cell::Cell;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use wire::FunctionName;
use wire::call::CallStatus;

/// The file in the queue's directory.
const FILE: &str = "queue.sqlite";
/// The schema's version, in `user_version`.
const VERSION: i32 = 1;
/// The most rows one [`Ask::Forget`] deletes, so that pushes need not wait for long.
const FORGET_AT_ONCE: u32 = 2_000;
/// The most pages one [`Ask::Forget`] gives back, and the least that are kept.
const GIVE_BACK_AT_ONCE: u32 = 2_048;

const WAITING: u8 = 0;
const LEASED: u8 = 1;
const DONE: u8 = 2;
const DEAD: u8 = 3;
/// Waiting for an older one of its function and key to end.
const BEHIND: u8 = 4;

/// The partial indexes hold what waits, what is ordered and what has ended; most rows are in one of them.
const SCHEMA: &str = "
CREATE TABLE invocation (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    state INTEGER NOT NULL,
    due INTEGER NOT NULL,
    function TEXT NOT NULL,
    key TEXT,
    call_id TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    accepted_at INTEGER NOT NULL,
    finished_at INTEGER,
    status INTEGER,
    reason TEXT,
    record BLOB
);
CREATE INDEX waiting ON invocation (function, due, sequence) WHERE state = 0;
CREATE INDEX leased ON invocation (sequence) WHERE state = 1;
CREATE INDEX ordered ON invocation (function, key, sequence) WHERE key IS NOT NULL AND state IN (0, 1, 4);
CREATE INDEX ended ON invocation (state, finished_at) WHERE state IN (2, 3);
CREATE INDEX call ON invocation (call_id);
";

/// How hard the store tries to keep what it accepted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Durability {
    /// Everything acknowledged survives a power cut.
    #[default]
    Full,
    /// No syncs: for tests that show that the others would notice.
    None,
}

/// Opens the queue in a directory, making it when there is none.
pub fn open(directory: &Path) -> Result<Arc<dyn Queue>, QueueError> {
    open_with(directory, Durability::Full)
}

/// Opens the queue with a chosen durability.
pub fn open_with(directory: &Path, durability: Durability) -> Result<Arc<dyn Queue>, QueueError> {
    let engine = Sqlite::open(directory, durability)?;
    Ok(Arc::new(Writer::start("queue-sqlite", engine)?))
}

struct Sqlite {
    connection: Connection,
    /// What the dead letters' records hold, and what they held when the batch began.
    dead_bytes: Cell<u64>,
    dead_bytes_before: u64,
}

impl Sqlite {
    fn open(directory: &Path, durability: Durability) -> Result<Self, QueueError> {
        std::fs::create_dir_all(directory).map_err(|error| failed_at(directory, &error))?;
        let file = directory.join(FILE);
        let connection = Connection::open(&file).map_err(|error| failed_at(&file, &error))?;
        Self::prepare(&connection, durability).map_err(|error| failed_at(&file, &error))?;
        let version: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(store_error)?;
        match version {
            0 => connection
                .execute_batch(&format!("BEGIN;{SCHEMA}PRAGMA user_version = {VERSION};COMMIT"))
                .map_err(|error| failed_at(&file, &error))?,
            VERSION => {}
            newer => {
                let why = format!("it has schema {newer}, and this version of crema reads {VERSION}");
                return Err(QueueError::Failed(format!("{}: {why}", file.display())));
            }
        }
        // New names are durable only with their directories.
        for directory in [Some(directory), directory.parent()].into_iter().flatten() {
            let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
            let synced = File::open(directory).and_then(|directory| directory.sync_all());
            synced.map_err(|error| failed_at(directory, &error))?;
        }
        // A lease ends with the process.
        connection.execute("UPDATE invocation SET state = 0 WHERE state = 1", []).map_err(store_error)?;
        // Nothing is behind what is not there: should a damaged file ever say so, this mends it.
        connection
            .execute(
                "UPDATE invocation SET state = 0 WHERE state = 4 AND sequence IN (
                     SELECT min(sequence) FROM invocation WHERE key IS NOT NULL AND state IN (0, 1, 4)
                     GROUP BY function, key)",
                [],
            )
            .map_err(store_error)?;
        connection.set_prepared_statement_cache_capacity(32);
        let dead_bytes = dead_letters::bytes(&connection).map_err(store_error)?;
        Ok(Self { connection, dead_bytes: Cell::new(dead_bytes), dead_bytes_before: dead_bytes })
    }

    fn prepare(connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
        // Only before the first table: space of ended invocations goes back to the disk.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", if durability == Durability::Full { "FULL" } else { "OFF" })?;
        connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
        connection.pragma_update(None, "cache_size", -2048)?;
        connection.pragma_update(None, "temp_store", "MEMORY")
    }

    fn push(&self, batch: &[Invocation]) -> Result<Vec<Sequence>, QueueError> {
        // One row is all or nothing by itself.
        if batch.len() == 1 {
            return batch.iter().map(|invocation| self.insert(invocation)).collect();
        }
        self.connection.execute_batch("SAVEPOINT push").map_err(store_error)?;
        let pushed: Result<Vec<_>, _> = batch.iter().map(|invocation| self.insert(invocation)).collect();
        let end = if pushed.is_ok() { "RELEASE push" } else { "ROLLBACK TO push; RELEASE push" };
        match (pushed, self.connection.execute_batch(end)) {
            (Ok(sequences), Ok(())) => Ok(sequences),
            (Err(error), _) => Err(error),
            (Ok(_), Err(error)) => Err(store_error(error)),
        }
    }

    fn insert(&self, invocation: &Invocation) -> Result<Sequence, QueueError> {
        let function = invocation.function.to_string();
        let state = match &invocation.key {
            Some(key) if self.has_older(&function, key)? => BEHIND,
            _ => WAITING,
        };
        self.connection
            .prepare_cached(
                "INSERT INTO invocation (state, due, function, key, call_id, accepted_at, record)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?2, ?6)",
            )
            .and_then(|mut insert| {
                insert.insert(params![
                    state,
                    number(invocation.accepted_at),
                    function,
                    invocation.key,
                    invocation.call_id,
                    record::encode(invocation)
                ])
            })
            .map(i64::unsigned_abs)
            .map_err(store_error)
    }

    fn has_older(&self, function: &str, key: &str) -> Result<bool, QueueError> {
        self.connection
            .prepare_cached(
                "SELECT 1 FROM invocation WHERE function = ?1 AND key = ?2 AND key IS NOT NULL AND state IN (0, 1, 4)
                 LIMIT 1",
            )
            .and_then(|mut select| select.exists(params![function, key]))
            .map_err(store_error)
    }

    /// The functions that have something waiting, by hopping through the index.
    fn waiting_functions(&self) -> rusqlite::Result<Vec<String>> {
        self.connection
            .prepare_cached(
                "WITH RECURSIVE names (name) AS (
                     SELECT min(function) FROM invocation WHERE state = 0
                     UNION ALL
                     SELECT (SELECT min(function) FROM invocation WHERE state = 0 AND function > name)
                     FROM names WHERE name IS NOT NULL
                 ) SELECT name FROM names WHERE name IS NOT NULL",
            )?
            .query_map([], |row| row.get(0))?
            .collect()
    }

    fn lease(&self, limit: usize, full: &[FunctionName], now: u64) -> Result<Vec<Lease>, QueueError> {
        let mut functions = self.waiting_functions().map_err(store_error)?;
        functions.retain(|function| !full.iter().any(|full| full.to_string() == *function));
        // With less room than functions the first would always be the first: everyone has a turn at it.
        if !functions.is_empty() {
            let turn = usize::try_from(now).unwrap_or_default() % functions.len();
            functions.rotate_left(turn);
        }
        let mut leases = Vec::new();
        // What one function leaves of its share goes to those after it; of the last share nothing is left over.
        for (index, function) in functions.iter().enumerate() {
            let share = (limit - leases.len()).div_ceil(functions.len() - index);
            for (sequence, attempts, blob) in self.due(function, now, share).map_err(store_error)? {
                self.take(sequence).map_err(store_error)?;
                match record::decode(&blob) {
                    Ok(invocation) => leases.push(Lease { sequence, attempt: attempts + 1, invocation }),
                    Err(error) => {
                        tracing::error!(sequence, %error, "an invocation cannot be read and is given up");
                        let outcome = Outcome { status: None, reason: Some(error.to_string()) };
                        self.end(sequence, DEAD, &outcome, now)?;
                    }
                }
            }
        }
        leases.sort_by_key(|lease| lease.sequence);
        Ok(leases)
    }

    fn due(&self, function: &str, now: u64, limit: usize) -> rusqlite::Result<Vec<(Sequence, u32, Vec<u8>)>> {
        self.connection
            .prepare_cached(
                "SELECT sequence, attempts, record FROM invocation
                 WHERE state = 0 AND function = ?1 AND due <= ?2 ORDER BY due, sequence LIMIT ?3",
            )?
            .query_map(params![function, number(now), number(limit as u64)], |row| {
                Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?, row.get(2)?))
            })?
            .collect()
    }

    fn take(&self, sequence: Sequence) -> rusqlite::Result<usize> {
        self.connection
            .prepare_cached("UPDATE invocation SET state = 1, attempts = attempts + 1 WHERE sequence = ?1")?
            .execute([number(sequence)])
    }

    fn end(&self, sequence: Sequence, state: u8, outcome: &Outcome, now: u64) -> Result<Answer, QueueError> {
        let ended: Option<(String, Option<String>, Option<i64>)> = self
            .connection
            .prepare_cached(
                "UPDATE invocation SET state = ?2, finished_at = ?3, status = ?4, reason = ?5,
                     record = CASE ?2 WHEN 3 THEN record END
                 WHERE sequence = ?1 AND state IN (0, 1, 4) RETURNING function, key, length(record)",
            )
            .and_then(|mut update| {
                update
                    .query_row(params![number(sequence), state, number(now), outcome.status, outcome.reason], |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                    })
                    .optional()
            })
            .map_err(store_error)?;
        let Some((function, key, kept)) = ended else { return Ok(Answer::Done) };
        self.dead_bytes.set(self.dead_bytes.get() + kept.map_or(0, i64::unsigned_abs));
        if let Some(key) = key {
            self.free_next(&function, &key).map_err(store_error)?;
        }
        Ok(Answer::Done)
    }

    /// The oldest one behind an invocation that has ended waits for nothing any more.
    fn free_next(&self, function: &str, key: &str) -> rusqlite::Result<usize> {
        self.connection
            .prepare_cached(
                "UPDATE invocation SET state = 0 WHERE state = 4 AND sequence = (
                     SELECT min(sequence) FROM invocation
                     WHERE function = ?1 AND key = ?2 AND key IS NOT NULL AND state IN (0, 1, 4))",
            )?
            .execute([function, key])
    }

    fn retry(&self, sequence: Sequence, outcome: &Outcome, not_before: u64) -> rusqlite::Result<usize> {
        self.connection
            .prepare_cached(
                "UPDATE invocation SET state = 0, due = ?2, status = ?3, reason = ?4
                 WHERE sequence = ?1 AND state = 1",
            )?
            .execute(params![number(sequence), number(not_before), outcome.status, outcome.reason])
    }

    fn statuses(&self, rest: &str, value: &dyn rusqlite::ToSql, limit: usize) -> rusqlite::Result<Vec<CallStatus>> {
        let select = format!(
            "SELECT call_id, function, state, attempts, status, reason, accepted_at, due, finished_at
             FROM invocation {rest} LIMIT :limit"
        );
        self.connection
            .prepare_cached(&select)?
            .query_map(named_params! {":value": value, ":limit": number(limit as u64)}, status)?
            .collect()
    }

    fn counts(&self) -> rusqlite::Result<Counts> {
        let count = |filter: &str| -> rusqlite::Result<u64> {
            let select = format!("SELECT count(*) FROM invocation WHERE {filter}");
            self.connection.prepare_cached(&select)?.query_row([], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
        };
        Ok(Counts {
            // Said as the indexes have it: records may be large, and are not looked at.
            pending: count("state = 0")?
                + count("state = 1")?
                + count("state = 4 AND key IS NOT NULL AND state IN (0, 1, 4)")?,
            dead: count("state = 3 AND state IN (2, 3)")?,
        })
    }

    fn next_due(&self) -> rusqlite::Result<Option<u64>> {
        let mut earliest = None;
        for function in self.waiting_functions()? {
            let due: i64 = self
                .connection
                .prepare_cached("SELECT min(due) FROM invocation WHERE state = 0 AND function = ?1")?
                .query_row([function], |row| row.get(0))?;
            let due = due.unsigned_abs();
            earliest = Some(earliest.map_or(due, |earliest: u64| earliest.min(due)));
        }
        Ok(earliest)
    }

    /// Looks at all that is pending: clocks are seldom set back.
    fn bring_forward(&self, now: u64, longest: u64) -> rusqlite::Result<u64> {
        let mut brought = 0;
        // One by one, as the indexes have them.
        for pending in ["state = 0", "state = 1", "state = 4 AND key IS NOT NULL AND state IN (0, 1, 4)"] {
            let update = format!(
                "UPDATE invocation SET due = ?1 WHERE {pending} AND due > ?1 AND (accepted_at > ?1 OR due > ?2)"
            );
            let times = params![number(now), number(now.saturating_add(longest))];
            brought += self.connection.prepare_cached(&update)?.execute(times)?;
        }
        Ok(brought as u64)
    }

    fn forget(&self, before: u64, dead_before: u64) -> rusqlite::Result<u64> {
        let done = self
            .connection
            .prepare_cached(
                "DELETE FROM invocation WHERE sequence IN (
                     SELECT sequence FROM invocation WHERE state = 2 AND state IN (2, 3) AND finished_at < ?1
                     LIMIT ?2)",
            )?
            .execute(params![number(before), FORGET_AT_ONCE])?;
        let forgotten = done as u64 + self.forget_dead_letters(dead_before)?;
        self.give_back()?;
        Ok(forgotten)
    }

    /// Gives space that nothing used back to the disk, so much at a time that pushes need not wait for long; some is
    /// kept for the next invocations.
    fn give_back(&self) -> rusqlite::Result<()> {
        let free: u32 = self.connection.prepare_cached("PRAGMA freelist_count")?.query_row([], |row| row.get(0))?;
        let mut vacuum = self.connection.prepare_cached(&format!("PRAGMA incremental_vacuum({GIVE_BACK_AT_ONCE})"))?;
        if free > GIVE_BACK_AT_ONCE {
            // Each page is a row.
            let mut pages = vacuum.query([])?;
            while pages.next()?.is_some() {}
        }
        Ok(())
    }
}

impl Engine for Sqlite {
    fn begin(&mut self) -> Result<(), QueueError> {
        self.dead_bytes_before = self.dead_bytes.get();
        self.connection
            .prepare_cached("BEGIN IMMEDIATE")
            .and_then(|mut begin| begin.execute([]))
            .map(drop)
            .map_err(store_error)
    }

    fn apply(&mut self, ask: &Ask) -> Result<Answer, QueueError> {
        match ask {
            Ask::Push(batch) => self.push(batch).map(Answer::Pushed),
            Ask::Lease { limit, full, now } => self.lease(*limit, full, *now).map(Answer::Leased),
            Ask::NextDue => self.next_due().map(Answer::Due).map_err(store_error),
            Ask::BringForward { now, longest } => {
                self.bring_forward(*now, *longest).map(Answer::Forward).map_err(store_error)
            }
            Ask::Finish { sequence, outcome, now } => self.end(*sequence, DONE, outcome, *now),
            Ask::Bury { sequence, outcome, now } => self.end(*sequence, DEAD, outcome, *now),
            Ask::Retry { sequence, outcome, not_before } => {
                self.retry(*sequence, outcome, *not_before).map(|_| Answer::Done).map_err(store_error)
            }
            Ask::Call(call_id) => self
                .statuses("WHERE call_id = :value ORDER BY sequence DESC", call_id, 1)
                .map(Answer::Calls)
                .map_err(store_error),
            Ask::DeadLetters(limit) => self
                .statuses(
                    "WHERE state = :value AND state IN (2, 3) ORDER BY finished_at DESC, sequence DESC",
                    &DEAD,
                    *limit,
                )
                .map(Answer::Calls)
                .map_err(store_error),
            Ask::Requeue { call_id, now } => self.requeue(call_id, *now).map(Answer::Requeued),
            Ask::Counts => self.counts().map(Answer::Counts).map_err(store_error),
            Ask::Forget { before, dead_before } => {
                self.forget(*before, *dead_before).map(Answer::Forgotten).map_err(store_error)
            }
            Ask::Close => Ok(Answer::Done),
        }
    }

    fn commit(&mut self) -> Result<(), QueueError> {
        self.connection
            .prepare_cached("COMMIT")
            .and_then(|mut commit| commit.execute([]))
            .map(drop)
            .map_err(store_error)
    }

    fn rollback(&mut self) {
        self.dead_bytes.set(self.dead_bytes_before);
        if self.is_open() {
            self.connection
                .execute_batch("ROLLBACK")
                .unwrap_or_else(|error| tracing::warn!(%error, "a rollback failed"));
        }
    }

    fn is_open(&self) -> bool {
        !self.connection.is_autocommit()
    }

    fn close(&mut self) {
        // The log is emptied, so that the next start is quick.
        let emptied = self
            .give_back()
            .and_then(|()| self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
        emptied.unwrap_or_else(|error| tracing::warn!(%error, "closing the queue"));
    }
}

/// SQLite's integers are signed; times and sequences are far below 2⁶³.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[expect(clippy::needless_pass_by_value, reason = "map_err gives it away")]
fn store_error(error: rusqlite::Error) -> QueueError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => QueueError::Full(error.to_string()),
        // A full disk shows as a failed write too, when SQLite is at its own files.
        Some(ErrorCode::SystemIoFailure) if error.to_string().contains("full") => QueueError::Full(error.to_string()),
        _ => QueueError::Failed(error.to_string()),
    }
}

fn failed_at(path: &Path, error: &dyn std::error::Error) -> QueueError {
    QueueError::Failed(format!("{}: {error}", path.display()))
}
