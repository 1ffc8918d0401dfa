//! One tree and what a group changes in it: seen at once by the group, on disk all together or not at all.
//!
//! sled's `flush` does not reach the disk (it asks for `sync_file_range`), and large values live in files of their own
//! that nothing syncs; so a commit ends with `syncfs` on the file system.
//!
//! On a full disk sled may wait for itself for ever (a large value that cannot be written leaves its log's buffer open),
//! so that writes stop while there is space left. After a write that failed all the same, sled refuses everything until
//! it is opened again; that happens here, and whatever the failed group left is taken back first.

use crate::QueueError;
use crate::sqlite::Durability;
use ::sled::{Batch, Db, IVec};
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::ops::Bound;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

/// Memory sled may use for pages.
const CACHE: u64 = 8 << 20;
/// What must be free for a push beside four times its size: sled writes values again when it regroups them.
const FREE_FOR_PUSH: u64 = 32 << 20;
/// What must be free for anything else, so that a queue can be emptied when pushes are refused already.
const FREE_AT_ALL: u64 = 8 << 20;
/// How long sled may take to close after a failure.
const CLOSING: Duration = Duration::from_secs(10);
/// How long sled's file may stay locked after it was closed.
const UNLOCKING: Duration = Duration::from_secs(3);
/// The least time between two attempts to open the store again.
const REOPEN_AFTER: Duration = Duration::from_millis(250);

pub(super) type Key = Vec<u8>;

/// What a key is to become, and whether it is known that there was none.
struct Change {
    value: Option<Vec<u8>>,
    fresh: bool,
}

/// The tree, and the changes of the group under way.
pub(super) struct Group {
    path: PathBuf,
    durability: Durability,
    /// For `syncfs`.
    directory: OwnedFd,
    /// `None` after a failure, until it is opened again.
    db: Option<Db>,
    changes: BTreeMap<Key, Change>,
    /// How the keys of a failed group were before.
    undo: Vec<(Key, Option<IVec>)>,
    failed: Option<(Instant, QueueError)>,
}

