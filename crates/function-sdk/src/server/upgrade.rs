//! A connection that leaves HTTP: once an answer 101 is out it belongs to the service, as a WebSocket does.

use super::Permit;
use super::accept::Socket;
use super::body::Record;
use bytes::{Buf, Bytes};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

type Work = Box<dyn FnOnce(Raw) -> Pin<Box<dyn Future<Output = ()>>>>;

/// Lets a service take over the connection that a call came by.
pub struct Upgrade(Rc<Switch>);

impl Upgrade {
    pub(super) fn of(switch: &Rc<Switch>) -> Self {
        Self(Rc::clone(switch))
    }

    /// Gives the connection to `work` when the answer to this call is 101 and has gone out. The call is in flight
    /// until `work` is done; no time limit applies to it but that of a drain.
    pub fn then<F>(self, work: impl FnOnce(Raw) -> F + 'static)
    where
        F: Future<Output = ()> + 'static,
    {
        self.0.offer(Box::new(|raw| Box::pin(work(raw))));
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Upgrade")
    }
}

/// What a connection does after HTTP.
#[derive(Default)]
pub(super) struct Switch {
    work: RefCell<Option<Work>>,
    /// The call that switched; written down when the work is done.
    call: Cell<Option<(Record, Permit)>>,
}

impl Switch {
    fn offer(&self, work: Work) {
        self.work.replace(Some(work));
    }

    /// Whether there is work for the connection once the answer is out.
    pub(super) fn is_offered(&self) -> bool {
        self.work.borrow().is_some()
    }

    /// The answer is no 101.
    pub(super) fn refuse(&self) {
        self.work.replace(None);
    }

    /// The answer is 101.
    pub(super) fn accept(&self, record: Record, permit: Permit) {
        self.call.set(Some((record, permit)));
    }

    /// Does the work of the call that has switched, if one has.
    pub(super) async fn run(&self, raw: impl FnOnce() -> Raw) {
        let (Some(work), Some((mut record, _permit))) = (self.work.take(), self.call.take()) else { return };
        let raw = raw();
        let written = Rc::clone(&raw.written);
        // Also when the work is broken off.
        let _count = OnDrop(|| record.add(written.get()));
        work(raw).await;
    }
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A connection without HTTP.
pub struct Raw {
    /// What the peer sent right behind its request.
    early: Bytes,
    socket: Socket,
    written: Rc<Cell<u64>>,
}

impl Raw {
    pub(super) fn new(socket: Socket, early: Bytes) -> Self {
        Self { early, socket, written: Rc::default() }
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Raw({} bytes written)", self.written.get())
    }
}

impl AsyncRead for Raw {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.socket).poll_read(context, buffer);
        }
        let now = self.early.len().min(buffer.remaining());
        buffer.put_slice(&self.early[..now]);
        self.early.advance(now);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Raw {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        if let Poll::Ready(Ok(bytes)) = &written {
            self.written.set(self.written.get() + *bytes as u64);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
