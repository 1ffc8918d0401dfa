//! Who moves the money.

use crate::operation::{Operation, Verdict};
use std::future::Future;

/// A company that charges cards.
pub trait Processor: 'static {
    /// What every answer calls it.
    fn name(&self) -> &'static str;

    /// Does `operation`, or says why not. Asked twice for the same `operation.id`, it does it once and gives the same
    /// answer: `payment` asks again whenever it does not know how an operation ended.
    fn perform(&self, operation: &Operation) -> impl Future<Output = Result<Verdict, Unavailable>>;
}

/// No answer from the processor: whether the operation was done is not known.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the processor {processor} gave no answer: {why}")]
pub struct Unavailable {
    /// Which.
    pub processor: &'static str,
    /// What happened instead.
    pub why: String,
}
