//! The connector: waits for the topic map, connects, and goes on until it is stopped.

use crate::identity::Identity;
use crate::intake::Intake;
use crate::link::{self, Incoming, Link, Orders, Report, V3, V5};
use crate::subscriptions::Subscriptions;
use crate::{Config, ConfigError, Version};
use daemon::Stop;
use daemon::health::{self, Figure};
use dispatch::Dispatcher;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// How long messages that are under way may take when the connector stops.
const DRAIN: Duration = Duration::from_secs(1);
/// How long the goodbye to the broker may take.
const FAREWELL: Duration = Duration::from_millis(500);

/// Brings an MQTT broker's messages to functions.
pub struct MqttConnector {
    config: Config,
    identity: Identity,
    dispatcher: Dispatcher,
    connected: watch::Sender<bool>,
}

/// Why there is no connector.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The client's id cannot be read or kept.
    #[error("{directory}: the MQTT client's id cannot be kept: {reason}", directory = directory.display())]
    Identity {
        /// The state directory.
        directory: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
}

impl MqttConnector {
    /// Finds out who it is. It connects in [`run`](Self::run).
    pub fn build(config: Config, dispatcher: Dispatcher) -> Result<Self, ConnectorError> {
        let identity = Identity::open(config.client_id.as_deref(), config.state.as_deref()).map_err(|reason| {
            ConnectorError::Identity { directory: config.state.clone().unwrap_or_default(), reason }
        })?;
        if config.client_id.is_none() && config.state.is_none() {
            tracing::warn!(
                "Neither client_id nor state_dir is set: after a restart the broker keeps messages for a client that \
                 does not come back"
            );
        }
        Ok(Self { config, identity, dispatcher, connected: watch::Sender::new(false) })
    }

    /// Whether there is a connection to the broker.
    #[must_use]
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.connected.subscribe()
    }

    /// What it says of itself to whoever asks how it is.
    #[must_use]
    pub fn report(&self) -> impl health::Report + use<> {
        ConnectorReport { connected: self.connected.subscribe(), dispatcher: self.dispatcher.clone() }
    }

    /// Waits for the first topic map, then connects and serves until `stop`.
    pub async fn run(self, mut stop: Stop) -> Result<(), ConnectorError> {
        tokio::select! {
            ready = self.dispatcher.ready() => if !ready { return Ok(()) },
            () = stop.wait() => return Ok(()),
        }
        match self.config.version {
            Version::V3 => {
                let (link, orders) = V3::open(&self.config, &self.identity.client_id)?;
                self.serve(link, orders, stop).await;
            }
            Version::V5 => {
                let (link, orders) = V5::open(&self.config, &self.identity.client_id)?;
                self.serve(link, orders, stop).await;
            }
        }
        Ok(())
    }

    async fn serve(self, link: impl Link, orders: impl Orders, mut stop: Stop) {
        let (sender, mut reports) = mpsc::unbounded_channel();
        // Held for its drop, which ends the poller.
        let mut poller = JoinSet::new();
        poller.spawn(link::poll(link, sender));
        let mut functions = self.dispatcher.list().watch();
        let mut session = Session {
            broker: format!("{}:{}", self.config.host, self.config.port),
            subscriptions: Subscriptions::new(self.identity.filters.clone()),
            intake: Intake::new(self.dispatcher.clone()),
            fixed: self.config.topics,
            identity: self.identity,
            dispatcher: self.dispatcher,
            connected: self.connected,
            orders,
            complained: false,
        };
        session.follow();
        loop {
            tokio::select! {
                () = stop.wait() => break,
                Some(report) = reports.recv() => session.handle(report),
                () = session.intake.progress(&session.orders) => {}
                Ok(()) = functions.changed() => session.follow(),
            }
        }
        session.close(&mut reports).await;
    }
}

struct ConnectorReport {
    connected: watch::Receiver<bool>,
    dispatcher: Dispatcher,
}

impl health::Report for ConnectorReport {
    fn not_ready(&self) -> Option<String> {
        if self.dispatcher.list().current().is_none() {
            return Some("the functions are not known yet".to_owned());
        }
        (!*self.connected.borrow()).then(|| "there is no connection to the MQTT broker".to_owned())
    }

    fn figures(&self) -> Vec<Figure> {
        let mut figures = dispatch::figures(&self.dispatcher);
        let connected = u64::from(*self.connected.borrow());
        figures.push(Figure::gauge("crema_mqtt_connected", "Whether there is a connection to the broker.", connected));
        figures
    }
}

/// What is known of the broker and its messages while the connector runs.
struct Session<O> {
    broker: String,
    fixed: Option<Vec<String>>,
    identity: Identity,
    dispatcher: Dispatcher,
    subscriptions: Subscriptions,
    intake: Intake,
    connected: watch::Sender<bool>,
    orders: O,
    /// Whether the outage has been told to a person.
    complained: bool,
}

impl<O: Orders> Session<O> {
    /// Subscribes to what functions want now.
    fn follow(&mut self) {
        match (&self.fixed, self.dispatcher.topic_map()) {
            (Some(topics), _) => self.subscriptions.want(topics.iter().map(String::as_str), &self.orders),
            (None, Some(map)) => {
                self.subscriptions.want(map.filters().iter().map(String::as_str), &self.orders);
            }
            (None, None) => return,
        }
        self.identity.subscribed(self.subscriptions.wanted());
    }

    fn handle(&mut self, report: Report) {
        match report {
            Report::Incoming(Incoming::Connected { session }) => {
                self.complained = false;
                tracing::info!(broker = self.broker, client_id = self.identity.client_id, session, "Connected");
                self.connected.send_replace(true);
                self.subscriptions.connected(session, &self.orders);
            }
            Report::Incoming(Incoming::Message(message)) => self.intake.take(message),
            Report::Incoming(Incoming::Asked(packet)) => self.subscriptions.sent(packet),
            Report::Incoming(Incoming::Answered(packet, refusal)) => {
                self.subscriptions.answered(packet, refusal, &self.orders);
            }
            Report::Incoming(Incoming::Left | Incoming::Other) => {}
            Report::Lost(lost) => {
                let was = self.connected.send_replace(false);
                if was || !self.complained {
                    self.complained = true;
                    tracing::warn!(
                        broker = self.broker,
                        client_id = self.identity.client_id,
                        error = lost.why,
                        "No connection to the MQTT broker; trying again until there is one"
                    );
                }
                self.subscriptions.lost();
                self.intake.lost();
                lost.seen();
            }
        }
    }

    /// Lets what is under way be acknowledged and says goodbye. The broker keeps the session and what comes meanwhile.
    async fn close(mut self, reports: &mut mpsc::UnboundedReceiver<Report>) {
        let drained = tokio::time::timeout(DRAIN, async {
            while !self.intake.is_idle() {
                tokio::select! {
                    () = self.intake.progress(&self.orders) => {}
                    // New messages stay unacknowledged: the broker sends them to whoever comes next.
                    Some(report) = reports.recv() => {
                        if let Report::Lost(_) = report { return }
                    }
                }
            }
        });
        if drained.await.is_err() {
            tracing::info!("Messages were under way; the broker sends them again");
        }
        if *self.connected.borrow() && self.orders.leave() {
            let left = async {
                while let Some(report) = reports.recv().await {
                    if matches!(report, Report::Incoming(Incoming::Left) | Report::Lost(_)) {
                        return;
                    }
                }
            };
            // A broker that does not listen is left without a goodbye.
            tokio::time::timeout(FAREWELL, left).await.unwrap_or_default();
        }
        self.connected.send_replace(false);
    }
}
