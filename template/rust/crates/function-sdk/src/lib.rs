//! The runtime of a Rust function: `serve(handler)`, the watchdog's contract in-process.
//!
//! ```no_run
//! use function_sdk::{Request, Response, serve};
//!
//! fn main() -> std::process::ExitCode {
//!     serve(async |request: Request| Response::ok().text(format!("hello, {}", request.text())))
//! }
//! ```
//!
//! One thread serves everything: handlers need be neither `Send` nor `Sync`, and a function at rest costs next to
//! nothing. The function listens on the Unix socket `CREMA_SOCKET` when the platform names one, else on TCP `port`
//! (8080), and answers `/_/health`, `/_/ready`, limits, time limits and signals as OpenFaaS's watchdog does.
//!
//! Beneath [`Handler`], which has whole bodies, stands [`server::Service`], which streams them: the watchdog is one.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod access;
mod call_id;
mod client;
mod clock;
mod context;
mod door;
mod gateway;
mod handler;
pub mod json;
pub mod log;
mod metrics;
mod request;
mod response;
mod serve;
pub mod server;
pub mod settings;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod testing;

pub use access::Access;
pub use bytes::Bytes;
pub use client::{Call, CallError};
pub use clock::Clock;
pub use context::{Context, SecretError};
pub use gateway::Gateway;
pub use handler::Handler;
pub use hyper::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
pub use log::log;
pub use request::Request;
pub use response::Response;
pub use serve::{serve, serve_with};
