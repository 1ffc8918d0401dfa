//! The threads that serve the door's connections, as actix's workers serve the public listener's.

use crate::http::Http;
use actix_http::error::DispatchError;
use actix_service::{Service, ServiceFactory};
use std::cell::RefCell;
use std::io;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet};
use tokio_util::sync::CancellationToken;

/// A connection to be served.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    /// Cancelled when the connection is to take no further request.
    pub(super) closed: CancellationToken,
    pub(super) _room: [OwnedSemaphorePermit; 2],
}

/// Some threads that serve connections, each a fair part of them.
pub(super) struct Threads {
    threads: Vec<Thread>,
    next: AtomicUsize,
    /// Cancelled when connections are cut off.
    cut: CancellationToken,
}

struct Thread {
    connections: mpsc::UnboundedSender<Accepted>,
    ended: oneshot::Receiver<()>,
}

impl Threads {
    /// Starts as many as the public listener has.
    pub(super) fn start(http: &Http) -> io::Result<Self> {
        let cut = CancellationToken::new();
        let start = |number| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            // Bounded by the permits that come with the connections.
            let (connections, accepted) = mpsc::unbounded_channel();
            let (ends, ended) = oneshot::channel();
            let (http, cut) = (http.clone(), cut.clone());
            std::thread::Builder::new().name(format!("door-{number}")).spawn(move || {
                run(&runtime, &http, accepted, &cut);
                ends.send(()).unwrap_or_default();
            })?;
            Ok(Thread { connections, ended })
        };
        let threads = (0..http.state.config.workers.max(1)).map(start).collect::<io::Result<_>>()?;
        Ok(Self { threads, next: AtomicUsize::new(0), cut })
    }

    pub(super) fn serve(&self, accepted: Accepted) {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.threads.len();
        // An error means that the gateway stops: the connection is closed.
        self.threads[next].connections.send(accepted).unwrap_or_default();
    }

    /// Ends when all connections have ended, or cuts them off after `drain`.
    pub(super) async fn stop(self, drain: Duration) {
        let Self { threads, cut, .. } = self;
        let (connections, ended): (Vec<_>, Vec<_>) =
            threads.into_iter().map(|thread| (thread.connections, thread.ended)).unzip();
        drop(connections);
        let mut all = std::pin::pin!(futures_util::future::join_all(ended));
        if tokio::time::timeout(drain, &mut all).await.is_err() {
            tracing::warn!("calls of functions did not end in time and are cut off");
            cut.cancel();
            all.await;
        }
    }
}

fn run(runtime: &Runtime, http: &Http, mut accepted: mpsc::UnboundedReceiver<Accepted>, cut: &CancellationToken) {
    let serving = async {
        // actix asks which signal is a connection's own while it takes the connection.
        let closed = Rc::new(RefCell::new(CancellationToken::new()));
        let asked = Rc::clone(&closed);
        let factory = http.service::<tokio::net::TcpStream, _, _>(move || asked.borrow().clone().cancelled_owned());
        let Ok(service) = factory.new_service(()).await else {
            return tracing::error!("a thread of the door cannot be set up: functions may not reach the gateway");
        };
        let mut connections = JoinSet::new();
        loop {
            let next = tokio::select! {
                next = accepted.recv() => next,
                Some(_ended) = connections.join_next() => continue,
            };
            let Some(Accepted { stream, closed: own, _room }) = next else { break };
            let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { continue };
            *closed.borrow_mut() = own;
            let connection = service.call(stream);
            connections.spawn_local(async move {
                let _room = _room;
                let ended: Result<(), DispatchError> = connection.await;
                ended.unwrap_or_else(|error| tracing::debug!(%error, "a function's connection broke off"));
            });
        }
        while connections.join_next().await.is_some() {}
    };
    LocalSet::new().block_on(runtime, cut.run_until_cancelled(serving));
}
