//! Settings, with OpenFaaS's variable names where it has one.

use daemon::{Env, EnvError};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Where the gateway listens.
pub const ENV_LISTEN: &str = "CREMA_LISTEN";
/// Where metrics and `/healthz` are served.
pub const ENV_METRICS: &str = "CREMA_METRICS";
/// The certificate chain, PEM.
pub const ENV_TLS_CERT: &str = "CREMA_TLS_CERT";
/// The private key, PEM.
pub const ENV_TLS_KEY: &str = "CREMA_TLS_KEY";
/// Allows plain HTTP on an address that is not loopback.
pub const ENV_PLAIN_HTTP: &str = "CREMA_PLAIN_HTTP";
/// Whether `/system/*` asks for a password.
pub const ENV_BASIC_AUTH: &str = "basic_auth";
/// The directory with `basic-auth-user` and `basic-auth-password`.
pub const ENV_SECRET_MOUNT_PATH: &str = "secret_mount_path";
/// How long a client may take to send a request.
pub const ENV_READ_TIMEOUT: &str = "read_timeout";
/// How long a client may leave an answer unread.
pub const ENV_WRITE_TIMEOUT: &str = "write_timeout";
/// How long a function may take.
pub const ENV_UPSTREAM_TIMEOUT: &str = "upstream_timeout";
/// How long a call waits for a replica when there is none.
pub const ENV_SCALE_WAIT: &str = "scale_wait";
/// How many calls of one function wait for a replica at most.
pub const ENV_SCALE_WAITING: &str = "scale_max_waiting";
/// Idle connections kept per replica and worker.
pub const ENV_IDLE_PER_HOST: &str = "max_idle_conns_per_host";
/// The largest body of an asynchronous invocation, in bytes.
pub const ENV_ASYNC_BODY_LIMIT: &str = "async_body_limit";
/// Where `invocationCount` is kept.
pub const ENV_COUNTERS: &str = "CREMA_COUNTERS";
/// How long running calls may take to end once the gateway stops.
pub const ENV_DRAIN: &str = "CREMA_DRAIN";
/// Where the other gateways of a cluster are: `host:port`, comma-separated; each name may have several addresses.
pub const ENV_PEERS: &str = "CREMA_PEERS";
/// What this gateway is called among them, the same after a restart.
pub const ENV_INSTANCE: &str = "CREMA_INSTANCE";
/// What a machine, or a pod, is called.
const ENV_HOST_NAME: &str = "HOSTNAME";

/// What a gateway is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients come in; `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// Where metrics and `/healthz` are served; `127.0.0.1:8082`.
    pub metrics: SocketAddr,
    /// Where functions reach the gateway when not where clients come in: on loopback, plain HTTP, the same routes. It
    /// stays open while running calls end, which may have to call other functions for that. None unless given.
    pub functions: Option<SocketAddr>,
    /// Serves HTTPS instead of HTTP.
    pub tls: Option<Tls>,
    /// Allows plain HTTP on an address that is not loopback; off.
    pub plain_http: bool,
    /// What `/system/*` asks for; `None` leaves it open, on loopback only.
    pub auth: Option<Credentials>,
    /// How long a client may take to send a request; 60 s.
    pub read_timeout: Duration,
    /// How long a client may leave an answer unread; 60 s.
    pub write_timeout: Duration,
    /// How long a function may take from the first byte to the last; 60 s.
    pub upstream_timeout: Duration,
    /// How long a call waits for a replica when there is none; 60 s.
    pub scale_wait: Duration,
    /// How many calls of one function wait for a replica at most; 1024.
    pub scale_max_waiting: usize,
    /// Idle connections kept per replica and worker; 256.
    pub idle_per_host: usize,
    /// The largest body of an asynchronous invocation, in bytes; 1 MiB.
    pub async_body_limit: usize,
    /// How long running calls, and connections that were upgraded, may take to end once the gateway stops; 60 s.
    pub drain: Duration,
    /// The file `invocationCount` is kept in; in memory only when absent.
    pub counters: Option<PathBuf>,
    /// Threads that serve; as many as there are cores.
    pub workers: usize,
    /// The other gateways, when there are any: each has its own queue, and look-ups mean all of them.
    pub peering: Option<Peering>,
}

