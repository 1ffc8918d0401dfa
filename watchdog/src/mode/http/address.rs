//! Where the process serves: `upstream_url`, read and looked up once.

use crate::BuildError;
use crate::config::ConfigError;
use function_sdk::settings::SettingError;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// How long connecting to a process on this host may take.
pub(super) const CONNECT: Duration = Duration::from_secs(5);

/// Where the process serves.
#[derive(Clone, Debug)]
pub(super) enum Address {
    Tcp(SocketAddr),
    Unix(Arc<Path>),
}

/// A connection of either kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Address {
    /// Address and base path of a URL, its host looked up.
    pub(super) async fn resolve(url: &str) -> Result<(Self, String), BuildError> {
        if let Some(path) = url.strip_prefix("unix:") {
            return Ok((Self::Unix(Path::new(path.trim_start_matches("//")).into()), String::new()));
        }
        let (host, base) = http_url(url)?;
        let refused = |source| BuildError::Upstream { host: host.clone(), source };
        let mut found = tokio::net::lookup_host(&host).await.map_err(refused)?.collect::<Vec<_>>();
        // IPv4 first: a process that listens on "localhost" as a rule has that one.
        found.sort_by_key(|address| !address.is_ipv4());
        let first = found.first().copied().ok_or_else(|| refused(io::ErrorKind::NotFound.into()))?;
        Ok((Self::Tcp(first), base))
    }

    /// The same for the `forward` crate.
    pub(super) fn upstream(&self) -> forward::Upstream {
        match self {
            Self::Tcp(address) => forward::Upstream::Tcp(*address),
            Self::Unix(path) => forward::Upstream::Unix(path.into()),
        }
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Tcp(address) => {
                let stream = within(TcpStream::connect(address)).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            Self::Unix(path) => Ok(Box::new(within(UnixStream::connect(path)).await?)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.upstream().fmt(formatter)
    }
}

async fn within<T>(connect: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(CONNECT, connect).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Host and port, and the base path, of `http://host:port/base`.
fn http_url(url: &str) -> Result<(String, String), BuildError> {
    let refuse = |why| BuildError::Config(ConfigError::Setting(SettingError::new("upstream_url", url, why)));
    let rest = url.strip_prefix("http://").ok_or_else(|| refuse("give http://host:port or unix:path"))?;
    let (host, base) = rest.split_once('/').unwrap_or((rest, ""));
    if host.is_empty() {
        return Err(refuse("it names no host"));
    }
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let host = if has_port { host.to_owned() } else { format!("{host}:80") };
    let base = base.trim_end_matches('/');
    Ok((host, if base.is_empty() { String::new() } else { format!("/{base}") }))
}
