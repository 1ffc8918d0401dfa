//! One replica's life: started, ready, asked to end, ended. What happens is told to the reconcile loop.

use crate::isolation::GATEWAY_PORT;
use crate::plan::ReplicaId;
use crate::readiness::{self, Probes};
use crate::runtime::{Order, Running, Runtime};
use provider::Address;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// Between leaving the table and the order to end: whoever took the replica from the table a moment ago still
/// reaches it, on a busy machine too.
const SETTLE: Duration = Duration::from_millis(250);
/// The same where someone waits for the end: the next version of a function with data, or the platform's own end.
const SHORT_SETTLE: Duration = Duration::from_millis(25);

/// What happens to a replica.
pub(crate) enum Event {
    /// Its process runs.
    Started(ReplicaId, Arc<dyn Running>),
    /// It can be called.
    Ready(ReplicaId),
    /// It can be called no longer, why, and is being ended.
    Sick(ReplicaId, String),
    /// It has ended, or was never started.
    Ended { id: ReplicaId, how: String, was_late: bool },
}

impl Event {
    /// Whom it happened to.
    pub(crate) const fn replica(&self) -> ReplicaId {
        match self {
            Self::Started(id, _) | Self::Ready(id) | Self::Sick(id, _) | Self::Ended { id, .. } => *id,
        }
    }
}

/// How a replica ended.
struct End {
    how: String,
    /// It had all the time to get ready.
    was_late: bool,
}

impl From<String> for End {
    fn from(how: String) -> Self {
        Self { how, was_late: false }
    }
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
    // They were read when the function was deployed.
    let probes = Probes::of(&order.desired.deployment.annotations).unwrap_or_default();
    let End { how, was_late } = match runtime.start(&order).await {
        Ok(running) => {
            tell(Event::Started(id, Arc::clone(&running)));
            let start_timeout = start_timeout.max(probes.start);
            let settle = if order.desired.is_exclusive() { SHORT_SETTLE } else { SETTLE };
            run(running.as_ref(), (&probes, start_timeout, settle), &mut end, |what| {
                tell(match what {
                    None => Event::Ready(id),
                    Some(why) => Event::Sick(id, why),
                });
            })
            .await
        }
        Err(error) => format!("could not be started: {error}").into(),
    };
    tell(Event::Ended { id, how, was_late });
}

async fn run(
    running: &dyn Running,
    (probes, start_timeout, settle): (&Probes, Duration, Duration),
    end: &mut EndOrder,
    tell: impl Fn(Option<String>),
) -> End {
    tokio::select! {
        how = running.ended() => return format!("{how}{}", expected(&running.address())).into(),
        () = ordered(end) => return finish(running, settle, end).await.into(),
        () = running.ready(&probes.ready) => tell(None),
        () = sleep(start_timeout) => {
            running.kill();
            let how = running.ended().await;
            let expected = expected(&running.address());
            let how = format!("was not ready within {} s and {how}{expected}", start_timeout.as_secs_f32());
            return End { how, was_late: true };
        }
    }
    let sick = async {
        match &probes.health {
            Some(health) => readiness::until_sick(&running.address(), health).await,
            None => std::future::pending().await,
        }
    };
    let why = tokio::select! {
        how = running.ended() => return how.into(),
        () = ordered(end) => return finish(running, settle, end).await.into(),
        why = sick => why,
    };
    tell(Some(why));
    // The order follows, when it has left the table.
    tokio::select! {
        how = running.ended() => how.into(),
        () = ordered(end) => finish(running, settle, end).await.into(),
    }
}

/// What an image that listens as it likes has to do, for whoever reads that it never got ready.
fn expected(address: &Address) -> String {
    match address {
        Address::Unix(_) | Address::Tcp(_) => String::new(),
        Address::Inside { port: GATEWAY_PORT, .. } => format!("; it has to listen on TCP port {GATEWAY_PORT}"),
        Address::Inside { port, .. } => format!(
            "; it has to listen on TCP port {port}, as its variable port says: {GATEWAY_PORT} is the gateway's in its \
             network"
        ),
    }
}

/// Asks a replica to end, and ends it when it takes too long.
async fn finish(running: &dyn Running, settle: Duration, end: &mut EndOrder) -> String {
    let in_a_hurry = async {
        end.wait_for(|order| order.is_some_and(|at_most| at_most < Duration::MAX)).await.map(drop).unwrap_or_default();
        sleep(SHORT_SETTLE).await;
    };
    tokio::select! {
        how = running.ended() => return how,
        () = sleep(settle) => {}
        () = in_a_hurry => {}
    }
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
