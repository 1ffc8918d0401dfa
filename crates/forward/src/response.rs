//! What comes back, chunk by chunk.

use crate::pool::{Connection, InFlight};
use crate::{ForwardError, Reason};
use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::header::HeaderMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// An upstream's answer; its hop-by-hop headers are gone.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: ResponseBody,
}

/// The body of an answer. Dropping it before its end closes the connection.
pub enum ResponseBody {
    /// All of it; `length` is what the headers say, which differs for answers to `HEAD`.
    Full {
        /// The bytes.
        bytes: Bytes,
        /// The length to tell; `None` for answers that have none.
        length: Option<u64>,
    },
    /// As it comes.
    Stream(Box<Streaming>),
}

/// A body under way, with what must be given back at its end.
pub struct Streaming {
    incoming: Incoming,
    first: Option<Bytes>,
    connection: Option<Connection>,
    in_flight: InFlight,
    length: Option<u64>,
    deadline: Instant,
    limit: Duration,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl std::fmt::Debug for ResponseBody {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ResponseBody").field("length", &self.length()).finish_non_exhaustive()
    }
}

impl ResponseBody {
    /// The length, when it is known.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Full { length, .. } => *length,
            Self::Stream(stream) => stream.length,
        }
    }

    /// The next chunk.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, ForwardError>> {
        std::future::poll_fn(|context| self.poll_chunk(context)).await
    }

    /// All of it, if it is not longer than `limit`; what there is and `false` when it is longer.
    pub async fn collect(mut self, limit: usize) -> Result<(Bytes, bool), ForwardError> {
        if let Self::Full { bytes, .. } = &mut self
            && bytes.len() <= limit
        {
            return Ok((std::mem::take(bytes), true));
        }
        let mut whole = bytes::BytesMut::new();
        while let Some(chunk) = self.chunk().await {
            let chunk = chunk?;
            if whole.len() + chunk.len() > limit {
                whole.extend_from_slice(&chunk[..limit - whole.len()]);
                return Ok((whole.freeze(), false));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok((whole.freeze(), true))
    }

    /// Polls for the next chunk. Trailers are dropped.
    pub fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, ForwardError>>> {
        match self {
            Self::Full { bytes, .. } => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then_some(Ok(bytes)))
            }
            Self::Stream(stream) => stream.poll_chunk(context),
        }
    }
}

impl Streaming {
    pub(crate) fn new(
        incoming: Incoming,
        connection: Connection,
        in_flight: InFlight,
        deadline: Instant,
        limit: Duration,
    ) -> Self {
        let length = incoming.size_hint().exact();
        Self { incoming, first: None, connection: Some(connection), in_flight, length, deadline, limit, alarm: None }
    }

    /// All of the body, if it is of known length and has come with the head, as small answers do.
    pub(crate) fn poll_whole(&mut self, context: &mut Context<'_>) -> Option<Bytes> {
        let length = self.length?;
        let Poll::Ready(Some(Ok(chunk))) = self.poll_chunk(context) else { return None };
        if chunk.len() as u64 == length {
            self.end();
            return Some(chunk);
        }
        self.first = Some(chunk);
        None
    }

    pub(crate) fn is_end(&self) -> bool {
        self.incoming.is_end_stream()
    }

    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Gives the connection back.
    pub(crate) fn end(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.in_flight.target().put_back(connection);
        }
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, ForwardError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        // Whoever always has something to read would never get to the alarm.
        if Instant::now() >= self.deadline {
            let limit = self.limit;
            return Poll::Ready(Some(Err(self.fail(Reason::TimedOut(limit)))));
        }
        loop {
            return match Pin::new(&mut self.incoming).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        if self.incoming.is_end_stream() {
                            self.end();
                        }
                        Poll::Ready(Some(Ok(data)))
                    }
                    Err(_trailers) => continue,
                },
                Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(self.fail(Reason::Broken(error.into()))))),
                Poll::Ready(None) => {
                    self.end();
                    Poll::Ready(None)
                }
                Poll::Pending => self.poll_alarm(context),
            };
        }
    }

    fn poll_alarm(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, ForwardError>>> {
        let deadline = self.deadline;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if alarm.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        let limit = self.limit;
        Poll::Ready(Some(Err(self.fail(Reason::TimedOut(limit)))))
    }

    fn fail(&mut self, reason: Reason) -> ForwardError {
        // Not given back: closing it tells the upstream.
        self.connection = None;
        ForwardError::new(self.in_flight.target().upstream(), reason)
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = ForwardError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ForwardError>>> {
        self.poll_chunk(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full { bytes, .. } => bytes.is_empty(),
            Self::Stream(stream) => stream.first.is_none() && stream.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full { bytes, .. } => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(stream) => {
                let mut hint = stream.incoming.size_hint();
                let first = stream.first.as_ref().map_or(0, |first| first.len() as u64);
                if let Some(exact) = hint.exact() {
                    hint.set_exact(exact + first);
                }
                hint
            }
        }
    }
}
