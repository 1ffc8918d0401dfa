//! What the local provider is told.

use crate::isolation::Isolation;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use wire::info::Version;

/// How long a replica may take to get ready, where its function's annotations allow no more; 60 s.
pub const ENV_START_TIMEOUT: &str = "start_timeout";

/// Where things are, what functions are told, and how long things may take.
#[derive(Clone, Debug)]
pub struct Config {
    /// Desired state: `functions/NS/NAME.json`.
    pub functions: PathBuf,
    /// Secrets: `secrets/NS/NAME`.
    pub secrets: PathBuf,
    /// Namespaces: `namespaces/NS.json`.
    pub namespaces: PathBuf,
    /// Data directories: `data/NS/NAME/`.
    pub data: PathBuf,
    /// Logs: `logs/NS/NAME/`.
    pub logs: PathBuf,
    /// Where replicas' sockets, secrets and temporary files are while they run. At most 91 bytes long: a socket's path
    /// is limited to 107.
    pub run: PathBuf,
    /// Where functions reach the gateway: a numeric address. May be set later, before anything runs, with
    /// [`crate::LocalProvider::set_gateway_url`].
    pub gateway_url: String,
    /// Variables of the platform's environment that functions get too, such as `TZ` and `LANG`; none unless given.
    pub inherited: Vec<(String, String)>,
    /// How long a replica may take to get ready; 60 s.
    pub start_timeout: Duration,
    /// How long a replica may take to end when its function sets no `write_timeout`; 10 s.
    pub stop_grace: Duration,
    /// The longest a function's `write_timeout` makes the provider wait for a replica's end; 5 min.
    pub stop_grace_most: Duration,
    /// The longest to wait for replicas when the platform stops; 4 s. Calls in flight have ended by then: the gateway
    /// stops first.
    pub shutdown_grace: Duration,
    /// How much of a function's log is kept.
    pub log_limits: LogLimits,
    /// How long images that no function uses are kept.
    pub images: ImageLimits,
    /// How often data directories with a size are measured; 5 min.
    pub measure_interval: Duration,
    /// How far functions are confined; not at all unless told.
    pub isolation: Arc<Isolation>,
    /// The version `/system/info` tells.
    pub version: Version,
}

/// How much of a function's log is kept.
#[derive(Clone, Copy, Debug)]
pub struct LogLimits {
    /// Files; 4.
    pub files: usize,
    /// The size a file is rotated at, in bytes; 4 MiB.
    pub bytes: u64,
}

/// What is kept of images that no function uses, nor would go back to. One that was never deployed stays.
#[derive(Clone, Copy, Debug)]
pub struct ImageLimits {
    /// How long after its last use one goes; 7 days.
    pub age: Duration,
    /// How large the store may be, in bytes, before those used longest ago go earlier; 4 GiB.
    pub bytes: u64,
    /// How long one stays all the same; 1 h.
    pub at_least: Duration,
    /// How often they are looked through; 1 h, and at the start.
    pub interval: Duration,
}

impl Default for ImageLimits {
    fn default() -> Self {
        const HOUR: Duration = Duration::from_secs(3600);
        Self { age: HOUR * 24 * 7, bytes: 4 * 1024 * 1024 * 1024, at_least: HOUR, interval: HOUR }
    }
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { files: 4, bytes: 4 * 1024 * 1024 }
    }
}

impl Config {
    /// The defaults, with everything at its place in a state directory.
    #[must_use]
    pub fn new(state: &Path, run: PathBuf, gateway_url: String) -> Self {
        Self {
            functions: state.join("functions"),
            secrets: state.join("secrets"),
            namespaces: state.join("namespaces"),
            data: state.join("data"),
            logs: state.join("logs"),
            run,
            gateway_url,
            inherited: Vec::new(),
            start_timeout: Duration::from_secs(60),
            stop_grace: Duration::from_secs(10),
            stop_grace_most: Duration::from_secs(300),
            shutdown_grace: Duration::from_secs(4),
            log_limits: LogLimits::default(),
            images: ImageLimits::default(),
            measure_interval: Duration::from_secs(300),
            isolation: Arc::new(Isolation::none()),
            version: Version { release: env!("CARGO_PKG_VERSION").to_owned(), ..Version::default() },
        }
    }
}
