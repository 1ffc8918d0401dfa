//! A SQLite database in the function's data directory (feature `sqlite`).
//!
//! One thread owns the connection and does one piece of work after the other, so that the thread which answers health
//! probes never waits for a disk. Every commit is on disk before it is answered (WAL, `synchronous=FULL`).
//!
//! The schema has a version, the number of migrations done. A program also works on data of the next version: when an
//! update is taken back, yesterday's program meets tomorrow's data. So a migration only adds tables, and columns that
//! have a default, and a query names its columns. Data newer than that is refused.

pub use rusqlite;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// What the page cache may hold, in KiB: functions are many, and their data fits the operating system's cache.
const CACHE_KIB: i64 = 256;
/// After this many pages the write-ahead log goes back into the database.
const CHECKPOINT_PAGES: i64 = 256;
/// The thread's stack; SQLite asks for little.
const STACK_BYTES: usize = 512 * 1024;
/// How long to wait for another process's write, such as that of the replica an update is replacing.
const BUSY: Duration = Duration::from_secs(5);

/// A database, and the thread that works on it. Dropping it finishes the work begun and closes the file.
#[derive(Debug)]
pub struct Database {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// Why a database does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// SQLite said no.
    #[error("cannot open the database {}: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The directory cannot be used, or no thread started.
    #[error("cannot use the data directory {}: {source}; is it there, and writable for this user?", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file system keeps SQLite from writing ahead.
    #[error("the database {} cannot keep a write-ahead log (its journal mode stayed {mode:?}); use a local disk", path.display())]
    NoWriteAhead {
        /// The file.
        path: PathBuf,
        /// The mode SQLite fell back to.
        mode: String,
    },
    /// Written by a program more than one version ahead.
    #[error("the data in {} has schema version {found}; this program works on versions up to {most}: run a newer one", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// The data's version.
        found: usize,
        /// The newest this program works on.
        most: usize,
    },
}

/// Why a piece of work failed. None of it is on disk, unless the failure was in the commit itself.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// SQLite said no; a full disk is told so here.
    #[error("the database failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The thread is gone, which only a defect can do.
    #[error("the database's thread is gone; see the log")]
    Gone,
}

impl Database {
    /// Opens `file` in `directory`, made when missing, and does the migrations that it still lacks.
    pub fn open(directory: &Path, file: &str, migrations: &[&str]) -> Result<Self, OpenError> {
        let refused = |source| OpenError::Directory { path: directory.to_owned(), source };
        std::fs::create_dir_all(directory).map_err(refused)?;
        let path = directory.join(file);
        let mut connection = connect(&path, migrations)?;
        // A new file's name is durable only with its directory.
        std::fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(refused)?;

        let (jobs, work) = mpsc::channel::<Job>();
        let thread = std::thread::Builder::new()
            .name("sqlite".into())
            .stack_size(STACK_BYTES)
            .spawn(move || work.into_iter().for_each(|job| job(&mut connection)))
            .map_err(refused)?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs `work` in a write transaction, and commits when it returns `Ok`.
    pub async fn write<T, F>(&self, work: F) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run(move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = work(&transaction)?;
            transaction.commit()?;
            Ok(result)
        })
        .await
    }

    /// Runs `work`, which only reads, on one state of the data.
    pub async fn read<T, F>(&self, work: F) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run(move |connection| work(&connection.transaction()?)).await
    }

    async fn run<T, F>(&self, work: F) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(DatabaseError::Gone)?;
        jobs.send(Box::new(move |connection| {
            // Whoever asked may have gone away; the work is done all the same.
            answer.send(work(connection)).unwrap_or(());
        }))
        .map_err(|_| DatabaseError::Gone)?;
        Ok(result.await.map_err(|_| DatabaseError::Gone)??)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has been reported by the thread itself.
            thread.join().unwrap_or(());
        }
    }
}

