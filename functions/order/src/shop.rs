//! What `inventory` and `payment` are asked, and what their answers mean.
//!
//! An answer that names a `reason` is theirs and final. Anything else (no answer, the gateway's own errors, a wrong
//! shop key) says nothing about the order: the step is tried again.

use crate::order::{Line, Order, Step};
use crate::placement::{Item, Placement};
use crate::saga::{Outcome, Refusal};
use function_sdk::{Call, Context, Gateway, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// The secret that inventory and payment want for a change, and the header that tells it.
const KEY_SECRET: &str = "shop-key";
const KEY_HEADER: &str = "x-shop-key";
/// The most that payment charges at once.
const MOST_TOTAL: i64 = 99_999_999;

/// The other functions of the shop.
#[derive(Debug)]
pub struct Shop {
    context: Context,
    gateway: Gateway,
    patience: Duration,
}

/// A priced placement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Quote {
    /// The lines with their prices.
    pub lines: Vec<Line>,
    /// What they cost together, in the currency's smallest unit.
    pub total: i64,
    /// ISO 4217.
    pub currency: String,
}

/// Why there is no quote.
#[derive(Debug, thiserror::Error)]
pub enum QuoteError {
    /// The menu has no such thing, or the sum cannot be charged.
    #[error("{field}: {problem}")]
    Field {
        /// Which field of the placement.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// No menu.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
}

/// A function gave no answer that says what came of the step.
#[derive(Debug, thiserror::Error)]
#[error("{function} could not be asked, or did not answer: {why}")]
pub struct Unanswered {
    function: &'static str,
    why: String,
}

#[derive(Deserialize)]
struct Menu {
    items: Vec<MenuItem>,
}

#[derive(Deserialize)]
struct MenuItem {
    sku: String,
    name: String,
    price: Price,
}

#[derive(Deserialize)]
struct Price {
    amount: i64,
    currency: String,
}

impl Shop {
    /// Calls through the context's gateway, and waits `patience` for each answer.
    pub fn new(context: &Context, patience: Duration) -> Self {
        Self { gateway: context.gateway(), context: context.clone(), patience }
    }

    /// What `placement` costs by today's menu.
    pub async fn quote(&self, placement: &Placement) -> Result<Quote, QuoteError> {
        let answer = self.ask("inventory", Call::get("/")).await?;
        let menu: Menu = match answer.body_json() {
            Ok(menu) if answer.is_success() => menu,
            _ => return Err(unanswered("inventory", &answer).into()),
        };
        price(&menu, placement)
    }

    /// Does the step `order` is at.
    pub async fn perform(&self, order: &Order) -> Result<Outcome, Unanswered> {
        let (id, payment) = (&order.id, order.payment_id());
        let (function, path, body) = match order.progress.step {
            Step::Reserve => {
                let items: Vec<_> =
                    order.lines.iter().map(|line| json!({ "sku": line.sku, "quantity": line.quantity })).collect();
                ("inventory", "/reserve", json!({ "id": order.reservation_id(), "items": items }))
            }
            Step::Commit => ("inventory", "/commit", json!({ "id": order.reservation_id() })),
            Step::Release => ("inventory", "/release", json!({ "id": order.reservation_id() })),
            Step::Authorise => (
                "payment",
                "/authorise",
                json!({ "id": payment, "amount": order.total, "currency": order.currency, "token": order.token }),
            ),
            Step::Capture => (
                "payment",
                "/capture",
                json!({ "id": format!("{id}:capture"), "payment": payment, "amount": order.total }),
            ),
            Step::Refund => (
                "payment",
                "/refund",
                json!({ "id": format!("{id}:refund"), "payment": payment, "amount": order.total }),
            ),
            Step::Void => ("payment", "/void", json!({ "id": format!("{id}:void"), "payment": payment })),
            Step::End => return Ok(Outcome::Done),
        };
        // Read each time, so that a new key counts at once.
        let key = self
            .context
            .secret_text(KEY_SECRET)
            .map_err(|error| Unanswered { function, why: format!("it was not asked: {error}") })?;
        let answer = self.ask(function, Call::post(path).header(KEY_HEADER, &key).json(&body)).await?;
        if answer.is_success() { Ok(Outcome::Done) } else { refusal(function, &answer).map(Outcome::Refused) }
    }

    async fn ask(&self, function: &'static str, call: Call) -> Result<Response, Unanswered> {
        self.gateway
            .call(function, call.within(self.patience))
            .await
            .map_err(|error| Unanswered { function, why: error.to_string() })
    }
}

fn refusal(function: &'static str, answer: &Response) -> Result<Refusal, Unanswered> {
    let body: Value = answer.body_json().unwrap_or_default();
    let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
    let reason = text("reason");
    if reason.is_empty() || !answer.status().is_client_error() {
        return Err(unanswered(function, answer));
    }
    Ok(match reason.as_str() {
        "out_of_stock" => Refusal::OutOfStock { sku: text("sku") },
        "expired" | "released" => Refusal::Gone,
        "declined" => Refusal::Declined { code: text("code") },
        _ => Refusal::Other { why: text("error") },
    })
}

fn unanswered(function: &'static str, answer: &Response) -> Unanswered {
    let body: Value = answer.body_json().unwrap_or_default();
    // Our functions say it in JSON, the gateway in plain text.
    let said = body["error"].as_str().map_or_else(|| answer.body_text().trim().into(), ToOwned::to_owned);
    let said: String = said.chars().take(200).collect();
    Unanswered { function, why: format!("it answered {}: {said}", answer.status().as_u16()) }
}

fn price(menu: &Menu, placement: &Placement) -> Result<Quote, QuoteError> {
    let wrong = |field: String, problem: String| Err(QuoteError::Field { field, problem });
    let (mut lines, mut total, mut currency) = (Vec::new(), 0_i64, None);
    for (index, Item { sku, quantity }) in placement.items.iter().enumerate() {
        let Some(item) = menu.items.iter().find(|item| item.sku == sku.0) else {
            return wrong(format!("items[{index}].sku"), format!("there is no {:?} on the menu", sku.0));
        };
        if currency.get_or_insert_with(|| item.price.currency.clone()) != &item.price.currency {
            return wrong(format!("items[{index}].sku"), "its price is in another currency".to_owned());
        }
        let sum = item.price.amount.checked_mul(quantity.0).and_then(|sum| total.checked_add(sum));
        match sum {
            Some(sum) if sum <= MOST_TOTAL => total = sum,
            _ => return wrong(format!("items[{index}].quantity"), format!("the order costs more than {MOST_TOTAL}")),
        }
        let (sku, name) = (sku.0.clone(), item.name.clone());
        lines.push(Line { sku, name, quantity: quantity.0, price: item.price.amount });
    }
    match currency {
        Some(currency) if total > 0 => Ok(Quote { lines, total, currency }),
        _ => wrong("items".to_owned(), "there is nothing to pay".to_owned()),
    }
}
