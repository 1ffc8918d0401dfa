//! In front of the process in a function image: modes http, streaming, serializing, classic, static.
//!
//! ```text
//! http         one process, started with the watchdog      call -> forward -> its port -> answer
//! streaming    a process for every call                    body -> stdin, stdout -> answer, as they come
//! serializing  a process for every call                    whole body -> stdin, whole stdout -> answer
//! classic      the same, in the manner of the classic watchdog
//! static       no process                              a file beneath a directory -> answer
//! ```
//!
//! Health, readiness, limit, metrics, access log and drain are [`function_sdk::server`]'s.

pub mod config;
mod environment;
mod lines;
mod lock;
mod mode;
mod output;
mod process;
mod reaper;
mod reply;
mod service;
mod sniff;

pub use config::{Config, ConfigError};
pub use lock::is_locked;

use function_sdk::log;
use function_sdk::server::{BindError, Leave, Server};
use function_sdk::settings::Listen;
use lines::{Copies, Lines};
use lock::Lock;
use mode::files::Files;
use mode::http::Upstream;
use mode::{Classic, Fork, Mode};
use process::{Process, SpawnError, Streams};
use rustix::process::Signal;
use service::Front;
use std::future::{Future, pending};
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

/// How long the function's process has to end after SIGTERM, once no call is left.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A watchdog that has its address; the function's process does not run yet.
pub struct Watchdog {
    config: Config,
    server: Server,
    mode: Mode,
    lock: Option<Lock>,
}

/// A watchdog that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A setting cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The host of the upstream has no address.
    #[error("upstream_url: {host} has no address: {source}")]
    Upstream {
        /// The host as given.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// The directory of the files cannot be opened.
    #[error("cannot serve files from {directory}: {source}; set static_path to the directory that has them")]
    Files {
        /// The directory.
        directory: String,
        /// Why.
        source: io::Error,
    },
    /// The lock file cannot be written.
    #[error(
        "cannot write the lock file {path}: {source}; give the function a writable /tmp, or set TMPDIR or suppress_lock=true"
    )]
    Lock {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

impl Watchdog {
    /// Takes the address and resolves the upstream. To be called on a tokio runtime.
    pub async fn build(config: Config) -> Result<Self, BuildError> {
        let mode = match &config.mode {
            config::Mode::Http { upstream } => Mode::Http(Upstream::resolve(upstream, &config).await?),
            config::Mode::Streaming => Mode::Streaming(Fork::new(&config)),
            config::Mode::Serializing => Mode::Serializing(Fork::new(&config)),
            config::Mode::Classic(classic) => Mode::Classic(Classic::new(&config, classic)),
            config::Mode::Static { directory } => Mode::Static(
                Files::of(directory)
                    .map_err(|source| BuildError::Files { directory: directory.display().to_string(), source })?,
            ),
        };
        let server = Server::bind(config.settings.clone())?.log_call_id(config.log_call_id);
        Ok(Self { config, server, mode, lock: None })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> Listen {
        self.server.address()
    }

    /// Where metrics are served, if they are.
    #[must_use]
    pub fn metrics_address(&self) -> Option<Listen> {
        self.server.metrics_address()
    }

    /// Serves until `stop` says how to leave, drains, and stops the function's process. To be run on a
    /// [`tokio::task::LocalSet`].
    ///
    /// In http mode it ends as well when the function's process does, so that the platform starts both again.
    pub async fn run(mut self, stop: impl Future<Output = Leave>) -> ExitCode {
        if let Some(path) = &self.config.lock {
            match Lock::take(path) {
                Ok(lock) => self.lock = Some(lock),
                Err(source) => {
                    return failed(BuildError::Lock { path: path.display().to_string(), source });
                }
            }
        }
        let mut running = match self.start() {
            Ok(process) => process,
            Err(error) => return failed(error),
        };
        let front = Rc::new(Front::new(self.mode, self.lock));
        let serve = self.server.run(front, stop);
        let ended = async {
            match &mut running {
                Some((process, _)) => process.ended().await,
                None => pending().await,
            }
        };
        let ended = tokio::select! {
            () = serve => None,
            ended = ended => Some(ended),
            never = reaper::reap() => match never {},
        };
        let Some((mut process, copies)) = running else { return ExitCode::SUCCESS };
        if let Some(ended) = ended {
            copies.end().await;
            let how = output::words(&ended);
            return failed(format_args!("the function's process ended ({how}): ending as well, to be started again"));
        }
        process.signal(Signal::TERM);
        if tokio::time::timeout(LAST_WORDS, process.ended()).await.is_err() {
            log(format_args!("the function's process did not end within {LAST_WORDS:?} of SIGTERM and is killed"));
        }
        copies.end().await;
        ExitCode::SUCCESS
    }

    /// Starts the function's process, in the mode that has one.
    fn start(&self) -> Result<Option<(Process, Copies)>, SpawnError> {
        let Mode::Http(_) = self.mode else { return Ok(None) };
        let mut process = Process::spawn(&self.config.command, [], Streams::NoInput)?;
        let lines = Lines { prefix: self.config.prefix_logs, longest: self.config.longest_line };
        let copies = lines.copy_both(&mut process);
        Ok(Some((process, copies)))
    }
}

fn failed(error: impl std::fmt::Display) -> ExitCode {
    log(error);
    ExitCode::FAILURE
}
