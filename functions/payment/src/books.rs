//! Payments and what was done with them, on disk.
//!
//! `begin` writes an operation down before the processor is asked; `finish` writes down what it said. In between the
//! amount counts as used, so that two operations at once cannot take more than there is.

use crate::ledger;
use crate::operation::{Kind, Operation, Verdict};
use function_sdk::sqlite::rusqlite::{self, Connection, OptionalExtension, Transaction, params};
use serde::Serialize;

/// A payment as its caller sees it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Payment {
    /// The id of its authorisation.
    pub id: String,
    /// Where it stands: pending, authorised, declined, voiding, voided.
    pub state: String,
    /// How much was authorised, in the currency's smallest unit.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    /// How much of it was taken.
    pub captured: i64,
    /// How much of that was given back.
    pub refunded: i64,
    #[serde(skip)]
    pub(crate) token: String,
    #[serde(skip)]
    pub(crate) capturing: i64,
    #[serde(skip)]
    pub(crate) refunding: i64,
}

/// What a caller asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Demand {
    /// A new payment.
    Authorise {
        /// In the currency's smallest unit.
        amount: i64,
        /// ISO 4217.
        currency: String,
        /// The processor's name for the card.
        token: String,
    },
    /// Something with a payment there is. No amount: all there is.
    With {
        /// Capture, void or refund.
        kind: Kind,
        /// The id of its authorisation.
        payment: String,
        /// How much.
        amount: Option<i64>,
    },
}

/// What is to be done now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Begun {
    /// It is written down: ask the processor.
    Ask(Operation),
    /// It was done before, and this is how it ended.
    Known(Payment, Verdict),
}

/// Why nothing was done.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The id stands for another operation.
    #[error("operation {id:?} was for something else; use another id")]
    Mismatch {
        /// The operation.
        id: String,
    },
    /// No such payment.
    #[error("there is no payment {payment:?}")]
    Unknown {
        /// What was asked for.
        payment: String,
    },
    /// It is not in a state for this.
    #[error("payment {payment:?} is {state}: {kind:?} is not possible")]
    State {
        /// The payment.
        payment: String,
        /// Where it stands.
        state: String,
        /// What was asked for.
        kind: Kind,
    },
    /// More than there is.
    #[error("{kind:?} of {wanted} is more than the {left} that is left of payment {payment:?}")]
    TooMuch {
        /// The payment.
        payment: String,
        /// What was asked for.
        kind: Kind,
        /// How much was asked for.
        wanted: i64,
        /// How much there is.
        left: i64,
    },
    /// Money was taken: give it back instead.
    #[error("payment {payment:?} was captured: refund it instead of voiding it")]
    Captured {
        /// The payment.
        payment: String,
    },
}

/// What came of it; the outer error is the database's.
pub type Outcome<T> = rusqlite::Result<Result<T, Refusal>>;

/// Writes down that `demand` is asked for under `id`, or finds that it was.
pub fn begin(transaction: &Transaction<'_>, id: &str, demand: &Demand, now_ms: i64) -> Outcome<Begun> {
    if let Some((operation, state, code)) = find_operation(transaction, id)? {
        if !same(&operation, demand) {
            return Ok(Err(Refusal::Mismatch { id: id.to_owned() }));
        }
        let verdict = match state.as_str() {
            "approved" => Verdict::Approved,
            "declined" => Verdict::Declined { code: code.unwrap_or_default() },
            _ => {
                transaction.execute("UPDATE operations SET attempts = attempts + 1 WHERE id = ?1", params![id])?;
                return Ok(Ok(Begun::Ask(operation)));
            }
        };
        return Ok(find(transaction, &operation.payment)?
            .map(|payment| Begun::Known(payment, verdict))
            .ok_or(Refusal::Unknown { payment: operation.payment }));
    }
    let operation = match demand {
        Demand::Authorise { amount, currency, token } => {
            if find(transaction, id)?.is_some() {
                return Ok(Err(Refusal::Mismatch { id: id.to_owned() }));
            }
            open(transaction, id, *amount, currency, token, now_ms)?
        }
        Demand::With { kind, payment, amount } => match hold(transaction, id, *kind, payment, *amount)? {
            Ok(operation) => operation,
            Err(refusal) => return Ok(Err(refusal)),
        },
    };
    transaction.execute(
        "INSERT INTO operations (id, kind, payment, amount, state, attempts, created_ms)
             VALUES (?1, ?2, ?3, ?4, 'started', 1, ?5)",
        params![id, operation.kind.as_column(), operation.payment, operation.amount, now_ms],
    )?;
    Ok(Ok(Begun::Ask(operation)))
}

