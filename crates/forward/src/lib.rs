//! Streams one HTTP exchange to an upstream and back, over TCP or a Unix socket, into other network namespaces too.
//!
//! A [`Pool`] belongs to one thread: its connections are driven by tasks of that thread's `LocalSet` (an actix worker
//! is one), so nothing here is `Send` and no lock is taken. [`Target`] is one upstream with its idle connections;
//! [`Target::send`] does the exchange:
//!
//! ```text
//! idle connection, newest first, or a new one -> request (length kept, hop-by-hop headers gone)
//!   -> response head -> body, chunk by chunk as it comes -> the connection is idle again
//! ```
//!
//! A request is sent a second time only when that cannot make it run twice: see [`Target::send`]. [`Target::switch`]
//! asks for another protocol on the connection, such as WebSocket.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod agent;
mod body;
mod error;
mod exchange;
mod headers;
mod io;
mod pool;
mod response;
mod switch;
mod upstream;

#[cfg(test)]
mod tests;

pub use agent::connect as connect_inside;
pub use body::{Body, BodyError};
pub use error::{ForwardError, Reason};
pub use exchange::Limits;
pub use headers::{is_hop_by_hop, strip_hop_by_hop};
pub use pool::{Pool, Settings, Target};
pub use response::{Response, ResponseBody};
pub use switch::{Switched, Tunnel};
pub use upstream::{UnixSocket, Upstream};

/// Bodies of known length up to this size are worth reading whole: head and body then leave in one write.
pub const SMALL_BODY: usize = 64 * 1024;
