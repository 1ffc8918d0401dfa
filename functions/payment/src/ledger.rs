//! Double-entry book-keeping: what the processor owes the shop, and what the shop sold.

use crate::operation::{Kind, Operation};
use function_sdk::sqlite::rusqlite::{self, Connection, Transaction, params};
use serde::Serialize;
use std::collections::BTreeMap;

/// The shop's income.
const SALES: &str = "sales";

/// The books at one moment.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Ledger {
    /// Whether every currency adds up to nothing, and the processor owes what the payments say.
    pub balanced: bool,
    /// How many entries there are.
    pub entries: i64,
    /// By currency.
    pub currencies: BTreeMap<String, Balance>,
}

/// One currency's books, in its smallest unit.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Balance {
    /// All accounts together: nothing, when the books add up.
    pub sum: i64,
    /// Each account.
    pub accounts: BTreeMap<String, i64>,
    /// What the payments say was captured.
    pub captured: i64,
    /// What the payments say was refunded.
    pub refunded: i64,
}

/// Posts what an approved operation moved. An authorisation and a void move nothing.
pub(crate) fn post(
    transaction: &Transaction<'_>,
    operation: &Operation,
    processor: &str,
    now_ms: i64,
) -> rusqlite::Result<()> {
    let owed = match operation.kind {
        Kind::Authorise | Kind::Void => return Ok(()),
        Kind::Capture => operation.amount,
        Kind::Refund => -operation.amount,
    };
    for (account, amount) in [(format!("processor:{processor}"), owed), (SALES.to_owned(), -owed)] {
        transaction.execute(
            "INSERT INTO entries (operation, account, amount, currency, at_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![operation.id, account, amount, operation.currency, now_ms],
        )?;
    }
    Ok(())
}

/// Adds everything up.
pub fn read(connection: &Connection) -> rusqlite::Result<Ledger> {
    let mut ledger = Ledger::default();
    let mut accounts = connection.prepare(
        "SELECT currency, account, SUM(amount) AS amount, COUNT(*) AS entries FROM entries GROUP BY currency, account",
    )?;
    let mut rows = accounts.query([])?;
    while let Some(row) = rows.next()? {
        let amount: i64 = row.get("amount")?;
        ledger.entries += row.get::<_, i64>("entries")?;
        let balance = ledger.currencies.entry(row.get("currency")?).or_default();
        balance.sum += amount;
        balance.accounts.insert(row.get("account")?, amount);
    }
    let mut payments = connection.prepare(
        "SELECT currency, SUM(captured) AS captured, SUM(refunded) AS refunded FROM payments GROUP BY currency",
    )?;
    let mut rows = payments.query([])?;
    while let Some(row) = rows.next()? {
        let balance = ledger.currencies.entry(row.get("currency")?).or_default();
        balance.captured = row.get("captured")?;
        balance.refunded = row.get("refunded")?;
    }
    ledger.balanced = ledger.currencies.values().all(Balance::is_balanced);
    Ok(ledger)
}

impl Balance {
    fn is_balanced(&self) -> bool {
        let sold = -self.accounts.get(SALES).copied().unwrap_or(0);
        self.sum == 0 && sold == self.captured - self.refunded
    }
}