/// Writes down what the processor said of `operation`. Told twice, it counts once, and what was written first holds.
pub fn finish(
    transaction: &Transaction<'_>,
    operation: &Operation,
    verdict: &Verdict,
    processor: &str,
    now_ms: i64,
) -> Outcome<(Payment, Verdict)> {
    let (state, code) = match verdict {
        Verdict::Approved => ("approved", None),
        Verdict::Declined { code } => ("declined", Some(code)),
    };
    let first = transaction.execute(
        "UPDATE operations SET state = ?2, code = ?3 WHERE id = ?1 AND state = 'started'",
        params![operation.id, state, code],
    )? == 1;
    if first {
        settle(transaction, operation, verdict == &Verdict::Approved)?;
        if verdict == &Verdict::Approved {
            ledger::post(transaction, operation, processor, now_ms)?;
        }
    }
    let verdict = match find_operation(transaction, &operation.id)? {
        Some((_, state, code)) if state == "declined" => Verdict::Declined { code: code.unwrap_or_default() },
        _ => Verdict::Approved,
    };
    Ok(find(transaction, &operation.payment)?
        .map(|payment| (payment, verdict))
        .ok_or_else(|| Refusal::Unknown { payment: operation.payment.clone() }))
}

/// Looks a payment up.
pub fn find(connection: &Connection, id: &str) -> rusqlite::Result<Option<Payment>> {
    connection
        .query_row(
            "SELECT id, state, amount, currency, token, captured, capturing, refunded, refunding
             FROM payments WHERE id = ?1",
            params![id],
            |row| {
                Ok(Payment {
                    id: row.get("id")?,
                    state: row.get("state")?,
                    amount: row.get("amount")?,
                    currency: row.get("currency")?,
                    token: row.get("token")?,
                    captured: row.get("captured")?,
                    capturing: row.get("capturing")?,
                    refunded: row.get("refunded")?,
                    refunding: row.get("refunding")?,
                })
            },
        )
        .optional()
}

fn find_operation(connection: &Connection, id: &str) -> rusqlite::Result<Option<(Operation, String, Option<String>)>> {
    connection.query_row("SELECT kind, payment, operations.amount AS amount, operations.state AS state, attempts, code, currency, token
             FROM operations JOIN payments ON payments.id = payment WHERE operations.id = ?1", params![id], |row| {
            let kind = match row.get::<_, String>("kind")?.as_str() {
                "authorise" => Kind::Authorise,
                "capture" => Kind::Capture,
                "void" => Kind::Void,
                // The table's check leaves nothing else.
                _ => Kind::Refund,
            };
            let operation = Operation {
                id: id.to_owned(),
                kind,
                payment: row.get("payment")?,
                amount: row.get("amount")?,
                currency: row.get("currency")?,
                token: row.get("token")?,
                attempts: row.get("attempts")?,
            };
            Ok((operation, row.get("state")?, row.get("code")?))
        })
        .optional()
}

fn same(operation: &Operation, demand: &Demand) -> bool {
    match demand {
        Demand::Authorise { amount, currency, token } => {
            operation.kind == Kind::Authorise
                && (operation.amount, &operation.currency, &operation.token) == (*amount, currency, token)
        }
        Demand::With { kind, payment, amount } => {
            operation.kind == *kind
                && operation.payment == *payment
                && amount.is_none_or(|amount| amount == operation.amount)
        }
    }
}

