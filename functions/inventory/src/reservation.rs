//! Reservations: stock promised to an order until it is taken, given back, or the promise gets stale.
//!
//! held → committed | released | expired. Each call may come twice, and late: the caller's id makes it one.

use crate::{reorder, stock};
use function_sdk::sqlite::rusqlite::{self, Connection, OptionalExtension, Transaction, params};
use serde::Serialize;
use std::collections::BTreeMap;

/// How many of which sku.
pub type Lines = BTreeMap<String, i64>;

/// Where a reservation stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The stock is set aside.
    Held,
    /// The stock is gone.
    Committed,
    /// The stock was given back.
    Released,
    /// Nobody came for it in time, and it was given back.
    Expired,
}

/// Stock promised to an order.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Reservation {
    /// The caller's name for it.
    pub id: String,
    /// Where it stands.
    pub state: State,
    /// How many of which sku.
    pub items: Lines,
    /// When it gets stale, in milliseconds of Unix time.
    pub expires_ms: i64,
}

/// Why nothing was done.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The menu has no such sku.
    #[error("there is no sku {sku:?}; GET / lists the menu")]
    UnknownSku {
        /// What was asked for.
        sku: String,
    },
    /// Less is left than was wanted; nothing of the whole reservation was set aside.
    #[error("out of stock: {wanted} {sku} wanted, {available} left")]
    OutOfStock {
        /// Of which.
        sku: String,
        /// How many were wanted.
        wanted: i64,
        /// How many could still be promised.
        available: i64,
    },
    /// The id stands for other items.
    #[error("reservation {id:?} was made for other items; use another id")]
    Mismatch {
        /// The reservation.
        id: String,
    },
    /// It got stale, or was given back: its stock is no longer set aside.
    #[error("reservation {id:?} is {state:?}: its stock was given back; reserve again under another id")]
    Gone {
        /// The reservation.
        id: String,
        /// Released or expired.
        state: State,
    },
    /// It was committed: the stock has left the shelf.
    #[error("reservation {id:?} is committed: its stock has left the shelf; restock to bring it back")]
    Committed {
        /// The reservation.
        id: String,
    },
    /// Never heard of.
    #[error("there is no reservation {id:?}")]
    Unknown {
        /// What was asked for.
        id: String,
    },
}

/// What an operation on the stock came to; the outer error is the database's.
pub type Outcome<T> = rusqlite::Result<Result<T, Refusal>>;

/// Sets all of `lines` aside, or nothing.
pub fn reserve(
    transaction: &Transaction<'_>,
    id: &str,
    lines: &Lines,
    now_ms: i64,
    lasts_ms: i64,
) -> Outcome<Reservation> {
    if let Some(known) = find(transaction, id)? {
        return Ok(match known.state {
            State::Released | State::Expired => Err(Refusal::Gone { id: id.to_owned(), state: known.state }),
            State::Held | State::Committed if known.items != *lines => Err(Refusal::Mismatch { id: id.to_owned() }),
            State::Held | State::Committed => Ok(known),
        });
    }
    for (sku, &wanted) in lines {
        let Some(item) = stock::find(transaction, sku)? else {
            return Ok(Err(Refusal::UnknownSku { sku: sku.clone() }));
        };
        if item.available < wanted {
            return Ok(Err(Refusal::OutOfStock { sku: sku.clone(), wanted, available: item.available }));
        }
    }
    let expires_ms = now_ms.saturating_add(lasts_ms);
    insert(transaction, id, State::Held, now_ms, expires_ms)?;
    for (sku, quantity) in lines {
        transaction.execute(
            "INSERT INTO reservation_lines (reservation, sku, quantity) VALUES (?1, ?2, ?3)",
            params![id, sku, quantity],
        )?;
        transaction.execute("UPDATE items SET reserved = reserved + ?2 WHERE sku = ?1", params![sku, quantity])?;
    }
    Ok(Ok(Reservation { id: id.to_owned(), state: State::Held, items: lines.clone(), expires_ms }))
}

