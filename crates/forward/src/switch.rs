//! An exchange that asks for another protocol on the connection (RFC 9110 §7.8), as WebSockets are begun.

use crate::body::Body;
use crate::error::{ForwardError, Reason};
use crate::exchange::{Limits, answered};
use crate::headers::{frame, strip_hop_by_hop};
use crate::io::Io;
use crate::pool::{InFlight, Raw, Target};
use crate::response::{Response, Streaming};
use bytes::{Buf, Bytes};
use hyper::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use hyper::{Request, StatusCode};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};

/// What an upstream made of the wish for another protocol.
#[derive(Debug)]
pub enum Switched {
    /// It answers in HTTP.
    No(Response),
    /// It speaks that protocol from now on.
    Yes {
        /// The headers of its 101, without those of the connection.
        headers: HeaderMap,
        /// The connection.
        tunnel: Tunnel,
    },
}

/// A connection on which another protocol is spoken. No time limit applies; the exchange is under way until it is
/// dropped, which closes the connection.
pub struct Tunnel {
    early: Bytes,
    io: Io,
    _in_flight: InFlight,
}

impl Target {
    /// Does an exchange that may switch the connection to `protocol`, which the answer must name again.
    ///
    /// Always on a new connection, so nothing is ever sent twice. The limits hold until the head of the answer, and for
    /// all of an answer in HTTP.
    ///
    /// # Errors
    ///
    /// As [`Target::send`].
    pub async fn switch(
        self: &Rc<Self>,
        limits: Limits,
        protocol: &HeaderValue,
        mut request: Request<Body>,
    ) -> Result<Switched, ForwardError> {
        let in_flight = self.begin();
        let deadline = Instant::now() + limits.total;
        let failed = |reason| ForwardError::new(self.upstream(), reason);
        let connection = self.connect_to_switch(limits.connect.min(limits.total)).await;
        let mut connection = connection.map_err(|error| failed(Reason::Connect(error)))?;
        strip_hop_by_hop(request.headers_mut());
        frame(&mut request);
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        request.headers_mut().insert(UPGRADE, protocol.clone());
        let method = request.method().clone();
        let sent = timeout_at(deadline, connection.exchange(request, self.upstream())).await;
        let response = match sent {
            Err(_) => return Err(failed(Reason::TimedOut(limits.total))),
            Ok(Err(unanswered)) => return Err(unanswered.on(self.upstream())),
            Ok(Ok(response)) => response,
        };
        let (mut parts, incoming) = response.into_parts();
        if parts.status != StatusCode::SWITCHING_PROTOCOLS {
            let streaming = Streaming::new(incoming, connection, in_flight, deadline, limits.total);
            return Ok(Switched::No(answered(parts, streaming, &method).await));
        }
        if !parts.headers.get(UPGRADE).is_some_and(|named| named.as_bytes().eq_ignore_ascii_case(protocol.as_bytes())) {
            return Err(failed(Reason::Broken("it switched to a protocol that was not asked for".into())));
        }
        strip_hop_by_hop(&mut parts.headers);
        let gone = || failed(Reason::Broken("it closed the connection as it switched protocols".into()));
        let raw = connection.raw.take().ok_or_else(gone)?;
        let raw = timeout_at(deadline, raw).await.map_err(|_| failed(Reason::TimedOut(limits.total)))?;
        let Raw { io, read_buf, .. } = raw.map_err(|_| gone())?;
        let tunnel = Tunnel { early: read_buf, io: io.into_inner(), _in_flight: in_flight };
        Ok(Switched::Yes { headers: parts.headers, tunnel })
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tunnel").finish_non_exhaustive()
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.io).poll_read(context, buffer);
        }
        let count = self.early.len().min(buffer.remaining());
        buffer.put_slice(&self.early[..count]);
        self.early.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
