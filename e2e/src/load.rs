//! Orders under load, while things are killed.

use crate::http::Http;
use crate::platform::State;
use crate::shop::{Ended, Shop, books_agree, espresso};
use crate::system::processes_of;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long a till rests after an order that went through the queue.
const PACE: Duration = Duration::from_millis(100);

/// The orders of some tills.
#[derive(Debug, Default)]
pub struct Placed {
    /// Acknowledged, with 201 or 202.
    pub acknowledged: Vec<String>,
    /// Not acknowledged: they may have been taken all the same.
    pub others: Vec<String>,
    /// What tills were told instead, and how often.
    pub refusals: BTreeMap<String, usize>,
}

/// Tills that place orders until they are closed.
#[derive(Debug)]
pub struct Tills {
    stop: Arc<AtomicBool>,
    tills: Vec<JoinHandle<Placed>>,
}

impl Tills {
    /// Opens tills; every one whose number `asynchronous` picks places its orders through the queue.
    #[must_use]
    pub fn open(shop: &dyn Shop, prefix: &str, count: usize, asynchronous: impl Fn(usize) -> bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tills = (0..count)
            .map(|till| {
                let route = if asynchronous(till) { "async-function" } else { "function" };
                let url = shop.at(route, "order");
                tokio::spawn(place_orders(url, format!("{prefix}-{till}"), Arc::clone(&stop)))
            })
            .collect();
        Self { stop, tills }
    }

    /// Closes them, and adds what they placed to `placed`.
    pub async fn close(self, placed: &mut Placed) {
        self.stop.store(true, Ordering::Relaxed);
        for till in self.tills {
            let till = till.await.unwrap();
            placed.acknowledged.extend(till.acknowledged);
            placed.others.extend(till.others);
            for (said, count) in till.refusals {
                *placed.refusals.entry(said).or_default() += count;
            }
        }
    }
}

async fn place_orders(url: String, prefix: String, stop: Arc<AtomicBool>) -> Placed {
    let http = Http::default();
    let mut placed = Placed::default();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let id = format!("{prefix}-{number}");
        match http.post(&url, espresso(&id).to_string()).await {
            Ok(answer) if answer.status == 201 => placed.acknowledged.push(id),
            Ok(answer) if answer.status == 202 => {
                placed.acknowledged.push(id);
                // It is on the disk at once and done later: at full speed it would take minutes until all are.
                tokio::time::sleep(PACE).await;
            }
            // The platform or the function is away: a till would try again.
            refused => {
                placed.others.push(id);
                let said = refused.map_or_else(|error| error, |answer| format!("{} {}", answer.status, answer.text()));
                *placed.refusals.entry(said).or_default() += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    placed
}

impl Placed {
    /// Waits until every acknowledged order is confirmed and the books agree; `before` espressos were there before.
    pub async fn is_accounted_for(&self, shop: &dyn Shop, before: i64) -> Ended {
        books_agree(shop, &self.acknowledged, &self.others, before).await
    }
}

/// The processes of a function.
#[must_use]
pub fn processes_of_function(state: &State, function: &str) -> BTreeSet<u32> {
    let name = format!("OPENFAAS_NAME={function}");
    processes_of(&state.path())
        .into_iter()
        .map(|(pid, _)| pid)
        .filter(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == name.as_bytes())
        })
        .collect()
}
