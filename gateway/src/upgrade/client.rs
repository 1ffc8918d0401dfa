//! The client's connection, once actix has given it away.

use super::tunnel;
use actix_codec::{Encoder, Framed};
use actix_http::h1::{Codec, Message};
use actix_http::{ConnectionType, Response};
use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::BytesMut;
use forward::Tunnel;
use rustix::net::sockopt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// The most that is read of what a client says before it has an answer.
const EARLY: usize = 64 * 1024;
/// How long a client may take to close a connection after the answer.
const LINGER: Duration = Duration::from_secs(1);
/// When a client that says nothing is asked whether it is there, and how often until it is taken for gone.
const ALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(15), 4);

/// A connection that clients come in by.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + 'static {
    /// The socket below.
    fn socket(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Wire for TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// A client, its connection and what is on its way.
pub(super) struct Client<T> {
    io: T,
    codec: Codec,
    /// Read, and nobody's yet.
    early: BytesMut,
    /// To be written.
    out: BytesMut,
}

impl<T: Wire> Client<T> {
    pub(super) fn new(framed: Framed<T, Codec>) -> Self {
        let parts = framed.into_parts();
        Self { io: parts.io, codec: parts.codec, early: parts.read_buf, out: parts.write_buf }
    }

    /// Ends when the client has closed its side.
    pub(super) async fn gone(&mut self) {
        while self.early.len() < EARLY {
            if !matches!(self.io.read_buf(&mut self.early).await, Ok(1..)) {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    /// Sends an answer and closes the connection.
    pub(super) async fn answer(mut self, answer: HttpResponse) -> io::Result<()> {
        let (mut head, mut body) = Response::<BoxBody>::from(answer).into_parts();
        head.head_mut().set_connection_type(ConnectionType::Close);
        // The codec ends such a body with the connection, so it must not be announced as chunked.
        head.head_mut().no_chunking(true);
        let size = body.size();
        self.codec.encode(Message::Item((head, size)), &mut self.out)?;
        if !matches!(size, BodySize::None | BodySize::Sized(0)) {
            while let Some(chunk) = poll_fn(|context| Pin::new(&mut body).poll_next(context)).await {
                // A body that breaks off ends the connection without its end, which tells the client.
                let Ok(chunk) = chunk else { return Ok(()) };
                self.codec.encode(Message::Chunk(Some(chunk)), &mut self.out)?;
                self.flush().await?;
            }
            self.codec.encode(Message::Chunk(None), &mut self.out)?;
        }
        self.flush().await?;
        self.io.shutdown().await?;
        // What the client says and nobody reads would take the answer away from it.
        let mut rest = [0; 1024];
        let reading = async { while matches!(self.io.read(&mut rest).await, Ok(1..)) {} };
        drop(tokio::time::timeout(LINGER, reading).await);
        Ok(())
    }

    /// Tells the client that the function agreed, and connects the two.
    pub(super) async fn switch(mut self, agreed: HttpResponse, tunnel: Tunnel) -> io::Result<()> {
        let (head, _) = Response::<BoxBody>::from(agreed).into_parts();
        self.codec.encode(Message::Item((head, BodySize::None)), &mut self.out)?;
        self.flush().await?;
        keep(self.io.socket());
        tunnel::join(self.io, self.early.freeze(), tunnel).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.io.write_all_buf(&mut self.out).await?;
        self.io.flush().await
    }
}

/// Keeps a connection however long its client says or reads nothing, as long as the client is there.
fn keep(socket: &TcpStream) {
    let (idle, every, times) = ALIVE;
    let kept = sockopt::set_tcp_user_timeout(socket, 0)
        .and_then(|()| sockopt::set_tcp_keepidle(socket, idle))
        .and_then(|()| sockopt::set_tcp_keepintvl(socket, every))
        .and_then(|()| sockopt::set_tcp_keepcnt(socket, times))
        .and_then(|()| sockopt::set_socket_keepalive(socket, true));
    kept.unwrap_or_else(|error| tracing::debug!(%error, "an upgraded connection keeps the listener's limits"));
}
