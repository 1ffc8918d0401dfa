//! Vending machines: orders that come in by MQTT.

use crate::stage::{Stage, uuid};
use e2e::cluster::branch::Branch;
use e2e::cluster::installed::publish;
use e2e::load::Placed;
use e2e::shop::espresso;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// A message is a process each.
const PAUSE: Duration = Duration::from_millis(200);

/// A machine that orders until it is stopped.
pub(crate) struct Machines {
    stop: Arc<AtomicBool>,
    placed: JoinHandle<Placed>,
}

impl Machines {
    /// Starts it.
    pub(crate) fn order(stage: &Stage, branch: &Branch) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (broker, topic) = (stage.broker().to_owned(), branch.orders_topic());
        Self { placed: tokio::spawn(place_orders(broker, topic, Arc::clone(&stop))), stop }
    }

    /// Stops it, and adds what it placed.
    pub(crate) async fn stop(self, placed: &mut Placed) {
        self.stop.store(true, Ordering::Relaxed);
        let own = self.placed.await.unwrap();
        placed.acknowledged.extend(own.acknowledged);
        placed.others.extend(own.others);
    }
}

async fn place_orders(broker: String, topic: String, stop: Arc<AtomicBool>) -> Placed {
    let mut placed = Placed::default();
    while !stop.load(Ordering::Relaxed) {
        let id = format!("m-{}", uuid());
        if publish(&broker, &topic, &espresso(&id).to_string()).await {
            placed.acknowledged.push(id);
        } else {
            placed.others.push(id);
        }
        tokio::time::sleep(PAUSE).await;
    }
    placed
}
