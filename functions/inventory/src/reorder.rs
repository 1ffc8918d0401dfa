//! What has to be ordered from the supplier: one record each time a stock falls to its low mark.

use function_sdk::sqlite::rusqlite::{self, Connection, Row, Transaction, params};
use serde::Serialize;

/// A stock fell to its low mark.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Reorder {
    /// Counts up from 1.
    pub number: i64,
    /// Of what.
    pub sku: String,
    /// How many were left.
    pub on_hand: i64,
    /// The mark it fell to.
    pub low_mark: i64,
    /// When it was noticed, in milliseconds of Unix time.
    pub at_ms: i64,
}

/// Writes a reorder when `sku` is at its low mark or below and none was written since it last was above.
pub fn note(transaction: &Transaction<'_>, sku: &str, now_ms: i64) -> rusqlite::Result<()> {
    let fell = transaction.execute(
        "UPDATE items SET reorder_armed = 0 WHERE sku = ?1 AND reorder_armed = 1 AND on_hand <= low_mark",
        params![sku],
    )?;
    if fell == 1 {
        transaction.execute(
            "INSERT INTO reorders (sku, on_hand, low_mark, at_ms)
                 SELECT sku, on_hand, low_mark, ?2 FROM items WHERE sku = ?1",
            params![sku, now_ms],
        )?;
    }
    Ok(())
}

/// Arms `sku` again once it is above its low mark.
pub fn arm(transaction: &Transaction<'_>, sku: &str) -> rusqlite::Result<()> {
    transaction.execute("UPDATE items SET reorder_armed = 1 WHERE sku = ?1 AND on_hand > low_mark", params![sku])?;
    Ok(())
}

/// Looks at the whole stock, and says how many reorders it wrote.
pub fn check(transaction: &Transaction<'_>, now_ms: i64) -> rusqlite::Result<usize> {
    let low: Vec<String> = transaction
        .prepare("SELECT sku FROM items WHERE reorder_armed = 1 AND on_hand <= low_mark")?
        .query_map([], |row| row.get("sku"))?
        .collect::<rusqlite::Result<_>>()?;
    for sku in &low {
        note(transaction, sku, now_ms)?;
    }
    Ok(low.len())
}

/// The newest `limit` reorders, newest first.
pub fn list(connection: &Connection, limit: u32) -> rusqlite::Result<Vec<Reorder>> {
    connection
        .prepare("SELECT number, sku, on_hand, low_mark, at_ms FROM reorders ORDER BY number DESC LIMIT ?1")?
        .query_map(params![limit], reorder)?
        .collect()
}

fn reorder(row: &Row<'_>) -> rusqlite::Result<Reorder> {
    Ok(Reorder {
        number: row.get("number")?,
        sku: row.get("sku")?,
        on_hand: row.get("on_hand")?,
        low_mark: row.get("low_mark")?,
        at_ms: row.get("at_ms")?,
    })
}
