//! Orders on disk. A step is here before it is done.

use crate::order::{Order, Progress, Status, Step};
use function_sdk::sqlite::rusqlite::types::{FromSqlError, Type};
use function_sdk::sqlite::rusqlite::{self, Connection, OptionalExtension, Row, Transaction, params};
use function_sdk::sqlite::{Database, DatabaseError, OpenError};
use serde::de::DeserializeOwned;
use std::path::Path;

/// The schema's versions, oldest first.
const MIGRATIONS: [&str; 1] = [include_str!("schema/1.sql")];
const COLUMNS: &str = "id, body, lines, total, currency, token, status, step, reservation, reserved, authorised, \
                       captured, reason, trouble, created_ms";

/// The orders.
#[derive(Debug)]
pub struct Store {
    database: Database,
}

impl Store {
    /// Opens the orders in `directory`.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        Ok(Self { database: Database::open(directory, "order.db", &MIGRATIONS)? })
    }

    /// Writes a new order down, unless there is one of that name, and gives back the one there is.
    pub async fn insert(&self, order: Order) -> Result<Order, DatabaseError> {
        self.database
            .write(move |transaction| match find(transaction, &order.id)? {
                Some(known) => Ok(known),
                None => insert(transaction, &order).map(|()| order),
            })
            .await
    }

    /// Looks an order up.
    pub async fn find(&self, id: &str) -> Result<Option<Order>, DatabaseError> {
        let id = id.to_owned();
        self.database.read(move |transaction| find(transaction, &id)).await
    }

    /// Writes down how far `order` is now. When it moved on in the meantime, by another process, what is there holds.
    /// Either way the order as it is on disk comes back.
    pub async fn advance(&self, order: Order, progress: Progress, now_ms: i64) -> Result<Order, DatabaseError> {
        self.database
            .write(move |transaction| {
                let reason = progress.reason.as_ref().map(json).transpose()?;
                let before = &order.progress;
                transaction.execute(
                    "UPDATE orders SET status = ?4, step = ?5, reservation = ?6, reserved = ?7, authorised = ?8,
                            captured = ?9, reason = ?10, trouble = NULL, updated_ms = ?11
                     WHERE id = ?1 AND status = 'pending' AND step = ?2 AND reservation = ?3",
                    params![
                        order.id,
                        before.step.as_str(),
                        before.reservation,
                        progress.status.as_str(),
                        progress.step.as_str(),
                        progress.reservation,
                        progress.reserved,
                        progress.authorised,
                        progress.captured,
                        reason,
                        now_ms
                    ],
                )?;
                find(transaction, &order.id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
            })
            .await
    }

    /// Notes what kept a step from being done. The order goes behind the others that are pending.
    pub async fn trouble(&self, id: &str, trouble: &str, now_ms: i64) -> Result<(), DatabaseError> {
        let (id, trouble) = (id.to_owned(), trouble.to_owned());
        self.database
            .write(move |transaction| {
                transaction.execute(
                    "UPDATE orders SET trouble = ?2, updated_ms = ?3 WHERE id = ?1 AND status = 'pending'",
                    params![id, trouble, now_ms],
                )
            })
            .await
            .map(drop)
    }

    /// The pending orders, the longest untouched first.
    pub async fn pending(&self, limit: u32) -> Result<Vec<Order>, DatabaseError> {
        self.database
            .read(move |transaction| {
                let sql =
                    format!("SELECT {COLUMNS} FROM orders WHERE status = 'pending' ORDER BY updated_ms, id LIMIT ?1");
                transaction.prepare(&sql)?.query_map(params![limit], order)?.collect()
            })
            .await
    }

    /// The newest orders first, of one status or of all.
    pub async fn list(&self, status: Option<Status>, limit: u32) -> Result<Vec<Order>, DatabaseError> {
        self.database
            .read(move |transaction| {
                let sql = format!(
                    "SELECT {COLUMNS} FROM orders WHERE ?1 IS NULL OR status = ?1
                     ORDER BY created_ms DESC, id LIMIT ?2"
                );
                transaction.prepare(&sql)?.query_map(params![status.map(Status::as_str), limit], order)?.collect()
            })
            .await
    }
}

fn insert(transaction: &Transaction<'_>, order: &Order) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO orders (id, body, lines, total, currency, token, status, step, created_ms, updated_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)",
        params![
            order.id,
            order.body,
            json(&order.lines)?,
            order.total,
            order.currency,
            order.token,
            order.progress.status.as_str(),
            order.progress.step.as_str(),
            order.created_ms
        ],
    )?;
    Ok(())
}

fn find(connection: &Connection, id: &str) -> rusqlite::Result<Option<Order>> {
    connection.query_row(&format!("SELECT {COLUMNS} FROM orders WHERE id = ?1"), params![id], order).optional()
}

fn order(row: &Row<'_>) -> rusqlite::Result<Order> {
    let progress = Progress {
        status: word(row, "status", Status::parse)?,
        step: word(row, "step", Step::parse)?,
        reservation: row.get("reservation")?,
        reserved: row.get("reserved")?,
        authorised: row.get("authorised")?,
        captured: row.get("captured")?,
        reason: row.get::<_, Option<String>>("reason")?.map(|reason| from_json(&reason)).transpose()?,
    };
    Ok(Order {
        id: row.get("id")?,
        body: row.get("body")?,
        lines: from_json(&row.get::<_, String>("lines")?)?,
        total: row.get("total")?,
        currency: row.get("currency")?,
        token: row.get("token")?,
        progress,
        trouble: row.get("trouble")?,
        created_ms: row.get("created_ms")?,
    })
}

/// A column that holds one of a few words. Another one was written by a version that knows more.
fn word<T>(row: &Row<'_>, column: &'static str, parse: impl Fn(&str) -> Option<T>) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    parse(&text).ok_or_else(|| unreadable(format!("{column} is {text:?}, which this version does not know")))
}

fn json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

fn from_json<T: DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))
}

fn unreadable(what: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, FromSqlError::Other(what.into()).into())
}
