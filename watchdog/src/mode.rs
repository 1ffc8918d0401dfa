//! How a call reaches the function's process.

mod classic;
pub(crate) mod files;
mod fork;
pub(crate) mod http;

pub(crate) use classic::Classic;
pub(crate) use fork::Fork;

use files::Files;
use http::Upstream;

/// How a call reaches the function's process.
pub(crate) enum Mode {
    Http(Upstream),
    Streaming(Fork),
    Serializing(Fork),
    Classic(Classic),
    Static(Files),
}
