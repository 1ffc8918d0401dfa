//! What can be asked of a processor, and what is known of it once it was.

use serde::Serialize;

/// What is to be done with a payment.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Sets the amount aside on the card.
    Authorise,
    /// Takes it, or part of it.
    Capture,
    /// Lets go of an authorisation nothing was taken of.
    Void,
    /// Gives back what was taken, or part of it.
    Refund,
}

/// One thing asked of the processor, once, however often it is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Operation {
    /// The caller's name for it, and the processor's idempotency key.
    pub id: String,
    /// What.
    pub kind: Kind,
    /// With which payment: the id of its authorisation.
    pub payment: String,
    /// How much, in the currency's smallest unit; the whole authorisation for a void.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    /// The processor's name for the card.
    pub token: String,
    /// How often the processor was asked before, without an answer.
    pub attempts: u32,
}

/// What the processor said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is done.
    Approved,
    /// It will not be.
    Declined {
        /// Why, in a word.
        code: String,
    },
}

impl Kind {
    pub(crate) fn as_column(self) -> &'static str {
        match self {
            Self::Authorise => "authorise",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
        }
    }
}
