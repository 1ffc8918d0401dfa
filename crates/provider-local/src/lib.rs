//! One box: desired state on disk, a pure planner, a reconcile loop, replicas as processes.
//!
//! The way of a deploy through the files: [`local`] takes the wish, `admit` checks it, `desired` puts it on disk,
//! `reconcile` wakes and asks `plan` (pure) what to do, `replica` lives one replica's life on a [`runtime`]
//! (`process`: unpacked images as process groups), `readiness` says when it can be called, and the replica table of
//! `provider` carries it to the gateway.

mod admit;
pub mod config;
mod data;
mod desired;
mod disk;
mod environment;
mod images;
mod isolation;
pub mod local;
mod logs;
mod namespaces;
mod plan;
mod process;
mod quota;
mod readiness;
mod reconcile;
mod replica;
mod runtime;
mod secrets;
mod spawner;
mod state;
mod survivors;
mod upkeep;
mod usage;
mod way_out;

pub use config::{Config, ENV_START_TIMEOUT, ImageLimits, LogLimits};
pub use isolation::{Isolation, IsolationConfig};
pub use local::{BuildError, LocalProvider};
