//! The line to the broker, whatever version of MQTT it speaks.
//!
//! [`poll`] drives the client library's event loop in a task of its own: it never waits for functions, so pings are
//! never late. After a lost connection it waits until its reader has [seen](Lost::seen) that, and forgets every order
//! given for the old connection: an acknowledgement that came late could otherwise acknowledge another message.

mod v3;
mod v5;

pub(crate) use v3::V3;
pub(crate) use v5::V5;

use crate::{Config, ConfigError, ConnectorError};
use bytes::Bytes;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The first wait before connecting again; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait before connecting again.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Orders that may wait to be sent. Far more than a broker leaves unacknowledged.
const ORDERS: usize = 16 * 1024;
/// How often the broker hears of us.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// The largest packet taken with MQTT 3.1.1: MQTT's own limit. A smaller one would cut the connection again and again over
/// one message, since the broker cannot be told.
const PACKET_LIMIT: u32 = 268_435_455;
/// How many packets of ours may be unanswered: numbers begin anew after so many. The client keeps room for a message for
/// each, ten megabytes with MQTT 5 unless told.
const PACKETS: u16 = 4096;
/// How many messages a broker may send unacknowledged, where it can be told: they are all in memory.
const UNACKNOWLEDGED: u16 = 32;

/// A message for functions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    /// What to acknowledge; None with QoS 0.
    pub(crate) packet: Option<u16>,
    /// Whether the broker says that it sends this again.
    pub(crate) again: bool,
    pub(crate) content_type: Option<String>,
    pub(crate) traceparent: Option<String>,
    pub(crate) tracestate: Option<String>,
}

/// What the broker, or the library on our behalf, did.
#[derive(Debug)]
pub(crate) enum Incoming {
    Connected {
        /// Whether the broker still has our session.
        session: bool,
    },
    Message(Message),
    /// The next request to subscribe or unsubscribe was sent as this packet.
    Asked(u16),
    /// A request was answered; with the reason when it was refused.
    Answered(u16, Option<String>),
    /// Our goodbye is on its way.
    Left,
    Other,
}

/// The library's event loop.
pub(crate) trait Link: Send + 'static {
    /// The next thing that happened; connects when there is no connection.
    fn next(&mut self) -> impl Future<Output = Result<Incoming, String>> + Send;

    /// Forgets every order that has not been sent.
    fn forget(&mut self);
}

/// What can be asked of the broker. Orders are queued; false when there is no room.
pub(crate) trait Orders: Send + 'static {
    fn acknowledge(&self, packet: u16) -> bool;
    fn subscribe(&self, filter: &str) -> bool;
    fn unsubscribe(&self, filter: &str) -> bool;
    fn leave(&self) -> bool;
}

/// What [`poll`] reports.
pub(crate) enum Report {
    Incoming(Incoming),
    Lost(Lost),
}

/// The connection is gone, or did not come about.
pub(crate) struct Lost {
    pub(crate) why: String,
    seen: oneshot::Sender<()>,
}

impl Lost {
    /// No order for the old connection will follow.
    pub(crate) fn seen(self) {
        // The poller may have been stopped meanwhile.
        self.seen.send(()).unwrap_or_default();
    }
}

/// Polls until nobody listens.
pub(crate) async fn poll(mut link: impl Link, reports: mpsc::UnboundedSender<Report>) {
    let mut wait = FIRST_WAIT;
    loop {
        match link.next().await {
            Ok(incoming) => {
                if let Incoming::Connected { .. } = incoming {
                    wait = FIRST_WAIT;
                }
                if reports.send(Report::Incoming(incoming)).is_err() {
                    return;
                }
            }
            Err(why) => {
                let (seen, confirmed) = oneshot::channel();
                if reports.send(Report::Lost(Lost { why, seen })).is_err() || confirmed.await.is_err() {
                    return;
                }
                link.forget();
                // Not all connectors of a broker that restarted come back in one moment.
                tokio::time::sleep(wait.mul_f64(rand::random_range(0.5..1.0))).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    }
}

/// TLS as the library wants it; None without.
fn transport(config: &Config) -> Result<rumqttc::Transport, ConnectorError> {
    if !config.tls {
        return Ok(rumqttc::Transport::Tcp);
    }
    let tls = gateway_client::tls::trusting(config.ca.as_deref()).map_err(|error| ConfigError::Url {
        url: format!("{}:{}", config.host, config.port),
        why: error.to_string(),
    })?;
    Ok(rumqttc::Transport::tls_with_config(tls.into()))
}
