//! The broker: reserves its port, waits for the topic map, serves, and leaves nothing behind.

use crate::access::{Access, AccessError};
use crate::hook::Hook;
use crate::retained::Retained;
use crate::shelf::Shelf;
use crate::{Config, ConfigError};
use daemon::health::{Figure, Report};
use daemon::{Stop, SystemClock};
use dispatch::Dispatcher;
use rmqtt::context::ServerContext;
use rmqtt::net::Builder;
use rmqtt::server::MqttServer;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Threads for clients. Their work is small; waiting for the gateway takes none.
const THREADS: usize = 2;
/// Threads that hash passwords.
const HASHING_THREADS: usize = 2;
/// How long events that are under way may take when the broker stops.
const DRAIN: Duration = Duration::from_secs(1);
/// How long the clients' tasks may take to end.
const FAREWELL: Duration = Duration::from_millis(500);
/// What an MQTT packet may hold besides its payload: topic and properties.
const PACKET_ROOM: usize = 128 * 1024;
/// How many clients may be connecting at a time.
const HANDSHAKES: usize = 256;
/// How long a client may take to say who it is.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many clients may be connected, and how many sessions may exist.
const SESSIONS: isize = 10_000;
const CONNECTIONS: usize = SESSIONS.unsigned_abs();
/// How long a session without a client is kept when the client says nothing else.
const SESSION_EXPIRY: Duration = Duration::from_secs(24 * 60 * 60);
/// How many messages wait for a client that is away or slow.
const WAITING_FOR_A_CLIENT: usize = 100;

/// The broker, its port reserved. Connections are refused until [`run`](Broker::run) has a topic map.
pub struct Broker {
    config: Config,
    access: Access,
    dispatcher: Dispatcher,
    reserved: TcpSocket,
    address: SocketAddr,
    open: watch::Sender<bool>,
}

/// Why there is no broker.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The password file or access list cannot be used.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The address cannot be had.
    #[error("MQTT cannot listen on {address}: {reason}; is another broker running? choose another address with --mqtt")]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// Why.
        reason: std::io::Error,
    },
    /// The directory of retained messages cannot be used.
    #[error(
        "retained messages cannot be kept in {directory}: {reason}; name another directory in CREMA_MQTT_STATE",
        directory = directory.display()
    )]
    State {
        /// Which directory.
        directory: PathBuf,
        /// Why.
        reason: String,
    },
    /// The broker's threads cannot be started.
    #[error("the MQTT broker cannot start: {0}")]
    Start(String),
}

impl Broker {
    /// Reads the files it needs and reserves its port.
    ///
    /// The dispatcher's connections to the gateway belong to the broker's own threads and end with it, so give it a
    /// `GatewayClient` of its own.
    pub fn build(config: Config, dispatcher: Dispatcher) -> Result<Self, BrokerError> {
        let config = config.checked()?;
        let access = Access::read(&config)?;
        let fail = |reason| BrokerError::Bind { address: config.listen, reason };
        let reserved = if config.listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(fail)?;
        // With SO_REUSEADDR the port can be bound a second time, by the broker itself, as long as no one listens.
        reserved.set_reuseaddr(true).map_err(fail)?;
        reserved.bind(config.listen).map_err(fail)?;
        let address = reserved.local_addr().map_err(fail)?;
        Ok(Self { config, access, dispatcher, reserved, address, open: watch::Sender::new(false) })
    }

    /// Where it will listen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Becomes true when clients can connect.
    #[must_use]
    pub fn opened(&self) -> watch::Receiver<bool> {
        self.open.subscribe()
    }

    /// What it says of itself to whoever asks how it is.
    #[must_use]
    pub fn report(&self) -> impl Report + use<> {
        BrokerReport { open: self.open.subscribe(), dispatcher: self.dispatcher.clone() }
    }

