//! Where an exchange goes.

use rustix::fs::{FileType, Mode, OFlags};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;

/// Where an exchange goes. Cheap to clone.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Upstream {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(UnixSocket),
    /// A TCP port of 127.0.0.1 in another network namespace, whose agent gives sockets of it out at a Unix socket.
    Inside {
        /// The agent's socket.
        agent: Arc<Path>,
        /// The port.
        port: u16,
    },
}

impl Upstream {
    /// What to put into `Host`.
    #[must_use]
    pub fn host(&self) -> String {
        match self {
            Self::Tcp(address) => address.to_string(),
            Self::Unix(_) => "localhost".to_owned(),
            Self::Inside { port, .. } => format!("127.0.0.1:{port}"),
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(socket) => write!(formatter, "unix:{}", socket.path.display()),
            Self::Inside { agent, port } => write!(formatter, "127.0.0.1:{port} by the agent at {}", agent.display()),
        }
    }
}

/// Where a Unix socket is: a path of this machine, or a place in a directory that has no path here. Cheap to clone.
#[derive(Clone, Debug)]
pub struct UnixSocket {
    /// The directory it is in, open for as long as anyone may connect, so that its number is nothing else's.
    dir: Option<Arc<OwnedFd>>,
    /// Where there is a directory, only the last part leads anywhere here.
    path: Arc<Path>,
}

impl UnixSocket {
    /// One in a directory that is open; `path` is where whoever serves on it sees it.
    #[must_use]
    pub fn within(dir: OwnedFd, path: &Path) -> Self {
        Self { dir: Some(Arc::new(dir)), path: path.into() }
    }

    /// A path that this process finds it at, for as long as this is there.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        match &self.dir {
            Some(dir) => of_descriptor(dir).join(self.name()),
            None => self.path.to_path_buf(),
        }
    }

    /// Connects to the socket at this very path: whoever listens may own the directory, and a link in it could lead to
    /// any socket that this process may connect to.
    ///
    /// # Errors
    ///
    /// When there is none, something else is there, or nobody listens.
    pub async fn connect(&self) -> io::Result<UnixStream> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = match &self.dir {
            Some(dir) => rustix::fs::openat(dir, self.name(), flags, Mode::empty())?,
            None => rustix::fs::open(&*self.path, flags, Mode::empty())?,
        };
        if FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) != FileType::Socket {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "what is at the socket's path is no socket"));
        }
        // Stays what was looked at, whatever becomes of the path.
        let path = of_descriptor(&found);
        let mut wait = Duration::from_millis(1);
        loop {
            match UnixStream::connect(&path).await {
                // A Unix socket's full backlog refuses at once where TCP's would wait.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_millis(50));
                }
                opened => return opened,
            }
        }
    }

    fn name(&self) -> &Path {
        self.path.file_name().map_or(&self.path, Path::new)
    }

    /// What tells it from others.
    fn key(&self) -> (Option<RawFd>, &Path) {
        (self.dir.as_ref().map(AsRawFd::as_raw_fd), &self.path)
    }
}

fn of_descriptor(descriptor: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))
}

impl<P: AsRef<Path>> From<P> for UnixSocket {
    fn from(path: P) -> Self {
        Self { dir: None, path: path.as_ref().into() }
    }
}

impl PartialEq for UnixSocket {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for UnixSocket {}

impl Hash for UnixSocket {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}
