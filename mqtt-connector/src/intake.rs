//! From the broker's message to its acknowledgement.
//!
//! Messages of one topic are dispatched one after another, those of different topics at the same time, and all are
//! acknowledged in the order received, as MQTT wants it. What a lost connection left unacknowledged is forgotten here:
//! the broker sends it again.

use crate::link::{Message, Orders};
use dispatch::{Dispatcher, Event};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use tokio::task::{AbortHandle, Id, JoinSet};

/// `X-Connector` of events from here.
const CONNECTOR: &str = "crema/mqtt-connector";
/// How many messages of QoS 0 wait at most; more are dropped, which is what QoS 0 allows.
const WAITING_QOS_0: usize = 1_000;
/// How many bytes of them, where it is more than one.
const WAITING_QOS_0_BYTES: usize = 8 << 20;
/// How long a message of QoS 0 is tried.
const PATIENCE_QOS_0: Duration = Duration::from_secs(30);
/// The wait after a dispatch that gave up for now.
const AGAIN: Duration = Duration::from_secs(1);

/// Messages on their way.
pub(crate) struct Intake {
    dispatcher: Dispatcher,
    dispatching: JoinSet<()>,
    topics: HashMap<Id, String>,
    lanes: HashMap<String, Lane>,
    /// Received and not acknowledged, in order: packet, and whether it is on disk.
    unacknowledged: VecDeque<(u16, bool)>,
    waiting_qos_0: usize,
    waiting_qos_0_bytes: usize,
}

/// Messages of one topic: one under way, the others behind it.
struct Lane {
    packet: Option<u16>,
    bytes: usize,
    task: AbortHandle,
    waiting: VecDeque<Message>,
}

impl Intake {
    pub(crate) fn new(dispatcher: Dispatcher) -> Self {
        Self {
            dispatcher,
            dispatching: JoinSet::new(),
            topics: HashMap::new(),
            lanes: HashMap::new(),
            unacknowledged: VecDeque::new(),
            waiting_qos_0: 0,
            waiting_qos_0_bytes: 0,
        }
    }

    /// Takes a message from the broker.
    pub(crate) fn take(&mut self, message: Message) {
        match message.packet {
            // Some brokers send again on a live connection: it is under way, and one acknowledgement is enough.
            Some(packet) if message.again && self.unacknowledged.iter().any(|(known, _)| *known == packet) => return,
            Some(packet) => self.unacknowledged.push_back((packet, false)),
            None if !self.has_room_for(&message) => {
                tracing::warn!(topic = message.topic, "Functions are slower than messages of QoS 0; one is dropped");
                return;
            }
            None => {
                self.waiting_qos_0 += 1;
                self.waiting_qos_0_bytes += message.payload.len();
            }
        }
        match self.lanes.get_mut(&message.topic) {
            Some(lane) => lane.waiting.push_back(message),
            None => self.start(message, VecDeque::new()),
        }
    }

    /// Whether a message of QoS 0 can wait; one alone always can.
    fn has_room_for(&self, message: &Message) -> bool {
        let bytes = self.waiting_qos_0_bytes + message.payload.len();
        self.waiting_qos_0 == 0 || self.waiting_qos_0 < WAITING_QOS_0 && bytes <= WAITING_QOS_0_BYTES
    }

    /// Waits for a dispatch to end and acknowledges what can be. Never ends while nothing is under way.
    pub(crate) async fn progress(&mut self, orders: &impl Orders) {
        let Some(ended) = self.dispatching.join_next_with_id().await else { return std::future::pending().await };
        let (id, well) = match ended {
            Ok((id, ())) => (id, true),
            Err(error) => (error.id(), false),
        };
        // Those that were cut off have no lane any more.
        let Some(topic) = self.topics.remove(&id) else { return };
        let Some(lane) = self.lanes.remove(&topic) else { return };
        match lane.packet {
            None => {
                self.waiting_qos_0 = self.waiting_qos_0.saturating_sub(1);
                self.waiting_qos_0_bytes = self.waiting_qos_0_bytes.saturating_sub(lane.bytes);
            }
            Some(packet) if well => {
                if let Some(entry) = self.unacknowledged.iter_mut().find(|(known, done)| *known == packet && !*done) {
                    entry.1 = true;
                }
            }
            Some(_) => tracing::error!(topic, "A dispatch ended in a panic; the message stays unacknowledged"),
        }
        self.next(lane.waiting);
        self.acknowledge(orders);
    }

