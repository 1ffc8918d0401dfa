//! Keeps accepted invocations on disk until they are done.
//!
//! [`Queue`] is the store; [`SqliteQueue`](sqlite::SqliteQueue) is the default, [`SledQueue`](sled::SledQueue) the
//! other one behind the same suite. [`Worker`](worker::Worker) takes from it and delivers, by the rules of [`retry`].
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod invocation;
mod store;

pub use invocation::{Invocation, Source, TraceContext};
pub use store::{Counts, Lease, Outcome, Queue, QueueError, Sequence};
