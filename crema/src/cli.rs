//! The command line.

use crate::bundle_command::BundleCommand;
use crate::image_command::ImageCommand;
use clap::{Args, Parser, Subcommand, ValueEnum};
use sandbox::Level;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Event-driven functions on one box: an OpenFaaS-compatible gateway, a durable queue, an MQTT broker and a cron
/// connector in one process.
#[derive(Debug, Parser)]
#[command(name = "crema", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build the functions of stack.yml, start the platform and deploy them; runs until it is stopped
    Up(Box<Up>),
    /// Build, list, import, export and remove the images functions run from
    Image(ImageCommand),
    /// Carry images and manifests to K3s stores without a link: make, check, install, take back
    Bundle(BundleCommand),
}

/// Arguments of `crema up`.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_UP)]
pub struct Up {
    /// The functions to build and deploy [default: stack.yaml or stack.yml, as faas-cli]
    #[arg(short = 'f', long = "file", value_name = "stack.yml", env = "CREMA_STACK")]
    pub stack: Option<PathBuf>,

    /// Where everything is kept: functions, secrets, data, queue, images, logs
    /// [default: $XDG_STATE_HOME/crema, as root /var/lib/crema]
    #[arg(long, value_name = "DIR", env = "CREMA_STATE")]
    pub state: Option<PathBuf>,

    /// Where the gateway serves; an address that is not loopback needs --tls-cert or --plain-http
    #[arg(long, value_name = "ADDRESS", env = "CREMA_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Where Prometheus metrics and /healthz are served
    #[arg(long, value_name = "ADDRESS", env = "CREMA_METRICS", default_value = "127.0.0.1:8082")]
    pub metrics: SocketAddr,

    /// Where the MQTT broker serves; an address that is not loopback needs --mqtt-passwords or --mqtt-anonymous
    #[arg(long, value_name = "ADDRESS", env = "CREMA_MQTT", default_value = "127.0.0.1:1883")]
    pub mqtt: SocketAddr,

    /// Take events from this MQTT broker instead of the built-in one: mqtt://[user:password@]host[:port]
    #[arg(long, value_name = "URL", env = "CREMA_BROKER")]
    pub broker: Option<String>,

    /// Deploy the images that are in the store; build nothing
    #[arg(long, env = "CREMA_NO_BUILD")]
    pub no_build: bool,

    /// Let everyone use /system/*; only on a loopback address
    #[arg(long, env = "CREMA_NO_AUTH")]
    pub no_auth: bool,

    /// The least isolation of functions that will do: full, userns, process or none; where this machine cannot give
    /// it, nothing is started
    #[arg(long, value_name = "LEVEL", env = "CREMA_ISOLATION_MIN", default_value_t = Level::None)]
    pub isolation_min: Level,

    /// The most isolation of functions that is tried
    #[arg(long, value_name = "LEVEL", env = "CREMA_ISOLATION_MAX", default_value_t = Level::Full)]
    pub isolation_max: Level,

    /// Which store keeps accepted invocations
    #[arg(long, value_enum, value_name = "ENGINE", env = "CREMA_QUEUE", default_value_t = QueueEngine::Sqlite)]
    pub queue: QueueEngine,

    /// The certificate chain (PEM) the gateway serves HTTPS with
    #[arg(long, value_name = "FILE", env = "CREMA_TLS_CERT", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// The private key (PEM) of --tls-cert
    #[arg(long, value_name = "FILE", env = "CREMA_TLS_KEY", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Serve plain HTTP on an address that is not loopback: whoever is on the network can read passwords and calls
    #[arg(long, env = "CREMA_PLAIN_HTTP")]
    pub plain_http: bool,

    /// Who may use the MQTT broker: lines of user:hash as `mosquitto_passwd` writes them
    #[arg(long, value_name = "FILE", env = "CREMA_MQTT_PASSWORD_FILE")]
    pub mqtt_passwords: Option<PathBuf>,

    /// Let everyone use the MQTT broker, also on an address that is not loopback
    #[arg(long, env = "CREMA_MQTT_ANONYMOUS")]
    pub mqtt_anonymous: bool,
}

/// The stack file: the one given, else `stack.yaml` when it is there, else `stack.yml`, as faas-cli has it.
#[must_use]
pub fn stack_file(given: Option<&Path>) -> PathBuf {
    let usual = || PathBuf::from(if Path::new("stack.yaml").exists() { "stack.yaml" } else { "stack.yml" });
    given.map_or_else(usual, Path::to_owned)
}

/// The queue's engines.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum QueueEngine {
    /// SQLite: the default, durable in a power cut and on a full disk
    Sqlite,
    /// sled: durable by syncing the whole file system; its files never shrink
    Sled,
}

const AFTER_UP: &str = "\
Examples:
  crema up                                 build and run the stack.yml in this folder
  crema up --no-build --state /srv/crema   run what was imported with `crema image import`
  crema up --broker mqtt://10.0.0.5        take events from a broker that is already there

Press Ctrl-C to stop: running calls are finished first; press it again to stop at once.
Everything accepted is on disk, and the next `crema up` goes on with it.

More settings are environment variables, the same as on Kubernetes: read_timeout, write_timeout,
upstream_timeout, max_inflight, max_retry_attempts, initial_retry_wait, max_retry_wait, RUST_LOG,
CREMA_LOG=json, OTEL_EXPORTER_OTLP_ENDPOINT. README.md explains each.";
