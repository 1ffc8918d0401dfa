//! A delivery from the supplier, counted once however often it is told.

use crate::reorder;
use crate::reservation::{Outcome, Refusal};
use crate::stock::{self, Item};
use function_sdk::sqlite::rusqlite::{OptionalExtension, Transaction, params};

/// Puts `quantity` more of `sku` on the shelf. `id` is the delivery's: a second telling changes nothing.
pub fn restock(transaction: &Transaction<'_>, id: &str, sku: &str, quantity: i64, now_ms: i64) -> Outcome<Item> {
    let told: Option<(String, i64)> = transaction
        .query_row("SELECT sku, quantity FROM restocks WHERE id = ?1", params![id], |row| {
            Ok((row.get("sku")?, row.get("quantity")?))
        })
        .optional()?;
    match told {
        Some(told) if told != (sku.to_owned(), quantity) => {
            return Ok(Err(Refusal::Mismatch { id: id.to_owned() }));
        }
        Some(_) => {}
        None if stock::find(transaction, sku)?.is_none() => {
            return Ok(Err(Refusal::UnknownSku { sku: sku.to_owned() }));
        }
        None => {
            transaction.execute(
                "INSERT INTO restocks (id, sku, quantity, at_ms) VALUES (?1, ?2, ?3, ?4)",
                params![id, sku, quantity, now_ms],
            )?;
            transaction.execute("UPDATE items SET on_hand = on_hand + ?2 WHERE sku = ?1", params![sku, quantity])?;
            reorder::arm(transaction, sku)?;
        }
    }
    Ok(stock::find(transaction, sku)?.ok_or_else(|| Refusal::UnknownSku { sku: sku.to_owned() }))
}