/// A gateway among others.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Peering {
    /// Where the others are, and this one too: `host:port`. A name stands for all of its addresses, so the name of a
    /// headless Service is enough to find those that run; those that are named one by one are also missed when they do
    /// not run.
    pub names: Vec<String>,
    /// What this one is called, the same after a restart: the pod's name.
    pub instance: String,
}

/// Where certificate and key lie.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tls {
    /// The certificate chain, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

/// A name and a password.
#[derive(Clone, Eq, PartialEq)]
pub struct Credentials {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A variable's value is of no use.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// One of certificate and key is missing.
    #[error("{ENV_TLS_CERT} and {ENV_TLS_KEY} go together: give both (--tls-cert, --tls-key) or none")]
    HalfTls,
    /// A password would travel in the clear.
    #[error(
        "{0} can be reached from the network: give --tls-cert and --tls-key ({ENV_TLS_CERT}, {ENV_TLS_KEY}) to serve \
         HTTPS, or --plain-http ({ENV_PLAIN_HTTP}=true) if whoever is on the network may read passwords and calls"
    )]
    Open(SocketAddr),
    /// Everyone could deploy.
    #[error("without a password {0} lets everyone on the network deploy: leave out --no-auth or listen on 127.0.0.1")]
    NoAuth(SocketAddr),
    /// Peers would not understand each other.
    #[error(
        "{ENV_PEERS} and {ENV_TLS_CERT} do not go together: gateways ask each other in plain HTTP; leave out \
         {ENV_TLS_CERT} and let whatever stands before the gateways serve HTTPS"
    )]
    PeersOverTls,
    /// The functions' own listener is for this machine.
    #[error("functions cannot reach the gateway at {0}: that listener must be on 127.0.0.1")]
    Functions(SocketAddr),
    /// The files with name and password cannot be read.
    #[error(
        "{path}: {source}; {ENV_BASIC_AUTH}=true needs it: write the name or password into it, or name another \
             directory in {ENV_SECRET_MOUNT_PATH}"
    )]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
}

impl Default for Config {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8080).into(),
            metrics: (Ipv4Addr::LOCALHOST, 8082).into(),
            functions: None,
            tls: None,
            plain_http: false,
            auth: None,
            read_timeout: minute,
            write_timeout: minute,
            upstream_timeout: minute,
            scale_wait: minute,
            scale_max_waiting: 1024,
            idle_per_host: 256,
            async_body_limit: wire::DEFAULT_ASYNC_BODY_LIMIT,
            drain: minute,
            counters: None,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            peering: None,
        }
    }
}

impl Config {
    /// Reads the environment. The files with name and password are read here too.
    pub fn from_env(env: &impl Env) -> Result<Self, ConfigError> {
        let usual = Self::default();
        let tls = match (env.get(ENV_TLS_CERT), env.get(ENV_TLS_KEY)) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(Tls { certificate: certificate.into(), key: key.into() }),
            _ => return Err(ConfigError::HalfTls),
        };
        let auth = if env.flag(ENV_BASIC_AUTH, false)? {
            let dir = env.get(ENV_SECRET_MOUNT_PATH).unwrap_or_else(|| "/run/secrets".to_owned());
            Some(Credentials::read(&PathBuf::from(dir))?)
        } else {
            None
        };
        Ok(Self {
            listen: env.parse(ENV_LISTEN, usual.listen)?,
            metrics: env.parse(ENV_METRICS, usual.metrics)?,
            functions: None,
            tls,
            plain_http: env.flag(ENV_PLAIN_HTTP, false)?,
            auth,
            read_timeout: env.duration(ENV_READ_TIMEOUT, usual.read_timeout)?,
            write_timeout: env.duration(ENV_WRITE_TIMEOUT, usual.write_timeout)?,
            upstream_timeout: env.duration(ENV_UPSTREAM_TIMEOUT, usual.upstream_timeout)?,
            scale_wait: env.duration(ENV_SCALE_WAIT, usual.scale_wait)?,
            scale_max_waiting: env.parse(ENV_SCALE_WAITING, usual.scale_max_waiting)?,
            idle_per_host: env.parse(ENV_IDLE_PER_HOST, usual.idle_per_host)?,
            async_body_limit: env.parse(ENV_ASYNC_BODY_LIMIT, usual.async_body_limit)?,
            drain: env.duration(ENV_DRAIN, usual.drain)?,
            counters: env.get(ENV_COUNTERS).map(PathBuf::from),
            workers: usual.workers,
            peering: Peering::from_env(env)?,
        })
    }

    /// Checks what is open to whom: nothing readable and nothing without a password beyond this machine, unless asked
    /// for.
    pub fn check(&self) -> Result<(), ConfigError> {
        if let Some(functions) = self.functions.filter(|address| !address.ip().is_loopback()) {
            return Err(ConfigError::Functions(functions));
        }
        if self.peering.is_some() && self.tls.is_some() {
            return Err(ConfigError::PeersOverTls);
        }
        if self.listen.ip().is_loopback() {
            return Ok(());
        }
        if self.tls.is_none() && !self.plain_http {
            return Err(ConfigError::Open(self.listen));
        }
        if self.auth.is_none() {
            return Err(ConfigError::NoAuth(self.listen));
        }
        Ok(())
    }
}