fn open(
    transaction: &Transaction<'_>,
    id: &str,
    amount: i64,
    currency: &str,
    token: &str,
    now_ms: i64,
) -> rusqlite::Result<Operation> {
    transaction.execute(
        "INSERT INTO payments (id, amount, currency, token, state, created_ms)
             VALUES (?1, ?2, ?3, ?4, 'pending', ?5)",
        params![id, amount, currency, token, now_ms],
    )?;
    Ok(Operation {
        id: id.to_owned(),
        kind: Kind::Authorise,
        payment: id.to_owned(),
        amount,
        currency: currency.to_owned(),
        token: token.to_owned(),
        attempts: 0,
    })
}

/// Checks what is left of a payment, and counts the amount as used.
fn hold(transaction: &Transaction<'_>, id: &str, kind: Kind, payment: &str, amount: Option<i64>) -> Outcome<Operation> {
    let Some(known) = find(transaction, payment)? else {
        return Ok(Err(Refusal::Unknown { payment: payment.to_owned() }));
    };
    if known.state != "authorised" {
        return Ok(Err(Refusal::State { payment: payment.to_owned(), state: known.state, kind }));
    }
    let uncaptured = known.amount - known.captured - known.capturing;
    let (left, change) = match kind {
        Kind::Refund => (
            known.captured - known.refunded - known.refunding,
            "UPDATE payments SET refunding = refunding + ?2 WHERE id = ?1",
        ),
        Kind::Void if uncaptured < known.amount => {
            return Ok(Err(Refusal::Captured { payment: payment.to_owned() }));
        }
        Kind::Void => (known.amount, "UPDATE payments SET state = 'voiding' WHERE id = ?1 AND ?2 = amount"),
        Kind::Capture | Kind::Authorise => (uncaptured, "UPDATE payments SET capturing = capturing + ?2 WHERE id = ?1"),
    };
    let wanted = amount.unwrap_or(left);
    if wanted > left || left == 0 {
        return Ok(Err(Refusal::TooMuch { payment: payment.to_owned(), kind, wanted, left }));
    }
    transaction.execute(change, params![payment, wanted])?;
    Ok(Ok(Operation {
        id: id.to_owned(),
        kind,
        payment: payment.to_owned(),
        amount: wanted,
        currency: known.currency,
        token: known.token,
        attempts: 0,
    }))
}

fn settle(transaction: &Transaction<'_>, operation: &Operation, approved: bool) -> rusqlite::Result<()> {
    let change = match (operation.kind, approved) {
        (Kind::Authorise, true) => "UPDATE payments SET state = 'authorised' WHERE id = ?1 AND ?2 = amount",
        (Kind::Authorise, false) => "UPDATE payments SET state = 'declined' WHERE id = ?1 AND ?2 = amount",
        (Kind::Capture, true) => {
            "UPDATE payments SET capturing = capturing - ?2, captured = captured + ?2 WHERE id = ?1"
        }
        (Kind::Capture, false) => "UPDATE payments SET capturing = capturing - ?2 WHERE id = ?1",
        (Kind::Void, true) => "UPDATE payments SET state = 'voided' WHERE id = ?1 AND ?2 = amount",
        (Kind::Void, false) => "UPDATE payments SET state = 'authorised' WHERE id = ?1 AND ?2 = amount",
        (Kind::Refund, true) => {
            "UPDATE payments SET refunding = refunding - ?2, refunded = refunded + ?2 WHERE id = ?1"
        }
        (Kind::Refund, false) => "UPDATE payments SET refunding = refunding - ?2 WHERE id = ?1",
    };
    transaction.execute(change, params![operation.payment, operation.amount])?;
    Ok(())
}
