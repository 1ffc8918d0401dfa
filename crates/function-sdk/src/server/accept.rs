//! Listening: TCP or a Unix socket, one type for both.

use crate::settings::Listen;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;
/// How long to wait when no connection can be accepted for want of descriptors.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// An address that cannot be served on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; is another process serving there?")]
pub struct BindError {
    address: String,
    source: io::Error,
}

pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

impl Listener {
    pub(crate) fn bind(listen: &Listen) -> Result<Self, BindError> {
        let refused = |address: String| move |source| BindError { address, source };
        match listen {
            Listen::Tcp(address) => tcp(*address).map(Self::Tcp).map_err(refused(address.to_string())),
            Listen::Unix(path) => unix(path).map_err(refused(format!("unix:{}", path.display()))),
        }
    }

    pub(crate) fn address(&self) -> Listen {
        match self {
            Self::Tcp(listener) => Listen::Tcp(listener.local_addr().expect("a bound listener has an address")),
            Self::Unix(_, file) => Listen::Unix(file.path.clone()),
        }
    }

    /// The next connection. Never fails: what goes wrong with one peer is that peer's trouble, and a lack of
    /// descriptors passes.
    pub(crate) async fn accept(&self) -> Socket {
        loop {
            let accepted = match self {
                Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| Socket::tcp(stream)),
                Self::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Socket::Unix(stream)),
            };
            match accepted {
                Ok(socket) => return socket,
                Err(error) if is_peers(&error) => {}
                Err(error) => {
                    crate::log::raw(&format!("no connection can be accepted: {error}; trying again"));
                    tokio::time::sleep(EXHAUSTED).await;
                }
            }
        }
    }
}

fn tcp(address: std::net::SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Takes the socket's place only once it listens: whoever sees the file can connect.
fn unix(path: &Path) -> io::Result<Listener> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(io::ErrorKind::AlreadyExists.into()),
        // Someone answers: it is in use. No one does: an earlier process left it behind, and it is replaced.
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => return Err(io::ErrorKind::AddrInUse.into()),
        _ => {}
    }
    let first = beside(path);
    remove_socket(&first);
    let listener = UnixListener::bind(&first)?;
    let metadata = fs::symlink_metadata(&first)?;
    if let Err(error) = fs::rename(&first, path) {
        remove_socket(&first);
        return Err(error);
    }
    Ok(Listener::Unix(listener, SocketFile { path: path.to_owned(), inode: (metadata.dev(), metadata.ino()) }))
}

/// The name under which a socket begins: in the same folder, hidden, its own process's. Where a path is so long that
/// this does not fit, one that always does.
fn beside(path: &Path) -> PathBuf {
    /// The longest path that a socket can be bound to.
    const LONGEST: usize = 107;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let hidden = path.with_file_name(format!(".{name}.{}", std::process::id()));
    if hidden.as_os_str().len() <= LONGEST { hidden } else { path.with_file_name("~") }
}

fn remove_socket(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        fs::remove_file(path).unwrap_or_default();
    }
}

fn is_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// The socket's file; removed when dropped, unless another process has put its own in that place.
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|now| (now.dev(), now.ino()) == self.inode) {
            fs::remove_file(&self.path).unwrap_or_default();
        }
    }
}

/// A connection of either kind.
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn tcp(stream: TcpStream) -> Self {
        // Without it small answers wait for the peer's acknowledgement; a stream that refuses works all the same.
        stream.set_nodelay(true).unwrap_or_default();
        Self::Tcp(stream)
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
