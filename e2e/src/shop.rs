//! The shop of `stack.yml`: its platform, its orders, and its books, as its customers see them.

use crate::binaries;
use crate::http::Http;
use crate::platform::{Options, Platform, State};
use crate::{eventually, within};
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};
use std::time::Duration;

/// What the tests sell.
const SKU: &str = "espresso";
/// A call that failed several times waits up to two minutes for its next turn, and that may fail once more.
const QUEUE_PATIENCE: Duration = Duration::from_secs(300);
/// How many come with one delivery: more than any test sells.
const DELIVERY: i64 = 1_000_000;

/// How many orders are looked at at a time.
const AT_A_TIME: usize = 8;

/// The four functions, wherever they run.
pub trait Shop: Sync {
    /// The client to talk to them with.
    fn http(&self) -> &Http;
    /// The URL of a function and what follows its name: `function` or `async-function`, and `inventory/espresso`.
    fn at(&self, route: &str, path: &str) -> String;
    /// Its secret `shop-key`.
    fn key(&self) -> String;
}

impl Shop for Platform {
    fn http(&self) -> &Http {
        &self.http
    }

    fn at(&self, route: &str, path: &str) -> String {
        self.url(&format!("/{route}/{path}"))
    }

    fn key(&self) -> String {
        let key = std::fs::read_to_string(self.state().join("secrets/openfaas-fn/shop-key")).unwrap();
        key.trim().to_owned()
    }
}

/// A platform with the four functions deployed from images packed once.
pub async fn shop(state: &State) -> Platform {
    shop_with(state, Options::default()).await
}

/// The same, with more arguments or environment.
pub async fn shop_with(state: &State, options: Options) -> Platform {
    state.copy_images(binaries::images());
    Platform::start(state, &options.with(&["--no-build"])).await
}

/// An order of one espresso.
#[must_use]
pub fn espresso(id: &str) -> Value {
    json!({"id": id, "items": [{"sku": SKU, "quantity": 1}], "payment": {"token": "tok_visa"}})
}

/// How many espressos there are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stock {
    /// On the shelf, reserved ones included.
    pub on_hand: i64,
    /// Promised to orders.
    pub reserved: i64,
}

/// What became of orders.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ended {
    /// Sold.
    pub confirmed: usize,
    /// Not sold, for a reason that is named.
    pub cancelled: usize,
    /// Never heard of.
    pub unknown: usize,
}

/// Counts the stock.
pub async fn stock(shop: &dyn Shop) -> Stock {
    eventually("the stock can be counted", || async { try_stock(shop).await }).await
}

async fn try_stock(shop: &dyn Shop) -> Result<Stock, String> {
    let answer = shop.http().get(&shop.at("function", &format!("inventory/{SKU}"))).await?;
    let item = if answer.status == 200 { answer.json() } else { return Err(answer.text()) };
    match (item["on_hand"].as_i64(), item["reserved"].as_i64()) {
        (Some(on_hand), Some(reserved)) => Ok(Stock { on_hand, reserved }),
        _ => Err(answer.text()),
    }
}

/// Has more espressos delivered than any test sells, and says how many there are then.
pub async fn plenty(shop: &dyn Shop) -> i64 {
    let key = shop.key();
    let body = json!({"id": "plenty", "sku": SKU, "quantity": DELIVERY}).to_string();
    eventually("a delivery is taken", || async {
        let url = shop.at("function", "inventory/restock");
        let answer = shop.http().send("POST", &url, &[("X-Shop-Key", &key)], body.clone()).await?;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    stock(shop).await.on_hand
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    Confirmed,
    Cancelled,
    Unknown,
}

/// What became of one order; an error while it is pending, or when it ended without a reason.
async fn outcome(shop: &dyn Shop, id: &str) -> Result<Outcome, String> {
    let answer = shop.http().get(&shop.at("function", &format!("order/{id}"))).await?;
    let order = match answer.status {
        200 => answer.json(),
        404 if answer.text().contains(id) => return Ok(Outcome::Unknown),
        status => return Err(format!("{status} {}", answer.text())),
    };
    match (order["status"].as_str(), order["reason"].as_str()) {
        (Some("confirmed"), None) => Ok(Outcome::Confirmed),
        (Some("cancelled"), Some(_)) => Ok(Outcome::Cancelled),
        _ => Err(order.to_string()),
    }
}

/// Waits until the books agree: every acknowledged order is confirmed, every other one has ended or is unknown, none is
/// pending, what is gone from the shelf since there were `before` on it is what was sold, nothing is reserved, and the
/// ledger balances. Nobody may place orders meanwhile.
pub async fn books_agree(shop: &dyn Shop, acknowledged: &[String], others: &[String], before: i64) -> Ended {
    let confirmed = stream::iter(acknowledged).for_each_concurrent(AT_A_TIME, |id| async move {
        within(QUEUE_PATIENCE, &format!("order {id} is confirmed"), || async {
            let confirmed = outcome(shop, id).await? == Outcome::Confirmed;
            confirmed.then_some(()).ok_or_else(|| "unknown or cancelled".to_owned())
        })
        .await;
    });
    confirmed.await;
    let mut ended = Ended { confirmed: acknowledged.len(), ..Ended::default() };
    let mut unknown = Vec::new();
    for id in others {
        match eventually(&format!("order {id} has ended"), || outcome(shop, id)).await {
            Outcome::Confirmed => ended.confirmed += 1,
            Outcome::Cancelled => ended.cancelled += 1,
            Outcome::Unknown => unknown.push(id),
        }
    }
    let ended = eventually("orders, stock and ledger agree", || agreement(shop, ended, &unknown, before)).await;
    let ledger = shop.http().get(&shop.at("function", "payment/ledger")).await.unwrap();
    assert_eq!(ledger.status, 200, "{}", ledger.text());
    assert_eq!(ledger.json()["balanced"], true, "{}", ledger.text());
    ended
}

/// What was queued and not acknowledged may still come: orders unknown so far are looked at each time.
async fn agreement(shop: &dyn Shop, mut ended: Ended, unknown: &[&String], before: i64) -> Result<Ended, String> {
    for id in unknown {
        match outcome(shop, id).await? {
            Outcome::Confirmed => ended.confirmed += 1,
            Outcome::Cancelled => ended.cancelled += 1,
            Outcome::Unknown => ended.unknown += 1,
        }
    }
    let pending = shop.http().get(&shop.at("function", "order?status=pending")).await?;
    let none = pending.status == 200 && orders(&pending.json()).is_empty();
    none.then_some(()).ok_or_else(|| format!("pending: {}", pending.text()))?;
    let stock = try_stock(shop).await?;
    let sold = i64::try_from(ended.confirmed).unwrap();
    let agree = stock == Stock { on_hand: before - sold, reserved: 0 };
    agree.then_some(ended).ok_or_else(|| format!("{stock:?}, {before} before; {ended:?}"))
}

/// The orders of a list.
#[must_use]
pub fn orders(list: &Value) -> Vec<&Value> {
    list["orders"].as_array().map(|orders| orders.iter().collect()).unwrap_or_default()
}
