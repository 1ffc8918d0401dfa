//! Dead letters: kept whole up to a number of bytes, and begun anew.

use super::{BEHIND, DEAD, Sqlite, WAITING, number, store_error};
use crate::store::MOST_DEAD_BYTES;
use crate::{QueueError, Requeued};
use rusqlite::{Connection, params};

/// The most dead letters that one round forgets: they have bodies.
const FORGET_AT_ONCE: u32 = 64;

/// What all of them hold.
pub(super) fn bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let select = "SELECT coalesce(sum(length(record)), 0) FROM invocation WHERE state = 3 AND state IN (2, 3)";
    connection.query_row(select, [], |row| row.get(0)).map(i64::unsigned_abs)
}

impl Sqlite {
    /// It becomes the newest, as if it had been pushed now: no order that others are in is changed.
    pub(super) fn requeue(&self, call_id: &str, now: u64) -> Result<Requeued, QueueError> {
        let mut found = Requeued::Unknown;
        for (sequence, state, kept, function, key) in self.of_call(call_id).map_err(store_error)? {
            found = found.max(match (state, kept) {
                (DEAD, true) => Requeued::Queued,
                (DEAD, false) => Requeued::NotKept,
                _ => Requeued::NotDead,
            });
            if found == Requeued::Queued {
                let state = match key {
                    Some(key) if self.has_older(&function, &key)? => BEHIND,
                    _ => WAITING,
                };
                self.begin_anew(sequence, state, now).map_err(store_error)?;
                break;
            }
        }
        Ok(found)
    }

    /// Number, state, whether it is whole, function and key of the invocations of a call id, the newest first.
    #[expect(clippy::type_complexity, reason = "a row, for one reader")]
    fn of_call(&self, call_id: &str) -> rusqlite::Result<Vec<(i64, u8, bool, String, Option<String>)>> {
        self.connection
            .prepare_cached(
                "SELECT sequence, state, record IS NOT NULL, function, key FROM invocation
                 WHERE call_id = ?1 ORDER BY sequence DESC",
            )?
            .query_map([call_id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))?
            .collect()
    }

    fn begin_anew(&self, sequence: i64, state: u8, now: u64) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "INSERT INTO invocation (state, due, function, key, call_id, accepted_at, record)
                 SELECT ?2, ?3, function, key, call_id, accepted_at, record FROM invocation WHERE sequence = ?1",
            )?
            .execute(params![sequence, state, number(now)])?;
        self.forget_dead(sequence)
    }

    /// The oldest of those that are older, or too many for what all may hold.
    pub(super) fn forget_dead_letters(&self, before: u64) -> rusqlite::Result<u64> {
        let mut forgotten = 0;
        for (sequence, finished_at) in self.oldest_dead()? {
            if finished_at >= number(before) && self.dead_bytes.get() <= MOST_DEAD_BYTES {
                break;
            }
            self.forget_dead(sequence)?;
            forgotten += 1;
        }
        Ok(forgotten)
    }

    /// Numbers and ends of the oldest dead letters.
    fn oldest_dead(&self) -> rusqlite::Result<Vec<(i64, i64)>> {
        self.connection
            .prepare_cached(
                "SELECT sequence, finished_at FROM invocation WHERE state = 3 AND state IN (2, 3)
                 ORDER BY finished_at, sequence LIMIT ?1",
            )?
            .query_map([FORGET_AT_ONCE], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    }

    fn forget_dead(&self, sequence: i64) -> rusqlite::Result<()> {
        let bytes: Option<i64> = self
            .connection
            .prepare_cached("DELETE FROM invocation WHERE sequence = ?1 RETURNING length(record)")?
            .query_row([sequence], |row| row.get(0))?;
        self.dead_bytes.set(self.dead_bytes.get().saturating_sub(bytes.map_or(0, i64::unsigned_abs)));
        Ok(())
    }
}
