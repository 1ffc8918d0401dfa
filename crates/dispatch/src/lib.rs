//! One event to every function whose topics match.
//!
//! [`Dispatcher::dispatch`] is the one way for events: the embedded broker's hook and the MQTT connector both call it
//! and acknowledge only after it returned Ok, which is after every matching function's invocation is on the gateway's
//! disk. When one of several functions cannot be reached the event is handed over again, so some may see it twice:
//! delivery is at least once.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod dispatcher;
mod event;
mod figures;
mod filter;
mod topic_map;

pub use dispatcher::{DispatchCounts, DispatchError, Dispatcher};
pub use event::Event;
pub use figures::figures;
pub use filter::{FilterError, check_filter, covers, overlaps};
pub use topic_map::TopicMap;
