//! Where an exchange goes.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// Where an exchange goes. Cheap to clone.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Upstream {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(Arc<Path>),
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
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Self::Inside { agent, port } => write!(formatter, "127.0.0.1:{port} by the agent at {}", agent.display()),
        }
    }
}
