//! What is on the shelf: the menu, its prices, and how much of each there is.

use function_sdk::sqlite::rusqlite::{self, Connection, OptionalExtension, Row, params};
use serde::Serialize;

/// One thing the shop sells.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Item {
    /// What orders call it.
    pub sku: String,
    /// What the menu calls it.
    pub name: String,
    /// Price of one.
    pub price: Money,
    /// How many are on the shelf, reserved ones included.
    pub on_hand: i64,
    /// How many of them are promised to orders.
    pub reserved: i64,
    /// How many can still be promised.
    pub available: i64,
    /// At this many or fewer on hand, more has to be ordered.
    pub low_mark: i64,
}

/// An amount in the currency's smallest unit.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Money {
    /// How many of the smallest unit.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
}

const COLUMNS: &str = "sku, name, price, currency, on_hand, reserved, low_mark";

/// The whole menu, by sku.
pub fn list(connection: &Connection) -> rusqlite::Result<Vec<Item>> {
    connection.prepare(&format!("SELECT {COLUMNS} FROM items ORDER BY sku"))?.query_map([], item)?.collect()
}

/// One item of the menu.
pub fn find(connection: &Connection, sku: &str) -> rusqlite::Result<Option<Item>> {
    connection.query_row(&format!("SELECT {COLUMNS} FROM items WHERE sku = ?1"), params![sku], item).optional()
}

fn item(row: &Row<'_>) -> rusqlite::Result<Item> {
    let (on_hand, reserved): (i64, i64) = (row.get("on_hand")?, row.get("reserved")?);
    Ok(Item {
        sku: row.get("sku")?,
        name: row.get("name")?,
        price: Money { amount: row.get("price")?, currency: row.get("currency")? },
        on_hand,
        reserved,
        available: on_hand - reserved,
        low_mark: row.get("low_mark")?,
    })
}
