//! An order: what it is, how far it got, and how it ended.

use serde::{Deserialize, Serialize};

/// A placed order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Order {
    /// Its name.
    pub id: String,
    /// What was asked for, written the one way.
    pub body: String,
    /// The lines as they were priced.
    pub lines: Vec<Line>,
    /// What it costs, in the currency's smallest unit.
    pub total: i64,
    /// ISO 4217.
    pub currency: String,
    /// The processor's name for the card.
    pub token: String,
    /// How far it got.
    pub progress: Progress,
    /// What kept a step from being done when it was last tried.
    pub trouble: Option<String>,
    /// When it was placed, in milliseconds of Unix time.
    pub created_ms: i64,
}

/// A line of an order, with the price it was sold for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Line {
    /// What inventory calls it.
    pub sku: String,
    /// What the menu calls it.
    pub name: String,
    /// How many.
    pub quantity: i64,
    /// The price of one, in the currency's smallest unit.
    pub price: i64,
}

/// How far an order got: what [`crate::saga`] reads and writes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Progress {
    /// Whether it has ended.
    pub status: Status,
    /// What is done next, or was begun and may be done again.
    pub step: Step,
    /// Which reservation it is by now, from 1: one that got stale is not used again.
    pub reservation: u32,
    /// Stock is set aside.
    pub reserved: bool,
    /// The amount is set aside on the card.
    pub authorised: bool,
    /// The amount was taken.
    pub captured: bool,
    /// Why it is cancelled, or is about to be.
    pub reason: Option<Reason>,
}

/// Whether an order has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Not yet.
    Pending,
    /// The customer has it, and paid.
    Confirmed,
    /// Nothing was sold, nothing is owed.
    Cancelled,
}

/// A thing done with another function. Each may be done again.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Step {
    /// Sets stock aside.
    Reserve,
    /// Sets the amount aside on the card.
    Authorise,
    /// Takes the amount.
    Capture,
    /// Takes the stock off the shelf.
    Commit,
    /// Gives the amount back.
    Refund,
    /// Lets go of the authorisation.
    Void,
    /// Gives the stock back.
    Release,
    /// Nothing is left to do.
    End,
}

/// Why an order is cancelled.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// Less is left than was wanted.
    OutOfStock {
        /// Of which.
        sku: String,
    },
    /// The card was declined.
    Declined {
        /// The processor's reason.
        code: String,
    },
    /// The stock could not be held long enough, several times.
    ReservationExpired,
    /// Inventory or payment refused a step for good.
    Refused {
        /// Which step and why.
        why: String,
    },
    /// The processor would not give back what it took: a person has to.
    RefundFailed {
        /// Why it was to be given back, and why it was not.
        why: String,
    },
}

impl Progress {
    /// Where every order starts.
    pub fn start() -> Self {
        Self {
            status: Status::Pending,
            step: Step::Reserve,
            reservation: 1,
            reserved: false,
            authorised: false,
            captured: false,
            reason: None,
        }
    }
}

impl Order {
    /// Inventory's name for its reservation.
    pub fn reservation_id(&self) -> String {
        format!("{}:{}", self.id, self.progress.reservation)
    }

    /// Payment's name for its payment.
    pub fn payment_id(&self) -> String {
        format!("{}:pay", self.id)
    }
}

impl Status {
    /// As the database and the API write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Confirmed => "confirmed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads it.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Confirmed, Self::Cancelled].into_iter().find(|status| status.as_str() == text)
    }
}

impl Step {
    const ALL: [Self; 8] = [
        Self::Reserve,
        Self::Authorise,
        Self::Capture,
        Self::Commit,
        Self::Refund,
        Self::Void,
        Self::Release,
        Self::End,
    ];

    /// As the database writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reserve => "reserve",
            Self::Authorise => "authorise",
            Self::Capture => "capture",
            Self::Commit => "commit",
            Self::Refund => "refund",
            Self::Void => "void",
            Self::Release => "release",
            Self::End => "end",
        }
    }

    /// Reads it.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.as_str() == text)
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OutOfStock { sku } => write!(formatter, "out of stock: {sku}"),
            Self::Declined { code } => write!(formatter, "the card was declined: {code}"),
            Self::ReservationExpired => formatter.write_str("the stock could not be held long enough; try again"),
            Self::Refused { why } => write!(formatter, "it could not be done: {why}"),
            Self::RefundFailed { why } => write!(formatter, "the money has to be given back by hand: {why}"),
        }
    }
}
