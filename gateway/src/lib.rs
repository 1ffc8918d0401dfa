//! HTTP in: `/function`, `/async-function`, `/system`.
//!
//! [`Config::from_env`] → [`Gateway::build`] (binds its ports) → [`Gateway::run`]. The library names no concrete
//! provider; whoever builds a gateway brings one in [`Parts`].
#![forbid(unsafe_code)]

mod auth;
pub mod config;
mod counters;
mod respond;
mod server;
mod state;
mod system;

pub use config::{Config, ConfigError, Credentials, Tls};
pub use server::{BuildError, Gateway};
pub use state::Parts;

/// What the gateway calls itself: `X-Served-By` and the `User-Agent` of callbacks.
pub(crate) const PRODUCT: &str = concat!("crema/", env!("CARGO_PKG_VERSION"));
