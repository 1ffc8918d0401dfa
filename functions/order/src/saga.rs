//! What comes after each step: reserve → authorise → capture → commit, and the way back.
//!
//! Pure: given how far an order is and what its step came to, says how far it is then. The step of an order is written
//! down before it is done, and doing one again is harmless, so an order can be picked up wherever it was left.
//!
//! Going back undoes what was done, last first: a refund or a void, then a release. An order ends, whatever the other
//! functions say: only no answer at all leaves it where it is, to be tried again.

use crate::order::{Progress, Reason, Status, Step};

/// So often stock is reserved for one order.
const MOST_RESERVATIONS: u32 = 5;

/// What a step came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It is refused for good.
    Refused(Refusal),
}

/// Why a step is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// Less is left than was wanted.
    OutOfStock {
        /// Of which.
        sku: String,
    },
    /// The reservation is no longer one.
    Gone,
    /// The processor declined.
    Declined {
        /// Its reason.
        code: String,
    },
    /// Anything else.
    Other {
        /// What was said.
        why: String,
    },
}

/// How far an order is once its step came to `outcome`.
pub fn next(mut progress: Progress, outcome: Outcome) -> Progress {
    use Outcome::{Done, Refused};
    match (progress.step, outcome) {
        (Step::Reserve, Done) => {
            progress.reserved = true;
            progress.step = if progress.captured {
                Step::Commit
            } else if progress.authorised {
                Step::Capture
            } else {
                Step::Authorise
            };
            progress
        }
        // The answer to the first try was lost, and so was the reservation since.
        (Step::Reserve, Refused(Refusal::Gone)) => reserve_again(progress),
        (Step::Authorise, Done) => Progress { authorised: true, step: Step::Capture, ..progress },
        (Step::Capture, Done) => Progress { captured: true, step: Step::Commit, ..progress },
        (Step::Commit, Done) => Progress { status: Status::Confirmed, step: Step::End, ..progress },
        (Step::Commit, Refused(_)) => reserve_again(progress),
        (Step::Reserve | Step::Authorise | Step::Capture, Refused(refusal)) => {
            let reason = reason(progress.step, refusal);
            back(Progress { reason: Some(reason), ..progress })
        }
        (Step::Refund, outcome) => {
            if let Refused(refusal) = outcome {
                let before = progress.reason.as_ref().map(Reason::to_string).unwrap_or_default();
                let why = format!("{before}; refund refused: {}", describe(refusal));
                progress.reason = Some(Reason::RefundFailed { why });
            }
            back(Progress { captured: false, authorised: false, ..progress })
        }
        // Refused or not, there is nothing else to let go of: an authorisation lapses, stale stock is given back.
        (Step::Void, _) => back(Progress { authorised: false, ..progress }),
        (Step::Release, _) => back(Progress { reserved: false, ..progress }),
        (Step::End, _) => progress,
    }
}

/// The step that undoes what was done last, or the end.
fn back(progress: Progress) -> Progress {
    if progress.captured {
        Progress { step: Step::Refund, ..progress }
    } else if progress.authorised {
        Progress { step: Step::Void, ..progress }
    } else if progress.reserved {
        Progress { step: Step::Release, ..progress }
    } else {
        Progress { step: Step::End, status: Status::Cancelled, ..progress }
    }
}

/// Reserves under another name, unless that was done often enough.
fn reserve_again(progress: Progress) -> Progress {
    let progress = Progress { reserved: false, ..progress };
    if progress.reservation >= MOST_RESERVATIONS {
        return back(Progress { reason: Some(Reason::ReservationExpired), ..progress });
    }
    Progress { reservation: progress.reservation + 1, step: Step::Reserve, ..progress }
}

fn reason(step: Step, refusal: Refusal) -> Reason {
    match refusal {
        Refusal::OutOfStock { sku } => Reason::OutOfStock { sku },
        Refusal::Declined { code } => Reason::Declined { code },
        other @ (Refusal::Gone | Refusal::Other { .. }) => {
            Reason::Refused { why: format!("{}: {}", step.as_str(), describe(other)) }
        }
    }
}

fn describe(refusal: Refusal) -> String {
    match refusal {
        Refusal::OutOfStock { sku } => format!("out of stock: {sku}"),
        Refusal::Gone => "it is gone".to_owned(),
        Refusal::Declined { code } => code,
        Refusal::Other { why } => why,
    }
}

#[cfg(test)]
mod tests;
