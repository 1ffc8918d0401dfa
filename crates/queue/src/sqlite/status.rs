//! A row as what is told of a call.

use super::{BEHIND, DEAD, DONE, LEASED, WAITING};
use jiff::Timestamp;
use rusqlite::Row;
use wire::call::{CallState, CallStatus};

/// A row of `statuses`.
pub(super) fn status(row: &Row<'_>) -> rusqlite::Result<CallStatus> {
    let state: u8 = row.get(2)?;
    let time =
        |column: usize| -> rusqlite::Result<Option<String>> { Ok(row.get::<_, Option<i64>>(column)?.map(rfc3339)) };
    Ok(CallStatus {
        call_id: row.get(0)?,
        function: row.get(1)?,
        state: match state {
            LEASED => CallState::Running,
            DONE => CallState::Done,
            DEAD => CallState::Dead,
            _ => CallState::Queued,
        },
        attempts: row.get(3)?,
        status: row.get(4)?,
        reason: row.get(5)?,
        accepted_at: time(6)?.unwrap_or_default(),
        not_before: if matches!(state, WAITING | BEHIND) { time(7)? } else { None },
        finished_at: time(8)?,
    })
}

pub(crate) fn rfc3339(millis: i64) -> String {
    Timestamp::from_millisecond(millis).unwrap_or_default().to_string()
}
