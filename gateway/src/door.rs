//! The door: listeners that come and go while the gateway runs, each in the network of a function.
//!
//! ```text
//! Door::add -> Doorway::serve -> a task for each listener -> one of a few threads -> the routes
//! ```
//!
//! actix's servers take no listener once they run, so connections are accepted here and served by actix's HTTP service
//! on threads of the door's own. The functions' own listener on loopback is a listener of the door too, one that stays.

#[cfg(test)]
mod tests;
mod threads;

use crate::http::Http;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use threads::{Accepted, Threads};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Connections that one function's listener serves at a time, so that one function cannot take all there are.
const PER_LISTENER: usize = 1024;
/// How long to wait when nothing can be accepted, for the want of files as a rule.
const BREATH: Duration = Duration::from_millis(200);

/// Where listeners are added. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Door {
    opened: mpsc::UnboundedSender<Opened>,
    /// Cancelled when connections take no further request.
    closing: CancellationToken,
    write_timeout: Duration,
}

/// Keeps a listener open. Dropping it closes the listener; its connections end with the calls that are under way.
#[derive(Debug)]
pub struct DoorGuard {
    _closes: DropGuard,
}

/// A listener to be served.
#[derive(Debug)]
struct Opened {
    listener: TcpListener,
    closed: CancellationToken,
    at_most: usize,
}

/// The gateway's side of the door.
#[derive(Debug)]
pub(crate) struct Doorway {
    opened: mpsc::UnboundedReceiver<Opened>,
    closing: CancellationToken,
}

/// A door and what serves it. What is added waits until it is served.
pub(crate) fn door(write_timeout: Duration) -> (Door, Doorway) {
    let (sender, opened) = mpsc::unbounded_channel();
    let closing = CancellationToken::new();
    (Door { opened: sender, closing: closing.clone(), write_timeout }, Doorway { opened, closing })
}

impl Door {
    /// Serves what comes in on `listener`, from when the gateway runs, until what is returned is dropped.
    ///
    /// # Errors
    ///
    /// When the gateway has stopped, or `listener` cannot be made nonblocking.
    pub fn add(&self, listener: TcpListener) -> io::Result<DoorGuard> {
        self.open(listener, PER_LISTENER)
    }

    pub(crate) fn open(&self, listener: TcpListener, at_most: usize) -> io::Result<DoorGuard> {
        listener.set_nonblocking(true)?;
        set_unread(&listener, self.write_timeout);
        let closed = self.closing.child_token();
        let guard = DoorGuard { _closes: closed.clone().drop_guard() };
        let stopped = |_| io::Error::new(io::ErrorKind::NotConnected, "the gateway has stopped and serves no listener");
        self.opened.send(Opened { listener, closed, at_most }).map_err(stopped)?;
        Ok(guard)
    }
}

impl provider::Door for Door {
    fn add(&self, listener: TcpListener) -> io::Result<Box<dyn Send + Sync>> {
        Ok(Box::new(Self::add(self, listener)?))
    }
}

/// A client that reads nothing keeps its connection, and the function's, no longer than this.
pub(crate) fn set_unread(listener: &TcpListener, write_timeout: Duration) {
    let limit = u32::try_from(write_timeout.as_millis()).unwrap_or(u32::MAX);
    rustix::net::sockopt::set_tcp_user_timeout(listener, limit).unwrap_or_else(|error| {
        tracing::warn!(%error, "write_timeout cannot be set on a listener; slow readers are not cut off");
    });
}

impl Doorway {
    /// Serves listeners, with `connections` at a time, until `last` ends; then lets calls under way end for as long as
    /// `drain`. Threads are started with the first listener.
    pub(crate) async fn serve(
        mut self,
        http: Http,
        connections: usize,
        last: impl Future<Output = ()>,
        drain: Duration,
    ) -> io::Result<()> {
        let room = Arc::new(Semaphore::new(connections));
        let mut threads: Option<Arc<Threads>> = None;
        let mut listeners = JoinSet::new();
        let mut last = std::pin::pin!(last);
        loop {
            let opened = tokio::select! {
                // Whoever holds a door may still add, but gets nothing served.
                () = &mut last => break,
                Some(_ended) = listeners.join_next() => continue,
                opened = self.opened.recv() => opened,
            };
            // No door is left; what was added stays.
            let Some(opened) = opened else {
                last.as_mut().await;
                break;
            };
            let threads = match &threads {
                Some(threads) => Arc::clone(threads),
                None => Arc::clone(threads.insert(Arc::new(Threads::start(&http)?))),
            };
            listeners.spawn(accept(opened, threads, Arc::clone(&room)));
        }
        self.opened.close();
        self.closing.cancel();
        listeners.shutdown().await;
        if let Some(threads) = threads.and_then(Arc::into_inner) {
            threads.stop(drain).await;
        }
        Ok(())
    }
}

/// Hands what comes in on one listener to the threads, until it is closed.
async fn accept(opened: Opened, threads: Arc<Threads>, room: Arc<Semaphore>) {
    let Opened { listener, closed, at_most } = opened;
    let accepting = async {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "a function's way to the gateway cannot be served"),
        };
        let own_room = Arc::new(Semaphore::new(at_most));
        // An error would mean that one of the semaphores is closed, which nobody does.
        while let Ok(own) = Arc::clone(&own_room).acquire_owned().await {
            // Whichever thread serves it waits for it by itself.
            match listener.accept().await.and_then(|(stream, _)| stream.into_std()) {
                Ok(stream) => {
                    // Not before: a listener that nobody connects to must hold no place.
                    let Ok(all) = Arc::clone(&room).acquire_owned().await else { return };
                    threads.serve(Accepted { stream, closed: closed.clone(), _room: [own, all] });
                }
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "a function's connection to the gateway cannot be accepted");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    };
    closed.run_until_cancelled(accepting).await;
}

/// Whether whoever connected gave up before it was accepted.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
