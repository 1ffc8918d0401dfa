//! How long a client may take to send the requests of one connection.
//!
//! actix bounds the head of the first one and of none after it, nor the rest of a body that its route left unread. So
//! each connection notes what goes on, and is closed when what came after an answer is no request within
//! `read_timeout`. A request that comes in one piece costs a few flags: there is no timer before one comes in two.

use crate::upgrade::Wire;
use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::{Payload, Request};
use actix_web::http::header::TRANSFER_ENCODING;
use bytes::Bytes;
use std::cell::Cell;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// What a connection is doing.
#[derive(Clone, Copy, PartialEq)]
enum Phase {
    /// A request is being answered, or the first one's head arrives, which actix sees to.
    Busy,
    /// Nothing came since the last answer. actix closes it.
    Idle,
    /// As idle, but the request's body may have stopped halfway: actix would wait for its end for ever.
    Unfinished,
    /// What came since the last answer is no request yet.
    Head,
}

/// What a connection is doing, and until when it may.
pub(crate) struct Watch {
    phase: Cell<Phase>,
    /// Of the phase, from when it was first asked for.
    deadline: Cell<Option<Instant>>,
    /// Whether the request's body ends where the client says so.
    chunked: Cell<bool>,
    read_timeout: Duration,
    keep_alive: Duration,
}

impl Watch {
    pub(crate) fn new(read_timeout: Duration, keep_alive: Duration) -> Rc<Self> {
        Rc::new(Self {
            phase: Cell::new(Phase::Busy),
            deadline: Cell::default(),
            chunked: Cell::default(),
            read_timeout,
            keep_alive,
        })
    }

    /// A request's head has arrived.
    pub(crate) fn request(&self, request: &mut Request) {
        let has_body = !matches!(request.payload(), Payload::None);
        self.chunked.set(has_body && request.head().headers().contains_key(TRANSFER_ENCODING));
        self.enter(Phase::Busy);
    }

    /// The connection is no longer HTTP's.
    pub(crate) fn given_away(&self) {
        self.enter(Phase::Busy);
    }

    fn answered(&self) {
        self.enter(if self.chunked.get() { Phase::Unfinished } else { Phase::Idle });
    }

    fn read(&self) {
        if matches!(self.phase.get(), Phase::Idle | Phase::Unfinished) {
            self.enter(Phase::Head);
        }
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.deadline.set(None);
    }

    fn deadline(&self) -> Option<Instant> {
        let limit = match self.phase.get() {
            Phase::Busy | Phase::Idle => return None,
            Phase::Unfinished => self.keep_alive,
            // As actix has it.
            Phase::Head if self.read_timeout.is_zero() => return None,
            Phase::Head => self.read_timeout,
        };
        let deadline = self.deadline.get().unwrap_or_else(|| Instant::now() + limit);
        self.deadline.set(Some(deadline));
        Some(deadline)
    }
}

/// Serves a connection until it ends or its client takes too long.
pub(crate) fn serve<E>(
    mut connection: Pin<Box<impl Future<Output = Result<(), E>>>>,
    watch: Rc<Watch>,
) -> impl Future<Output = Result<(), E>> {
    let mut alarm: Option<Pin<Box<Sleep>>> = None;
    poll_fn(move |context| {
        if let Poll::Ready(ended) = connection.as_mut().poll(context) {
            return Poll::Ready(ended);
        }
        // Not before it was polled: what was read may be a whole request.
        let Some(deadline) = watch.deadline() else { return Poll::Pending };
        let alarm = alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if alarm.deadline() != deadline {
            alarm.as_mut().reset(deadline);
        }
        ready!(alarm.as_mut().poll(context));
        tracing::debug!("a client's connection is closed: its next request did not arrive in time (read_timeout)");
        Poll::Ready(Ok(()))
    })
}

/// The body of an answer. When it is gone the request has been answered.
pub(crate) struct Answer {
    pub(crate) body: BoxBody,
    pub(crate) watch: Option<Rc<Watch>>,
}

impl MessageBody for Answer {
    type Error = Box<dyn Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.answered();
        }
    }
}

/// A connection that notes when something comes.
pub(crate) struct Watched<T> {
    pub(crate) io: T,
    pub(crate) watch: Rc<Watch>,
}

impl<T: Wire> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_read(context, buffer))?;
        self.watch.read();
        Poll::Ready(Ok(()))
    }
}

impl<T: Wire> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Duration = Duration::from_secs(60);
    const IDLE: Duration = Duration::from_secs(75);

    /// How long a connection is served on which nothing happens any more.
    async fn lasts(watch: &Rc<Watch>) -> Option<Duration> {
        let began = Instant::now();
        let connection = Box::pin(std::future::pending::<Result<(), io::Error>>());
        let served = tokio::time::timeout(READ * 100, serve(connection, Rc::clone(watch))).await;
        served.ok().map(|ended| ended.map(|()| began.elapsed()).unwrap())
    }

    fn answered(watch: &Rc<Watch>, chunked: bool) {
        let mut request = Request::new();
        if chunked {
            let (_, payload) = actix_http::h1::Payload::create(false);
            *request.payload() = Payload::H1 { payload };
            let chunked = actix_web::http::header::HeaderValue::from_static("chunked");
            request.head_mut().headers.insert(TRANSFER_ENCODING, chunked);
        }
        watch.request(&mut request);
        drop(Answer { body: BoxBody::new(()), watch: Some(Rc::clone(watch)) });
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_lasts_as_long_as_what_it_does_may_take() {
        let about =
            |limit: Duration| move |lasted: Duration| lasted >= limit && lasted < limit + Duration::from_millis(5);
        let watch = Watch::new(READ, IDLE);
        watch.read();
        assert_eq!(lasts(&watch).await, None, "actix's: the first head");
        answered(&watch, false);
        assert_eq!(lasts(&watch).await, None, "actix's: idle");
        watch.read();
        assert!(lasts(&watch).await.is_some_and(about(READ)));
        watch.read();
        assert!(lasts(&watch).await.is_some_and(|lasted| lasted.is_zero()), "more of it gives no more time");
        answered(&watch, true);
        assert!(lasts(&watch).await.is_some_and(about(IDLE)), "the body's end may never come");
        watch.given_away();
        watch.read();
        assert_eq!(lasts(&watch).await, None);
    }
}
