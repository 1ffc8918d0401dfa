//! One replica's life: started, ready, asked to end, ended. What happens is told to the reconcile loop.

use crate::plan::ReplicaId;
use crate::runtime::{Order, Running, Runtime};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// Between leaving the table and the order to end: whoever took the replica from the table a moment ago still
/// reaches it.
const SETTLE: Duration = Duration::from_millis(25);

/// What happens to a replica.
pub(crate) enum Event {
    /// Its process runs.
    Started(ReplicaId, Arc<dyn Running>),
    /// It can be called.
    Ready(ReplicaId),
    /// It has ended, or was never started.
    Ended { id: ReplicaId, how: String },
}

/// The order to end: the longest to wait for it. `None` until it is given; a second one may shorten the wait.
pub(crate) type EndOrder = watch::Receiver<Option<Duration>>;

/// Lives a replica's life. The last event is always [`Event::Ended`].
pub(crate) async fn live(
    id: ReplicaId,
    order: Order,
    runtime: Arc<dyn Runtime>,
    start_timeout: Duration,
    mut end: EndOrder,
    events: mpsc::UnboundedSender<Event>,
) {
    let tell = |event| events.send(event).unwrap_or_default();
    let how = match runtime.start(&order).await {
        Ok(running) => {
            tell(Event::Started(id, Arc::clone(&running)));
            let became_ready = || tell(Event::Ready(id));
            run(running.as_ref(), start_timeout, &mut end, became_ready).await
        }
        Err(error) => format!("could not be started: {error}"),
    };
    tell(Event::Ended { id, how });
}

async fn run(running: &dyn Running, start_timeout: Duration, end: &mut EndOrder, became_ready: impl Fn()) -> String {
    tokio::select! {
        how = running.ended() => return how,
        () = ordered(end) => return finish(running, end).await,
        () = running.ready() => became_ready(),
        () = sleep(start_timeout) => {
            running.kill();
            let how = running.ended().await;
            return format!("was not ready within {} s and {how}", start_timeout.as_secs_f32());
        }
    }
    tokio::select! {
        how = running.ended() => how,
        () = ordered(end) => finish(running, end).await,
    }
}

/// Asks a replica to end, and ends it when it takes too long.
async fn finish(running: &dyn Running, end: &mut EndOrder) -> String {
    sleep(SETTLE).await;
    running.terminate();
    let asked_at = Instant::now();
    loop {
        let at_most = end.borrow_and_update().unwrap_or(Duration::ZERO);
        tokio::select! {
            how = running.ended() => return how,
            () = sleep_until(asked_at + running.grace().min(at_most)) => break,
            changed = end.changed() => if changed.is_err() { break },
        }
    }
    running.kill();
    running.ended().await
}

/// Waits for the order; whoever could give it being gone is one too.
async fn ordered(end: &mut EndOrder) {
    end.wait_for(Option::is_some).await.map(drop).unwrap_or_default();
}
