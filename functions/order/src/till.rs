//! Places orders and drives them to their end: one at a time for each order, whoever asks.

use crate::flights::{Entry, Flights};
use crate::order::{Order, Progress, Status};
use crate::placement::{OrderId, Placement};
use crate::saga;
use crate::shop::{QuoteError, Shop};
use crate::store::Store;
use function_sdk::sqlite::DatabaseError;
use function_sdk::{Clock, log};
use serde::Serialize;
use std::time::{Duration, Instant};

/// So many pending orders are looked at in one sweep.
const SWEEP: u32 = 200;
/// After so many orders in a row that met no answer, a sweep waits for the next.
const SILENCES: u32 = 3;

/// What came of placing an order.
#[derive(Clone, Debug)]
pub enum Placed {
    /// It ended.
    Ended(Order),
    /// It is on disk and has not ended; the text says what is in the way.
    Pending(Order, String),
    /// There is another order of that name.
    Taken,
    /// The placement cannot be: nothing was written down.
    Invalid {
        /// Which field.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Nothing was written down; the text says what is in the way.
    Unavailable(String),
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Swept {
    /// Orders that are confirmed now.
    pub confirmed: u32,
    /// Orders that are cancelled now.
    pub cancelled: u32,
    /// Orders that are pending still, as far as was looked.
    pub pending: u32,
}

/// Places orders and drives them to their end.
#[derive(Debug)]
pub struct Till {
    store: Store,
    shop: Shop,
    clock: Clock,
    flights: Flights<(String, Placed)>,
    /// How long an order is driven at a stretch; then it is pending, and the next sweep's.
    patience: Duration,
}

impl Till {
    /// Works on the orders of `store` with the functions of `shop`.
    pub fn new(store: Store, shop: Shop, clock: Clock, patience: Duration) -> Self {
        Self { store, shop, clock, flights: Flights::default(), patience }
    }

    /// The orders.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Places an order, or finds what came of it before.
    pub async fn place(&self, id: &OrderId, placement: &Placement) -> Placed {
        let body = placement.canonical();
        loop {
            let flight = match self.flights.enter(id.as_str()) {
                Entry::First(flight) => flight,
                Entry::Waits(waiting) => match waiting.result().await {
                    Some((same, placed)) if same == body => return placed,
                    // It was for another body, or given up: look what is there now.
                    _ => continue,
                },
            };
            let placed = self.place_first(id, placement, &body).await;
            flight.land((body, placed.clone()));
            return placed;
        }
    }

    async fn place_first(&self, id: &OrderId, placement: &Placement, body: &str) -> Placed {
        let order = match self.store.find(id.as_str()).await {
            Ok(Some(order)) => order,
            Ok(None) => match self.record(id, placement, body).await {
                Ok(order) => order,
                Err(placed) => return placed,
            },
            Err(error) => return unavailable(&error),
        };
        if order.body != body { Placed::Taken } else { self.drive(order, self.patience).await }
    }

    /// Prices a new order and writes it down.
    async fn record(&self, id: &OrderId, placement: &Placement, body: &str) -> Result<Order, Placed> {
        let quote = self.shop.quote(placement).await.map_err(|error| match error {
            QuoteError::Field { field, problem } => Placed::Invalid { field, problem },
            QuoteError::Unanswered(error) => {
                log(format_args!("Order {} was not taken: {error}", id.as_str()));
                Placed::Unavailable(error.to_string())
            }
        })?;
        let order = Order {
            id: id.as_str().to_owned(),
            body: body.to_owned(),
            lines: quote.lines,
            total: quote.total,
            currency: quote.currency,
            token: placement.payment.token.0.clone(),
            progress: Progress::start(),
            trouble: None,
            created_ms: self.now(),
        };
        self.store.insert(order).await.map_err(|error| unavailable(&error))
    }

    /// Does one step after the other until the order ends, nothing answers, or the time is up.
    async fn drive(&self, order: Order, limit: Duration) -> Placed {
        match tokio::time::timeout(limit, self.steps(order.clone())).await {
            Ok(placed) => placed,
            Err(_) => {
                log(format_args!("Order {} is pending: it took more than {limit:?}", order.id));
                Placed::Pending(order, format!("it takes more than {limit:?}"))
            }
        }
    }

    async fn steps(&self, mut order: Order) -> Placed {
        while order.progress.status == Status::Pending {
            let outcome = match self.shop.perform(&order).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    let step = order.progress.step.as_str();
                    log(format_args!("Order {} is pending at {step}: {error}", order.id));
                    let trouble = error.to_string();
                    if let Err(error) = self.store.trouble(&order.id, &trouble, self.now()).await {
                        log(format_args!("Order {}: its trouble is not noted: {error}", order.id));
                    }
                    return Placed::Pending(order, trouble);
                }
            };
            let progress = saga::next(order.progress.clone(), outcome);
            order = match self.store.advance(order.clone(), progress, self.now()).await {
                Ok(order) => order,
                Err(error) => {
                    log(format_args!("Order {} is pending: {error}", order.id));
                    return Placed::Pending(order, "the orders cannot be written now".to_owned());
                }
            };
        }
        log(format_args!("Order {} is {}{}", order.id, order.progress.status.as_str(), because(&order)));
        Placed::Ended(order)
    }

    /// Drives pending orders to their end. Orders that somebody works on are left to them.
    pub async fn sweep(&self) -> Result<Swept, DatabaseError> {
        let (mut swept, mut silences, since) = (Swept::default(), 0, Instant::now());
        for order in self.store.pending(SWEEP).await? {
            let left = self.patience.saturating_sub(since.elapsed());
            if silences >= SILENCES || left.is_zero() {
                swept.pending += 1;
                continue;
            }
            let Entry::First(flight) = self.flights.enter(&order.id) else {
                swept.pending += 1;
                continue;
            };
            // Somebody may have ended it since it was listed.
            let Some(order) = self.store.find(&order.id).await? else { continue };
            let body = order.body.clone();
            let placed = self.drive(order, left).await;
            match &placed {
                Placed::Ended(order) if order.progress.status == Status::Confirmed => swept.confirmed += 1,
                Placed::Ended(_) => swept.cancelled += 1,
                _ => swept.pending += 1,
            }
            silences = if matches!(placed, Placed::Ended(_)) { 0 } else { silences + 1 };
            flight.land((body, placed));
        }
        Ok(swept)
    }

    fn now(&self) -> i64 {
        i64::try_from(self.clock.unix_millis()).unwrap_or(i64::MAX)
    }
}

fn because(order: &Order) -> String {
    order.progress.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default()
}

fn unavailable(error: &DatabaseError) -> Placed {
    log(format_args!("{error}"));
    Placed::Unavailable("the orders cannot be read or written now".to_owned())
}
