//! Time limits of one connection, so that no peer holds one by sending or reading slowly.
//!
//! One timer a connection, looked at seldom: what happens on the connection only notes the time.

use super::accept::Socket;
use crate::settings::Settings;
use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How long a connection is kept between requests: longer than those who call keep theirs.
const IDLE: Duration = Duration::from_secs(120);
/// What `write_timeout` is exceeded by, so that an answer that says "too late" still gets out.
const GRACE: Duration = Duration::from_millis(500);

/// What a connection is doing.
#[derive(Clone, Copy, PartialEq)]
enum Phase {
    /// Between requests.
    Idle,
    /// A request's head is arriving.
    Head,
    /// A request is being answered.
    Busy,
}

/// What a connection is doing, and since when.
pub(crate) struct Watch {
    phase: Cell<Phase>,
    since: Cell<Instant>,
    /// Whether the peer does not take what is written.
    stuck: Cell<bool>,
    head: Duration,
    busy: Duration,
}

impl Watch {
    pub(crate) fn new(settings: &Settings) -> Rc<Self> {
        Rc::new(Self {
            phase: Cell::new(Phase::Head),
            since: Cell::new(Instant::now()),
            stuck: Cell::new(false),
            head: settings.read_timeout.unwrap_or(Duration::MAX),
            busy: settings.write_timeout + GRACE,
        })
    }

    /// A request's head has arrived.
    pub(crate) fn request(&self, now: Instant) {
        self.enter(Phase::Busy, now);
    }

    /// The answer's last byte was handed over.
    pub(crate) fn answered(&self) {
        self.enter(Phase::Idle, Instant::now());
    }

    fn enter(&self, phase: Phase, now: Instant) {
        self.phase.set(phase);
        self.since.set(now);
    }

    /// Returns when a limit is exceeded.
    pub(crate) async fn expired(&self) {
        let shortest = self.head.min(self.busy).min(IDLE);
        loop {
            let limit = match self.phase.get() {
                Phase::Head => self.head,
                Phase::Idle if !self.stuck.get() => IDLE,
                Phase::Idle | Phase::Busy => self.busy,
            };
            let left = limit.saturating_sub(self.since.get().elapsed());
            if left.is_zero() {
                return;
            }
            // Whatever begins from now on ends no sooner than this.
            tokio::time::sleep(left.min(shortest)).await;
        }
    }
}

/// A socket that notes what happens on it.
pub(crate) struct Watched {
    pub(crate) socket: Socket,
    pub(crate) watch: Rc<Watch>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.socket).poll_read(context, buffer))?;
        if self.watch.phase.get() == Phase::Idle {
            self.watch.enter(Phase::Head, Instant::now());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.watch.stuck.set(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.watch.stuck.set(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