    /// Whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.lanes.is_empty()
    }

    /// The connection is gone: the broker sends again what it has no acknowledgement of.
    pub(crate) fn lost(&mut self) {
        self.unacknowledged.clear();
        for (_, mut lane) in std::mem::take(&mut self.lanes) {
            lane.waiting.retain(|message| message.packet.is_none());
            if lane.packet.is_some() {
                self.topics.remove(&lane.task.id());
                lane.task.abort();
                self.next(lane.waiting);
            } else if let Some(topic) = self.topics.get(&lane.task.id()) {
                self.lanes.insert(topic.clone(), lane);
            }
        }
    }

    fn acknowledge(&mut self, orders: &impl Orders) {
        while let Some((packet, true)) = self.unacknowledged.front().copied() {
            if !orders.acknowledge(packet) {
                return;
            }
            self.unacknowledged.pop_front();
        }
    }

    fn next(&mut self, mut waiting: VecDeque<Message>) {
        if let Some(message) = waiting.pop_front() {
            self.start(message, waiting);
        }
    }

    fn start(&mut self, message: Message, waiting: VecDeque<Message>) {
        let (packet, bytes, topic) = (message.packet, message.payload.len(), message.topic.clone());
        let task = self.dispatching.spawn(dispatch(self.dispatcher.clone(), message));
        self.topics.insert(task.id(), topic.clone());
        self.lanes.insert(topic, Lane { packet, bytes, task, waiting });
    }
}

/// Ends when the message can be acknowledged.
async fn dispatch(dispatcher: Dispatcher, message: Message) {
    let best_effort = message.packet.is_none();
    let event = Event {
        topic: message.topic,
        payload: message.payload,
        connector: CONNECTOR,
        content_type: message.content_type,
        traceparent: message.traceparent,
        tracestate: message.tracestate,
    };
    let patience = if best_effort { PATIENCE_QOS_0 } else { Duration::MAX };
    loop {
        match dispatcher.dispatch_within(&event, patience).await {
            Ok(_) => return,
            Err(error) if best_effort => {
                tracing::warn!(topic = event.topic, %error, "A message of QoS 0 did not reach its functions");
                return;
            }
            Err(error) if error.is_temporary() => {
                tracing::warn!(topic = event.topic, %error, "A message waits to be on disk");
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => {
                // Left unacknowledged it would come back for ever and stand before all others.
                tracing::error!(topic = event.topic, %error, "A message is refused for good and given up");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_client::{ClientConfig, FunctionList, GatewayClient};

    fn of_qos_0(mebibytes: usize) -> Message {
        Message {
            topic: "t".to_owned(),
            payload: vec![0; mebibytes << 20].into(),
            packet: None,
            again: false,
            content_type: None,
            traceparent: None,
            tracestate: None,
        }
    }

    #[tokio::test]
    async fn what_waits_without_an_acknowledgement_is_bounded_in_bytes() {
        // Nobody answers there: whatever is taken waits.
        let client = GatewayClient::new(&ClientConfig::new("http://127.0.0.1:9", None)).unwrap();
        let (_stopper, stop) = daemon::stop::pair();
        let list = FunctionList::follow(client.clone(), Duration::from_secs(60), stop);
        let dispatcher = Dispatcher::new(client, list);
        let mut intake = Intake::new(dispatcher.clone());
        let mut waiting = |mebibytes| {
            intake.take(of_qos_0(mebibytes));
            intake.waiting_qos_0
        };
        assert_eq!(waiting(5), 1);
        assert_eq!(waiting(5), 1, "more than there is room for");
        assert_eq!(waiting(2), 2);
        let mut alone = Intake::new(dispatcher);
        alone.take(of_qos_0(9));
        assert_eq!(alone.waiting_qos_0, 1, "one alone is not too large");
    }
}
