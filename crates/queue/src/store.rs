//! The seam: what a queue's store promises.

use crate::Invocation;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use wire::FunctionName;
use wire::call::CallStatus;

/// The store's key: a number of our own that only grows.
pub type Sequence = u64;

/// An invocation taken for delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Lease {
    /// Its key.
    pub sequence: Sequence,
    /// Attempts begun, this one included: 1 at the first.
    pub attempt: u32,
    /// What to deliver.
    pub invocation: Invocation,
}

/// How a delivered invocation ended.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Outcome {
    /// The function's HTTP status, when there was an answer.
    pub status: Option<u16>,
    /// What to tell a person, when it went wrong.
    pub reason: Option<String>,
}

/// How many invocations the store holds, by state.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Waiting or under way.
    pub pending: u64,
    /// Given up.
    pub dead: u64,
}

/// What became of a dead letter that was to begin anew. Of several of one call id the greatest tells.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Requeued {
    /// There is no such call.
    Unknown,
    /// The call waits, is under way or is done.
    NotDead,
    /// It is dead, and a version that kept no bodies gave it up.
    NotKept,
    /// It waits for its first attempt again.
    Queued,
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The disk is full. Nothing of the batch was kept; it works again when there is space.
    #[error("the queue's disk is full: {0}")]
    Full(String),
    /// The store failed. Whether the batch was kept is unknown; say "not accepted".
    #[error("the queue's store failed: {0}")]
    Failed(String),
    /// The store has been closed.
    #[error("the queue is closed")]
    Closed,
}

/// What dead letters may hold together, and a little more between two rounds of forgetting: a function that is broken for long
/// must not take the disk from the others.
pub const MOST_DEAD_BYTES: u64 = 64 * 1024 * 1024;

/// A durable queue. All times are milliseconds since 1970 as the caller's [`daemon::Clock`] tells them.
///
/// At-least-once: what was pushed comes out of [`lease`](Queue::lease) until [`finish`](Queue::finish) or
/// [`bury`](Queue::bury) names it. A lease ends with the process: whatever was leased when a store is opened is
/// waiting again, with the attempt counted.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Keeps a batch: all of it or nothing. Returns after the batch is on disk, where a power cut does not reach it.
    async fn push(&self, batch: Vec<Invocation>) -> Result<Vec<Sequence>, QueueError>;

    /// Takes at most `limit` invocations that are due at `now`, and none of the functions in `full`. Functions share
    /// the limit; of one function the oldest go first. None is taken twice, and of one function and key none before
    /// those accepted earlier have ended. Waits for nothing: empty when none is due.
    async fn lease(&self, limit: usize, full: Vec<FunctionName>, now: u64) -> Result<Vec<Lease>, QueueError>;

    /// When the next waiting invocation is due; `None` when none waits.
    async fn next_due(&self) -> Result<Option<u64>, QueueError>;

    /// Waits until something was pushed or became free to lease since the last call returned.
    async fn pushed(&self);

    /// The invocation ended: remembers its status for [`call`](Queue::call) and frees the rest.
    async fn finish(&self, sequence: Sequence, outcome: Outcome, now: u64) -> Result<(), QueueError>;

    /// The clock was set back to `now`: brings forward to it what an hour that never was holds up. That is what says it
    /// was accepted later than `now`, and what is due later than `longest` from `now`. Returns how many.
    async fn bring_forward(&self, now: u64, longest: u64) -> Result<u64, QueueError>;

    /// The invocation goes back and is due again at `not_before`.
    async fn retry(&self, sequence: Sequence, outcome: Outcome, not_before: u64) -> Result<(), QueueError>;

    /// The invocation is given up and kept as a dead letter, with all that a delivery needs.
    async fn bury(&self, sequence: Sequence, outcome: Outcome, now: u64) -> Result<(), QueueError>;

    /// The newest invocation of this call id.
    async fn call(&self, call_id: &str) -> Result<Option<CallStatus>, QueueError>;

    /// Dead letters, newest first.
    async fn dead_letters(&self, limit: usize) -> Result<Vec<CallStatus>, QueueError>;

    /// The newest dead letter of this call id that is whole begins anew: due at `now`, no attempt made, in its key's
    /// order behind all others.
    async fn requeue(&self, call_id: &str, now: u64) -> Result<Requeued, QueueError>;

    /// How many there are.
    async fn counts(&self) -> Result<Counts, QueueError>;

    /// Forgets finished invocations older than `before`, and dead ones older than `dead_before`; the oldest dead ones
    /// also when all of them hold more than [`MOST_DEAD_BYTES`]. Some at a time: returns how many.
    async fn forget(&self, before: u64, dead_before: u64) -> Result<u64, QueueError>;

    /// Writes what is left and closes the store.
    async fn close(&self);
}
