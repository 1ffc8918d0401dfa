//! Idle connections by upstream, for one thread.

use crate::io::{Io, Stream, Traffic};
use crate::{Body, Upstream, agent};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::{Rc, Weak};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How many idle connections are kept, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Idle connections kept per upstream; 256.
    pub idle_per_upstream: usize,
    /// How long an idle connection is kept; 30 s. Keep it shorter than the upstreams' own limit.
    pub idle_for: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { idle_per_upstream: 256, idle_for: Duration::from_secs(30) }
    }
}

/// The connections of one thread. Cheap to clone.
#[derive(Clone, Default)]
pub struct Pool(Rc<Inner>);

#[derive(Default)]
struct Inner {
    settings: Settings,
    targets: RefCell<HashMap<Upstream, Rc<Target>>>,
    swept: Cell<bool>,
}

/// One upstream and its idle connections. Keep it instead of looking it up for every exchange.
pub struct Target {
    upstream: Upstream,
    settings: Settings,
    /// Newest last: the last one is taken first, so that the others get old and go.
    idle: RefCell<Vec<Connection>>,
    in_flight: Cell<usize>,
}

type Handshake = (SendRequest<Body>, http1::Connection<TokioIo<Io>, Body>, Rc<Traffic>);

/// A connection that is nobody's or one exchange's.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<Body>,
    pub(crate) traffic: Rc<Traffic>,
    pub(crate) reused: bool,
    idle_since: Instant,
    /// Gives the connection itself once HTTP has ended on it; only where that was asked for.
    pub(crate) raw: Option<oneshot::Receiver<Raw>>,
}

/// A connection without HTTP, and what was read of it already.
pub(crate) type Raw = http1::Parts<TokioIo<Io>>;

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self(Rc::new(Inner { settings, ..Inner::default() }))
    }

    #[cfg(test)]
    pub(crate) fn target_count(&self) -> usize {
        self.0.targets.borrow().len()
    }

    /// The target of an upstream. Must be called inside a `LocalSet`, where its connections live.
    #[must_use]
    pub fn target(&self, upstream: &Upstream) -> Rc<Target> {
        if !self.0.swept.replace(true) {
            // Ends with the pool.
            drop(tokio::task::spawn_local(sweep(Rc::downgrade(&self.0), self.0.settings.idle_for / 2)));
        }
        let mut targets = self.0.targets.borrow_mut();
        if let Some(target) = targets.get(upstream) {
            return Rc::clone(target);
        }
        let target = Rc::new(Target {
            upstream: upstream.clone(),
            settings: self.0.settings,
            idle: RefCell::default(),
            in_flight: Cell::new(0),
        });
        targets.insert(upstream.clone(), Rc::clone(&target));
        target
    }
}

/// Closes what was idle too long, and forgets targets that no one uses.
async fn sweep(pool: Weak<Inner>, every: Duration) {
    loop {
        tokio::time::sleep(every.max(Duration::from_millis(10))).await;
        let Some(pool) = pool.upgrade() else { return };
        let now = Instant::now();
        pool.targets.borrow_mut().retain(|_, target| {
            let mut idle = target.idle.borrow_mut();
            idle.retain(|connection| {
                !connection.sender.is_closed() && now - connection.idle_since < target.settings.idle_for
            });
            !idle.is_empty() || Rc::strong_count(target) > 1
        });
    }
}

impl Target {
    /// Where it leads.
    #[must_use]
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Exchanges of this thread that are under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    pub(crate) fn begin(self: &Rc<Self>) -> InFlight {
        self.in_flight.set(self.in_flight.get() + 1);
        InFlight(Rc::clone(self))
    }

    /// The newest idle connection that is still good.
    pub(crate) fn idle(&self) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        while let Some(mut connection) = idle.pop() {
            if connection.sender.is_ready() {
                connection.reused = true;
                connection.traffic.reset();
                return Some(connection);
            }
        }
        None
    }

    /// A new connection, for an exchange that is not to switch protocols.
    pub(crate) async fn connect(&self, within: Duration) -> io::Result<Connection> {
        let (sender, connection, traffic) = self.handshake(within).await?;
        // Ends when the sender is dropped or the upstream closes; errors are told to the exchange under way.
        drop(tokio::task::spawn_local(async move { drop(connection.await) }));
        Ok(Connection { sender, traffic, reused: false, idle_since: Instant::now(), raw: None })
    }

    /// A new connection that an upstream may switch to another protocol.
    pub(crate) async fn connect_to_switch(&self, within: Duration) -> io::Result<Connection> {
        let (sender, connection, traffic) = self.handshake(within).await?;
        let (give, raw) = oneshot::channel();
        // As above.
        drop(tokio::task::spawn_local(async move {
            if let Ok(parts) = connection.without_shutdown().await {
                // An error means that nobody wants it: it is closed.
                drop(give.send(parts));
            }
        }));
        Ok(Connection { sender, traffic, reused: false, idle_since: Instant::now(), raw: Some(raw) })
    }

    async fn handshake(&self, within: Duration) -> io::Result<Handshake> {
        let stream = match tokio::time::timeout(within, self.open()).await {
            Ok(stream) => stream?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
        let (io, traffic) = Io::new(stream);
        let (sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(io::Error::other)?;
        Ok((sender, connection, traffic))
    }

    async fn open(&self) -> io::Result<Stream> {
        match &self.upstream {
            Upstream::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Upstream::Unix(socket) => socket.connect().await.map(Stream::Unix),
            Upstream::Inside { agent, port } => agent::connect(agent, *port).await.map(Stream::Tcp),
        }
    }

    /// Takes back a connection whose exchange has ended.
    pub(crate) fn put_back(self: &Rc<Self>, mut connection: Connection) {
        if connection.sender.is_ready() {
            self.keep(connection);
        } else if !connection.sender.is_closed() {
            // The upstream answered before it had read the request, or its connection's task is yet to run.
            let target = Rc::downgrade(self);
            drop(tokio::task::spawn_local(async move {
                const SOON: Duration = Duration::from_secs(1);
                let ready = tokio::time::timeout(SOON, connection.sender.ready()).await;
                if let (Ok(Ok(())), Some(target)) = (ready, target.upgrade()) {
                    target.keep(connection);
                }
            }));
        }
    }

    fn keep(&self, mut connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.settings.idle_per_upstream {
            connection.idle_since = Instant::now();
            idle.push(connection);
        }
    }

    #[cfg(test)]
    pub(crate) fn idle_count(&self) -> usize {
        self.idle.borrow().len()
    }
}

/// Counts an exchange as under way.
pub(crate) struct InFlight(Rc<Target>);

impl InFlight {
    pub(crate) fn target(&self) -> &Rc<Target> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}