impl Group {
    pub(super) fn open(path: &Path, durability: Durability) -> Result<Self, QueueError> {
        std::fs::create_dir_all(path).map_err(|error| io_error(path, &error))?;
        let directory = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| io_error(path, &error.into()))?;
        let mut group = Self {
            path: path.to_owned(),
            durability,
            directory,
            db: None,
            changes: BTreeMap::new(),
            undo: Vec::new(),
            failed: None,
        };
        group.reopen()?;
        Ok(group)
    }

    /// Ready for a group: opens the store again when it has failed.
    pub(super) fn begin(&mut self) -> Result<(), QueueError> {
        self.changes.clear();
        if self.db.is_some() {
            return Ok(());
        }
        match &self.failed {
            Some((at, error)) if at.elapsed() < REOPEN_AFTER => Err(again(error)),
            _ => self.reopen().inspect_err(|error| self.failed = Some((Instant::now(), again(error)))),
        }
    }

    fn reopen(&mut self) -> Result<(), QueueError> {
        let config = ::sled::Config::new().path(&self.path).cache_capacity(CACHE).flush_every_ms(None);
        let db = unlocked(|| guarded(|| config.open()))?;
        if !self.undo.is_empty() {
            let mut batch = Batch::default();
            for (key, value) in &self.undo {
                match value {
                    Some(value) => batch.insert(key.clone(), value.clone()),
                    None => batch.remove(key.clone()),
                }
            }
            self.write(&db, batch)?;
            self.undo.clear();
        }
        self.failed = None;
        self.db = Some(db);
        Ok(())
    }

    fn db(&self) -> Result<&Db, QueueError> {
        self.db.as_ref().ok_or_else(|| QueueError::Failed("sled is closed after a failure".to_owned()))
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<IVec>, QueueError> {
        match self.changes.get(key) {
            Some(change) => Ok(change.value.as_deref().map(IVec::from)),
            None => {
                let db = self.db()?;
                guarded(|| db.get(key))
            }
        }
    }

    /// Sets a key that may have a value.
    pub(super) fn set(&mut self, key: Key, value: Vec<u8>) {
        self.change(key, Some(value), false);
    }

    /// Sets a key that has none; cheaper.
    pub(super) fn add(&mut self, key: Key, value: Vec<u8>) {
        self.change(key, Some(value), true);
    }

    pub(super) fn remove(&mut self, key: Key) {
        self.change(key, None, false);
    }

    fn change(&mut self, key: Key, value: Option<Vec<u8>>, fresh: bool) {
        let change = self.changes.entry(key).or_insert(Change { value: None, fresh });
        change.value = value;
    }

    /// The first key not before `from` that begins with `prefix`.
    pub(super) fn first(&self, from: &[u8], prefix: &[u8]) -> Result<Option<Key>, QueueError> {
        Ok(self.scan(from, prefix, 1)?.pop())
    }

    /// At most `limit` keys not before `from` that begin with `prefix`, in order.
    pub(super) fn scan(&self, from: &[u8], prefix: &[u8], limit: usize) -> Result<Vec<Key>, QueueError> {
        let db = self.db()?;
        guarded(|| self.merge(db, from, prefix, limit))
    }

    fn merge(&self, db: &Db, from: &[u8], prefix: &[u8], limit: usize) -> ::sled::Result<Vec<Key>> {
        let mut changed = self
            .changes
            .range::<[u8], _>((Bound::Included(from), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .peekable();
        let mut stored = db.range(from..).keys().peekable();
        let mut keys = Vec::new();
        while keys.len() < limit {
            let in_tree = match stored.peek() {
                Some(Ok(key)) => Some(key).filter(|key| key.starts_with(prefix)),
                Some(Err(error)) => return Err(error.clone()),
                None => None,
            };
            let take_changed = match (changed.peek(), in_tree) {
                (None, None) => break,
                (Some((changed, _)), Some(stored)) => changed.as_slice() <= stored.as_ref(),
                (changed, _) => changed.is_some(),
            };
            if !take_changed {
                keys.extend(stored.next().transpose()?.map(|key| key.to_vec()));
                continue;
            }
            if let Some((key, change)) = changed.next() {
                if in_tree.is_some_and(|stored| stored.as_ref() == key.as_slice()) {
                    stored.next();
                }
                keys.extend(change.value.is_some().then(|| key.clone()));
            }
        }
        Ok(keys)
    }

    /// Makes the group durable. After an error the store is opened again, as it was before the group.
    pub(super) fn commit(&mut self) -> Result<(), QueueError> {
        if self.changes.is_empty() {
            return Ok(());
        }
        self.has_space()?;
        let changes = std::mem::take(&mut self.changes);
        let mut undo = Vec::new();
        let mut batch = Batch::default();
        for (key, Change { value, fresh }) in changes {
            let before = if fresh { None } else { self.get(&key)? };
            undo.push((key.clone(), before));
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        let written = self.write(self.db()?, batch);
        if let Err(error) = &written {
            tracing::warn!(%error, "sled could not write; it is opened again");
            self.undo = undo;
            self.failed = Some((Instant::now(), again(error)));
            close(self.db.take());
        }
        written
    }

    /// Whether the disk has room for the group.
    fn has_space(&self) -> Result<(), QueueError> {
        let disk = rustix::fs::fstatvfs(&self.directory).map_err(|error| io_error(&self.path, &error.into()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let records = self.changes.iter().filter(|(key, change)| key.first() == Some(&b'r') && change.fresh);
        let bytes = records.filter_map(|(_, change)| change.value.as_ref()).map(|value| value.len() as u64);
        let needed = bytes.reduce(|sum, bytes| sum + bytes).map_or(FREE_AT_ALL, |bytes| FREE_FOR_PUSH + 4 * bytes);
        if free >= needed {
            return Ok(());
        }
        let path = self.path.display();
        Err(QueueError::Full(format!("{path}: {free} bytes are free, and sled needs {needed}; make space")))
    }

    fn write(&self, db: &Db, batch: Batch) -> Result<(), QueueError> {
        guarded(|| {
            db.apply_batch(batch)?;
            db.flush()
        })?;
        if self.durability == Durability::Full {
            rustix::fs::syncfs(&self.directory).map_err(|error| io_error(&self.path, &error.into()))?;
        }
        Ok(())
    }

    pub(super) fn rollback(&mut self) {
        self.changes.clear();
    }

    pub(super) fn close(&mut self) {
        close(self.db.take());
    }
}

/// Opens sled once its file is free: work of its own may keep it locked for a moment after it was closed.
fn unlocked(open: impl Fn() -> Result<Db, QueueError>) -> Result<Db, QueueError> {
    let begun = Instant::now();
    loop {
        match open() {
            Err(QueueError::Failed(why)) if why.contains("acquire lock") && begun.elapsed() < UNLOCKING => {
                std::thread::park_timeout(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

/// Drops sled, which may panic or wait for ever once it has failed.
fn close(db: Option<Db>) {
    let (done, ended) = std::sync::mpsc::channel();
    let closing = std::thread::Builder::new().name("sled-close".to_owned()).spawn(move || {
        drop(db);
        done.send(()).unwrap_or_default();
    });
    // Not joined: it may never end. A panic drops `done` and has been logged by the panic hook.
    drop(closing);
    if let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(CLOSING) {
        tracing::error!("sled does not close after a failure; restart crema once the disk has space");
    }
}

/// Runs something of sled's, whose panics are errors like others.
fn guarded<T>(run: impl FnOnce() -> ::sled::Result<T>) -> Result<T, QueueError> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result.map_err(store_error),
        Err(_) => Err(QueueError::Failed("sled panicked".to_owned())),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "map_err gives it away")]
fn store_error(error: ::sled::Error) -> QueueError {
    match &error {
        ::sled::Error::Io(io) if is_full(io) => QueueError::Full(error.to_string()),
        _ => QueueError::Failed(error.to_string()),
    }
}

fn io_error(path: &Path, error: &std::io::Error) -> QueueError {
    let why = format!("{}: {error}", path.display());
    if is_full(error) { QueueError::Full(why) } else { QueueError::Failed(why) }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// An error once more; errors are not `Clone` because few are said twice.
fn again(error: &QueueError) -> QueueError {
    match error {
        QueueError::Full(why) => QueueError::Full(why.clone()),
        QueueError::Failed(why) => QueueError::Failed(why.clone()),
        QueueError::Closed => QueueError::Closed,
    }
}
