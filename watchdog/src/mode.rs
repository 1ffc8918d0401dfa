//! How a call reaches the function's process.

mod fork;
pub(crate) mod http;

pub(crate) use fork::Fork;

use http::Upstream;

/// How a call reaches the function's process.
pub(crate) enum Mode {
    Http(Upstream),
    Streaming(Fork),
    Serializing(Fork),
}
