//! Speaks the gateway's HTTP API; keeps a live list of functions for connectors.
//!
//! [`GatewayClient`] has one typed call for every route in use, each with a time limit. [`FunctionList`] follows the
//! functions of all namespaces and outlives a gateway that restarts.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod client;
mod config;
mod error;
mod function_list;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tls;
mod transport;

pub use client::{CallId, GatewayClient};
pub use config::{ClientConfig, Credentials};
pub use error::ClientError;
pub use function_list::{FunctionList, Functions};
pub use hyper::header::{HeaderMap, HeaderName, HeaderValue};
