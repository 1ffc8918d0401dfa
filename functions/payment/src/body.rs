//! The bodies of the calls that move money, checked.

use crate::books::Demand;
use crate::operation::Kind;
use function_sdk::json::{self, JsonError};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// The most one payment may be, in the currency's smallest unit.
const MOST: i64 = 99_999_999;
/// The longest id or token.
const LONGEST: usize = 200;

/// `POST /authorise`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Authorise {
    id: Name,
    amount: Amount,
    currency: Currency,
    token: Name,
}

/// `POST /capture` and `POST /refund`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    id: Name,
    payment: Name,
    #[serde(default)]
    amount: Option<Amount>,
}

/// `POST /void`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    id: Name,
    payment: Name,
}

/// A name somebody gave something: not empty, not long, nothing unprintable.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Name(String);

/// At least one of the currency's smallest unit.
#[derive(Debug)]
struct Amount(i64);

/// ISO 4217.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Currency(String);

/// Reads the body of the call that asks for `kind`: the operation's id, and what it is to do.
pub fn read(kind: Kind, body: &[u8]) -> Result<(String, Demand), JsonError> {
    Ok(match kind {
        Kind::Authorise => {
            let Authorise { id, amount, currency, token } = json::read(body)?;
            (id.0, Demand::Authorise { amount: amount.0, currency: currency.0, token: token.0 })
        }
        Kind::Capture | Kind::Refund => {
            let Part { id, payment, amount } = json::read(body)?;
            (id.0, Demand::With { kind, payment: payment.0, amount: amount.map(|amount| amount.0) })
        }
        Kind::Void => {
            let Whole { id, payment } = json::read(body)?;
            (id.0, Demand::With { kind, payment: payment.0, amount: None })
        }
    })
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() || text.len() > LONGEST || text.chars().any(|c| c.is_control()) {
            Err(format!("expected 1 to {LONGEST} printable bytes"))
        } else {
            Ok(Self(text))
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        if (1..=MOST).contains(&number) {
            Ok(Self(number))
        } else {
            Err(D::Error::custom(format_args!(
                "expected a whole number of the currency's smallest unit from 1 to {MOST}, got {number}"
            )))
        }
    }
}

impl TryFrom<String> for Currency {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase()) {
            Ok(Self(text))
        } else {
            Err("expected three capital letters such as USD".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_field_is_named() {
        for (kind, body, field) in [
            (Kind::Authorise, r#"{"id":"a","amount":0,"currency":"USD","token":"t"}"#, "amount"),
            (Kind::Authorise, r#"{"id":"a","amount":-5,"currency":"USD","token":"t"}"#, "amount"),
            (Kind::Authorise, r#"{"id":"a","amount":2.5,"currency":"USD","token":"t"}"#, "amount"),
            (Kind::Authorise, r#"{"id":"a","amount":100000000,"currency":"USD","token":"t"}"#, "amount"),
            (Kind::Authorise, r#"{"id":"a","amount":5,"currency":"usd","token":"t"}"#, "currency"),
            (Kind::Authorise, r#"{"id":"a","amount":5,"currency":"USD"}"#, "token"),
            (Kind::Authorise, r#"{"id":"a","amount":5,"currency":"USD","token":""}"#, "token"),
            (Kind::Capture, r#"{"id":"a","amount":5}"#, "payment"),
            (Kind::Refund, r#"{"payment":"a","amount":5}"#, "id"),
            (Kind::Void, r#"{"id":"a","payment":"p","amount":5}"#, "amount"),
        ] {
            let error = read(kind, body.as_bytes()).expect_err(body);
            assert_eq!(error.field(), Some(field), "{body}: {error}");
        }
    }
}
