//! OpenFaaS formats as Rust types: JSON bodies, header, label and annotation names, function names, Go durations.
//!
//! Everyone uses these types and nobody defines their own. The crate depends on nothing of ours and knows no I/O, so
//! that it can ship in every function image.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod annotation;
pub mod call;
pub mod duration;
pub mod env;
pub mod function;
pub mod header;
pub mod image_reference;
pub mod info;
pub mod label;
pub mod log;
pub mod name;
pub mod namespace;
pub mod quantity;
pub mod secret;

pub use name::FunctionName;

/// The namespace of a function whose name carries none.
pub const DEFAULT_NAMESPACE: &str = "openfaas-fn";
/// The largest body of an asynchronous invocation, in bytes, unless configured.
pub const DEFAULT_ASYNC_BODY_LIMIT: usize = 1024 * 1024;
/// Where a function finds its secrets when it has a mount namespace of its own.
pub const SECRET_MOUNT_PATH: &str = "/var/openfaas/secrets";
/// The `topic` that marks a scheduled function, and the `X-Topic` of its calls.
pub const CRON_TOPIC: &str = "cron-function";
