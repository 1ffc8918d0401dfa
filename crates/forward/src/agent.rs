//! Connections into another network namespace: the agent there gives a socket of it, and this side connects it.
//!
//! One byte to the agent asks for a socket; one byte with one descriptor (SCM_RIGHTS) is the answer: a TCP socket of
//! the agent's namespace, not connected yet. A socket stays in the namespace it was made in, whoever connects it.

use crate::UnixSocket;
use rustix::cmsg_space;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

/// Asks for a socket for IPv4 addresses.
const ASK: u8 = b'4';

/// Connects to `port` of 127.0.0.1 in the namespace of the agent at a Unix socket.
///
/// # Errors
///
/// When the agent gives no socket, or nobody listens on the port.
pub async fn connect(agent: &Path, port: u16) -> io::Result<TcpStream> {
    let socket = ask(agent).await.map_err(|error| of_agent(agent, &error))?;
    let stream = socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await;
    let stream = stream.map_err(|error| {
        io::Error::new(error.kind(), format!("port {port} in the function's network does not answer: {error}"))
    })?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn of_agent(agent: &Path, error: &io::Error) -> io::Error {
    let agent = agent.display();
    io::Error::new(error.kind(), format!("the agent of the function's network at {agent} gave no socket: {error}"))
}

/// Asks the agent for a socket.
async fn ask(agent: &Path) -> io::Result<TcpSocket> {
    let mut stream = UnixSocket::from(agent).connect().await?;
    stream.write_all(&[ASK]).await?;
    let socket = stream.async_io(Interest::READABLE, || answer(&stream)).await?;
    let socket = std::net::TcpStream::from(socket);
    socket.set_nonblocking(true)?;
    Ok(TcpSocket::from_std_stream(socket))
}

/// The one descriptor of an answer.
fn answer(stream: &UnixStream) -> io::Result<OwnedFd> {
    let mut byte = [0];
    // Room for one more than there should be, so that one too many is noticed.
    let mut room = [MaybeUninit::uninit(); cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let received = recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    match (descriptors.pop(), received.bytes) {
        (_, 0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection without an answer")),
        (Some(descriptor), _) if descriptors.is_empty() && !received.flags.contains(ReturnFlags::CTRUNC) => {
            Ok(descriptor)
        }
        (first, _) => {
            let count = descriptors.len() + usize::from(first.is_some());
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("its answer holds {count} descriptors instead of one"),
            ))
        }
    }
}

#[cfg(test)]
mod tests;