fn connect(path: &Path, migrations: &[&str]) -> Result<Connection, OpenError> {
    let failed = |source| OpenError::Sqlite { path: path.to_owned(), source };
    let mut connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        return Err(OpenError::NoWriteAhead { path: path.to_owned(), mode });
    }
    for (pragma, value) in [
        ("synchronous", "full"),
        ("foreign_keys", "on"),
        ("temp_store", "memory"),
        ("cache_size", &format!("-{CACHE_KIB}")),
        ("wal_autocheckpoint", &CHECKPOINT_PAGES.to_string()),
    ] {
        connection.pragma_update(None, pragma, value).map_err(failed)?;
    }
    let found = migrate(&mut connection, migrations).map_err(failed)?;
    let most = migrations.len() + 1;
    if found > most { Err(OpenError::TooNew { path: path.to_owned(), found, most }) } else { Ok(connection) }
}

/// Does the migrations that are missing, and says which version the data has.
fn migrate(connection: &mut Connection, migrations: &[&str]) -> rusqlite::Result<usize> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    // No program of ours ever wrote a negative one.
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    for (version, migration) in (1_i64..).zip(migrations).skip(found) {
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", version)?;
    }
    transaction.commit()?;
    Ok(found.max(migrations.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "CREATE TABLE cups (name TEXT PRIMARY KEY NOT NULL) STRICT;";
    const SECOND: &str = "ALTER TABLE cups ADD COLUMN size INTEGER NOT NULL DEFAULT 3;";
    const THIRD: &str = "CREATE TABLE saucers (name TEXT PRIMARY KEY NOT NULL) STRICT;";

    async fn fill(database: &Database, name: &'static str) {
        database
            .write(move |transaction| transaction.execute("INSERT INTO cups (name) VALUES (?1)", [name]))
            .await
            .unwrap();
    }

    async fn names(database: &Database) -> Vec<String> {
        database
            .read(|transaction| {
                transaction.prepare("SELECT name FROM cups ORDER BY name")?.query_map([], |row| row.get(0))?.collect()
            })
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn data_survives_closing_and_gets_the_migrations_it_lacks_once() {
        let directory = tempfile::tempdir().unwrap();
        fill(&Database::open(directory.path(), "cups.db", &[FIRST]).unwrap(), "mocha").await;
        for _ in 0..2 {
            let database = Database::open(directory.path(), "cups.db", &[FIRST, SECOND]).unwrap();
            assert_eq!(names(&database).await, ["mocha"]);
        }
    }

    #[tokio::test]
    async fn a_program_works_on_data_of_the_next_version_and_refuses_what_is_newer() {
        let directory = tempfile::tempdir().unwrap();
        drop(Database::open(directory.path(), "cups.db", &[FIRST, SECOND]).unwrap());
        let older = Database::open(directory.path(), "cups.db", &[FIRST]).unwrap();
        fill(&older, "mocha").await;
        assert_eq!(names(&older).await, ["mocha"]);
        drop(older);
        drop(Database::open(directory.path(), "cups.db", &[FIRST, SECOND, THIRD]).unwrap());
        let error = Database::open(directory.path(), "cups.db", &[FIRST]).unwrap_err();
        assert!(matches!(error, OpenError::TooNew { found: 3, most: 2, .. }), "{error}");
    }

    #[tokio::test]
    async fn work_that_fails_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path(), "cups.db", &[FIRST]).unwrap();
        let failed = database
            .write(|transaction| {
                transaction.execute("INSERT INTO cups (name) VALUES ('mocha')", [])?;
                transaction.execute("INSERT INTO cups (name) VALUES ('mocha')", [])
            })
            .await;
        assert!(matches!(failed, Err(DatabaseError::Sqlite(_))), "{failed:?}");
        assert!(names(&database).await.is_empty());
    }

    #[tokio::test]
    async fn commits_are_synced_and_written_ahead() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path(), "cups.db", &[FIRST]).unwrap();
        let (mode, synchronous): (String, i64) = database
            .read(|transaction| {
                let mode = transaction.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
                Ok((mode, transaction.pragma_query_value(None, "synchronous", |row| row.get(0))?))
            })
            .await
            .unwrap();
        assert_eq!((mode.as_str(), synchronous), ("wal", 2));
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Database::open(&file, "cups.db", &[FIRST]).unwrap_err();
        assert!(error.to_string().contains("file"), "{error}");
    }
}
