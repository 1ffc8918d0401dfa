//! The processor `test`: charges nobody, and does what the card's token says.
//!
//! | token | what happens |
//! | --- | --- |
//! | `tok_visa`, `tok_visa_debit`, `tok_mastercard`, `tok_amex`, `tok_discover` | everything is approved |
//! | `tok_chargeDeclined` | declined: `generic_decline` |
//! | `tok_insufficientFunds`, `tok_chargeDeclinedInsufficientFunds` | declined: `insufficient_funds` |
//! | `tok_chargeDeclinedExpiredCard` | declined: `expired_card` |
//! | `tok_chargeDeclinedIncorrectCvc` | declined: `incorrect_cvc` |
//! | `tok_chargeDeclinedFraudulent` | declined: `fraudulent` |
//! | `tok_chargeDeclinedProcessingError` | declined: `processing_error` |
//! | `tok_captureDeclined` | authorised; a capture is declined: `capture_declined` |
//! | `tok_refundDeclined` | all but a refund is approved; that is declined: `refund_declined` |
//! | `tok_unavailableOnce` | each operation gets no answer the first time, and is approved after that |
//! | any other | declined: `no_such_token` |

use crate::operation::{Kind, Operation, Verdict};
use crate::processor::{Processor, Unavailable};

/// What every answer calls it.
pub const NAME: &str = "test";

/// The processor `test`.
#[derive(Clone, Copy, Debug, Default)]
pub struct TestProcessor;

impl Processor for TestProcessor {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn perform(&self, operation: &Operation) -> Result<Verdict, Unavailable> {
        let code = match (operation.token.as_str(), operation.kind) {
            ("tok_unavailableOnce", _) if operation.attempts == 0 => {
                return Err(Unavailable { processor: NAME, why: "the token asks for that the first time".into() });
            }
            ("tok_captureDeclined", Kind::Capture) => "capture_declined",
            ("tok_refundDeclined", Kind::Refund) => "refund_declined",
            // A card that was authorised stays good.
            (_, Kind::Capture | Kind::Void | Kind::Refund) => return Ok(Verdict::Approved),
            (
                "tok_visa"
                | "tok_visa_debit"
                | "tok_mastercard"
                | "tok_amex"
                | "tok_discover"
                | "tok_unavailableOnce"
                | "tok_captureDeclined"
                | "tok_refundDeclined",
                Kind::Authorise,
            ) => return Ok(Verdict::Approved),
            ("tok_chargeDeclined", _) => "generic_decline",
            ("tok_insufficientFunds" | "tok_chargeDeclinedInsufficientFunds", _) => "insufficient_funds",
            ("tok_chargeDeclinedExpiredCard", _) => "expired_card",
            ("tok_chargeDeclinedIncorrectCvc", _) => "incorrect_cvc",
            ("tok_chargeDeclinedFraudulent", _) => "fraudulent",
            ("tok_chargeDeclinedProcessingError", _) => "processing_error",
            _ => "no_such_token",
        };
        Ok(Verdict::Declined { code: code.to_owned() })
    }
}
