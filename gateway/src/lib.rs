//! HTTP in: `/function`, `/async-function`, `/system`.
//!
//! [`Config::from_env`] → [`Gateway::build`] (binds its ports) → [`Gateway::run`]. Whoever builds a
//! gateway brings the provider in [`Parts`]; only [`program`], the gateway on its own, names concrete ones.
#![forbid(unsafe_code)]

pub mod config;
pub mod program;
mod state;

mod door;
mod http;
mod routes;
mod server;
mod watch;

mod async_function;
mod call;
mod callback;
mod client_body;
mod delivery;
mod function;
mod invoker;
mod scaler;
mod upgrade;

mod auth;
mod peers;
mod system;

mod counters;
mod metrics;
mod readiness;
mod respond;
mod tls;
mod trace;
mod upkeep;

pub use config::{Config, ConfigError, Credentials, Peering, Tls};
pub use delivery::QueueWorker;
pub use door::{Door, DoorGuard};
pub use readiness::Readiness;
pub use server::{BuildError, Gateway};
pub use state::Parts;
pub use tls::TlsError;

/// What the gateway calls itself: `X-Served-By` and the `User-Agent` of callbacks.
pub(crate) const PRODUCT: &str = concat!("crema/", env!("CARGO_PKG_VERSION"));