impl Peering {
    fn from_env(env: &impl Env) -> Result<Option<Self>, EnvError> {
        let Some(text) = env.get(ENV_PEERS) else { return Ok(None) };
        let names: Vec<String> = wire::annotation::items(&text).map(str::to_owned).collect();
        let fits = |name: &String| {
            name.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if let Some(name) = names.iter().find(|name| !fits(name)) {
            return Err(EnvError::new(ENV_PEERS, name, "give host:port, as in gateway-peers.openfaas:8080"));
        }
        let instance = env.get(ENV_INSTANCE).or_else(|| env.get(ENV_HOST_NAME));
        let instance = instance.ok_or_else(|| {
            EnvError::new(ENV_INSTANCE, "", "not set; say what this gateway is called among its peers: the pod's name")
        })?;
        Ok(Some(Self { names, instance }))
    }
}

impl Credentials {
    fn read(dir: &std::path::Path) -> Result<Self, ConfigError> {
        let read = |name: &str| {
            let path = dir.join(name);
            match std::fs::read_to_string(&path) {
                Ok(text) => Ok(text.trim().to_owned()),
                Err(source) => Err(ConfigError::Credentials { path, source }),
            }
        };
        Ok(Self { user: read("basic-auth-user")?, password: read("basic-auth-password")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_loopback_needs_encryption_and_a_password() {
        let secret = Credentials { user: "admin".to_owned(), password: "x".to_owned() };
        let open = Config { listen: "0.0.0.0:8080".parse().unwrap(), ..Config::default() };
        assert!(Config::default().check().is_ok());
        assert!(matches!(open.check(), Err(ConfigError::Open(_))));
        let plain = Config { plain_http: true, ..open };
        assert!(matches!(plain.check(), Err(ConfigError::NoAuth(_))));
        assert!(Config { auth: Some(secret), ..plain }.check().is_ok());
    }

    #[test]
    fn peers_are_named_with_their_port() {
        let read = |peers: &str| Config::from_env(&[("CREMA_PEERS", peers), ("HOSTNAME", "gateway-0")]);
        let peering = read("gateway-peers.openfaas:8080, gateway-1.gateway-peers:8080").unwrap().peering.unwrap();
        assert_eq!(peering.names, ["gateway-peers.openfaas:8080", "gateway-1.gateway-peers:8080"]);
        assert_eq!(peering.instance, "gateway-0");
        for bad in ["gateway-peers", ":8080", "http://gateway-peers"] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.contains("CREMA_PEERS") && error.contains("host:port"), "{error}");
        }
        assert!(Config::from_env(&[("CREMA_PEERS", "a:1")]).unwrap_err().to_string().contains("CREMA_INSTANCE"));
    }

    #[test]
    fn reads_the_names_openfaas_has() {
        let env = [("read_timeout", "5"), ("upstream_timeout", "1m30s"), ("CREMA_LISTEN", "127.0.0.1:9")];
        let config = Config::from_env(&env).unwrap();
        assert_eq!(config.read_timeout, Duration::from_secs(5));
        assert_eq!(config.upstream_timeout, Duration::from_secs(90));
        assert_eq!(config.listen.port(), 9);
        assert!(matches!(Config::from_env(&[("CREMA_TLS_CERT", "a")]), Err(ConfigError::HalfTls)));
        let missing = Config::from_env(&[("basic_auth", "true"), ("secret_mount_path", "/nowhere")]).unwrap_err();
        assert!(missing.to_string().starts_with("/nowhere/basic-auth-user: "), "{missing}");
    }
}