    /// Waits for the first topic map, then serves until `stop`. Afterwards no task of it is left.
    pub async fn run(self, mut stop: Stop) -> Result<(), BrokerError> {
        let retained = retained(self.config.state.as_deref()).await?;
        tokio::select! {
            ready = self.dispatcher.ready() => if !ready { return Ok(()) },
            () = stop.wait() => return Ok(()),
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .max_blocking_threads(HASHING_THREADS)
            .thread_name("mqtt-broker")
            .enable_all()
            .build()
            .map_err(|error| BrokerError::Start(error.to_string()))?;
        let hook = Hook::new(self.access, self.dispatcher, self.config.body_limit, stop.clone());
        let serving = serve(&self.config, self.address, self.reserved, hook.clone(), retained, self.open.clone());
        let mut server = runtime.spawn(serving);
        let ended = tokio::select! {
            ended = &mut server => ended.unwrap_or_else(|error| Err(BrokerError::Start(error.to_string()))),
            () = stop.wait() => {
                // No new clients; those who are here get the answers they wait for.
                server.abort();
                if tokio::time::timeout(DRAIN, hook.idle()).await.is_err() {
                    tracing::warn!("Events were under way when the MQTT broker stopped; their sensors send them again");
                }
                Ok(())
            }
        };
        self.open.send_replace(false);
        close(runtime).await;
        tracing::info!(address = %self.address, "The MQTT broker has stopped");
        ended
    }
}

/// What was kept before.
async fn retained(state: Option<&Path>) -> Result<Retained, BrokerError> {
    let Some(directory) = state else { return Ok(Retained::default()) };
    let failed = |reason: String| BrokerError::State { directory: directory.to_owned(), reason };
    let shelf = Shelf::open(directory).map_err(|error| failed(error.to_string()))?;
    Retained::on(shelf, Arc::new(SystemClock)).await.map_err(|error| failed(error.to_string()))
}

struct BrokerReport {
    open: watch::Receiver<bool>,
    dispatcher: Dispatcher,
}

impl Report for BrokerReport {
    fn not_ready(&self) -> Option<String> {
        (!*self.open.borrow()).then(|| "no client can connect: the functions are not known yet".to_owned())
    }

    fn figures(&self) -> Vec<Figure> {
        dispatch::figures(&self.dispatcher)
    }
}

/// Listens and serves for ever. Its own function so that everything rmqtt starts is started on the broker's threads.
fn serve(
    config: &Config,
    address: SocketAddr,
    reserved: TcpSocket,
    hook: Hook,
    retained: Retained,
    open: watch::Sender<bool>,
) -> impl Future<Output = Result<(), BrokerError>> + use<> {
    let packet = u32::try_from(config.body_limit.saturating_add(PACKET_ROOM)).unwrap_or(u32::MAX);
    async move {
        let context = ServerContext::new()
            // Being busy is no reason to send sensors away: each waits for its own acknowledgement.
            .busy_check_enable(false)
            .mqtt_max_sessions(SESSIONS)
            .build()
            .await;
        *context.extends.retain_mut().await = Box::new(retained);
        // Registered handlers stay as long as the context does.
        let register = context.extends.hook_mgr().register();
        hook.register(&*register).await;
        let failed = |error: rmqtt::Error| BrokerError::Bind { address, reason: std::io::Error::other(error) };
        let listener = Builder::new()
            .name("mqtt")
            .laddr(address)
            .reuseaddr(Some(true))
            .nodelay(true)
            // Without a name and password the hook is asked too.
            .allow_anonymous(false)
            .max_connections(CONNECTIONS)
            .max_handshaking_limit(HANDSHAKES)
            .handshake_timeout(HANDSHAKE)
            .max_packet_size(packet)
            .max_mqueue_len(WAITING_FOR_A_CLIENT)
            .max_inflight(NonZeroU16::MIN.saturating_add(63))
            .session_expiry_interval(SESSION_EXPIRY)
            // Messages wait for their session as long as it lasts.
            .message_expiry_interval(Duration::ZERO)
            .bind()
            .and_then(rmqtt::net::Listener::tcp)
            .map_err(failed)?;
        drop(reserved);
        open.send_replace(true);
        tracing::info!(%address, "The MQTT broker listens");
        let server = MqttServer::new(context).listener_by_id(listener, address.port()).build();
        server.run().await.map_err(|error| BrokerError::Start(error.to_string()))
    }
}

/// Ends every task the broker started, off the caller's threads.
async fn close(runtime: Runtime) {
    let closing = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(FAREWELL));
    if let Err(error) = closing.await {
        tracing::error!(%error, "The MQTT broker's threads did not end well");
    }
}