/// Takes the reserved stock off the shelf. A stale reservation that nobody has expired yet still counts.
pub fn commit(transaction: &Transaction<'_>, id: &str, now_ms: i64) -> Outcome<Reservation> {
    let Some(known) = find(transaction, id)? else {
        return Ok(Err(Refusal::Unknown { id: id.to_owned() }));
    };
    match known.state {
        State::Committed => Ok(Ok(known)),
        State::Released | State::Expired => Ok(Err(Refusal::Gone { id: id.to_owned(), state: known.state })),
        State::Held => {
            for (sku, quantity) in &known.items {
                transaction.execute(
                    "UPDATE items SET reserved = reserved - ?2, on_hand = on_hand - ?2 WHERE sku = ?1",
                    params![sku, quantity],
                )?;
                reorder::note(transaction, sku, now_ms)?;
            }
            set_state(transaction, known, State::Committed).map(Ok)
        }
    }
}

/// Gives the reserved stock back. Of an id never heard of it notes that it is released, so that a `reserve` which
/// comes late sets nothing aside.
pub fn release(transaction: &Transaction<'_>, id: &str, now_ms: i64) -> Outcome<Reservation> {
    let Some(known) = find(transaction, id)? else {
        insert(transaction, id, State::Released, now_ms, now_ms)?;
        let items = Lines::new();
        return Ok(Ok(Reservation { id: id.to_owned(), state: State::Released, items, expires_ms: now_ms }));
    };
    match known.state {
        State::Released | State::Expired => Ok(Ok(known)),
        State::Committed => Ok(Err(Refusal::Committed { id: id.to_owned() })),
        State::Held => give_back(transaction, known, State::Released).map(Ok),
    }
}

/// Expires every reservation that was stale at `now_ms`, and says how many.
pub fn expire(transaction: &Transaction<'_>, now_ms: i64) -> rusqlite::Result<usize> {
    let stale: Vec<String> = transaction
        .prepare("SELECT id FROM reservations WHERE state = 'held' AND expires_ms <= ?1")?
        .query_map(params![now_ms], |row| row.get("id"))?
        .collect::<rusqlite::Result<_>>()?;
    for id in &stale {
        if let Some(reservation) = find(transaction, id)? {
            give_back(transaction, reservation, State::Expired)?;
        }
    }
    Ok(stale.len())
}

/// Looks one up.
pub fn find(connection: &Connection, id: &str) -> rusqlite::Result<Option<Reservation>> {
    let Some((state, expires_ms)) = connection
        .query_row("SELECT state, expires_ms FROM reservations WHERE id = ?1", params![id], |row| {
            Ok((row.get::<_, String>("state")?, row.get("expires_ms")?))
        })
        .optional()?
    else {
        return Ok(None);
    };
    let items = connection
        .prepare("SELECT sku, quantity FROM reservation_lines WHERE reservation = ?1")?
        .query_map(params![id], |row| Ok((row.get("sku")?, row.get("quantity")?)))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Some(Reservation { id: id.to_owned(), state: State::from_column(&state), items, expires_ms }))
}

fn insert(transaction: &Transaction<'_>, id: &str, state: State, now_ms: i64, expires_ms: i64) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO reservations (id, state, expires_ms, created_ms) VALUES (?1, ?2, ?3, ?4)",
        params![id, state.as_column(), expires_ms, now_ms],
    )?;
    Ok(())
}

fn give_back(transaction: &Transaction<'_>, reservation: Reservation, state: State) -> rusqlite::Result<Reservation> {
    for (sku, quantity) in &reservation.items {
        transaction.execute("UPDATE items SET reserved = reserved - ?2 WHERE sku = ?1", params![sku, quantity])?;
    }
    set_state(transaction, reservation, state)
}

fn set_state(transaction: &Transaction<'_>, reservation: Reservation, state: State) -> rusqlite::Result<Reservation> {
    transaction
        .execute("UPDATE reservations SET state = ?2 WHERE id = ?1", params![reservation.id, state.as_column()])?;
    Ok(Reservation { state, ..reservation })
}

impl State {
    fn as_column(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Committed => "committed",
            Self::Released => "released",
            Self::Expired => "expired",
        }
    }

    fn from_column(text: &str) -> Self {
        match text {
            "held" => Self::Held,
            "committed" => Self::Committed,
            "released" => Self::Released,
            // The table's check leaves nothing else.
            _ => Self::Expired,
        }
    }
}

#[cfg(test)]
mod tests;
