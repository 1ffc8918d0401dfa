//! Keeps accepted invocations on disk until they are done.
//!
//! [`Queue`] is the store: [`sqlite`] is the default, [`mod@sled`] the other one behind the same suite. [`worker::Worker`]
//! takes from it and delivers, by the rules of [`retry`].
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod invocation;
mod record;
pub mod retry;
pub mod sled;
pub mod sqlite;
mod store;
pub mod worker;
mod writer;

pub use invocation::{Invocation, Source, TraceContext};
pub use store::{Counts, Lease, MOST_DEAD_BYTES, Outcome, Queue, QueueError, Requeued, Sequence};
