//! What a customer asks for: the body of `POST /`, checked.

use function_sdk::json::{self, JsonError};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// The most of one line.
const MOST: i64 = 1000;
/// The most lines.
const MOST_LINES: usize = 50;
/// The longest sku or token.
const LONGEST: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(default)]
    id: Option<OrderId>,
    items: Vec<Item>,
    payment: Card,
}

/// An order's name: what is unique in the shop and can stand in a path.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq)]
#[serde(try_from = "String")]
pub struct OrderId(String);

/// What is wanted, without the id. Equal JSON is equal here, however it was written.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Placement {
    /// What, and how many.
    pub items: Vec<Item>,
    /// How it is paid.
    pub payment: Card,
}

/// A line of an order.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// What inventory calls it.
    pub sku: Word,
    /// How many.
    pub quantity: Quantity,
}

/// How an order is paid.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// The processor's name for the card.
    pub token: Word,
}

/// A short text.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String")]
pub struct Word(pub String);

/// How many: at least one, and not more than a till sells at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Quantity(pub i64);

impl Placement {
    /// Reads a body. Without an `id` in it the order is called as the call is.
    pub fn read(body: &[u8], call_id: &str) -> Result<(OrderId, Self), JsonError> {
        let Body { id, items, payment } = json::read(body)?;
        let wrong = |field: &str, problem: String| JsonError::Field { field: field.to_owned(), problem };
        if items.is_empty() || items.len() > MOST_LINES {
            return Err(wrong("items", format!("expected 1 to {MOST_LINES} lines, got {}", items.len())));
        }
        let id = match id {
            Some(id) => id,
            None => OrderId::try_from(call_id.to_owned())
                .map_err(|problem| wrong("id", format!("missing, and the X-Call-Id cannot stand in: {problem}")))?,
        };
        Ok((id, Self { items, payment }))
    }

    /// The one way to write it.
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers can be written as JSON")
    }
}

impl OrderId {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for OrderId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if text.is_empty() || text.len() > LONGEST || text.starts_with('.') || !text.bytes().all(allowed) {
            return Err(format!("expected 1 to {LONGEST} letters, digits, '-', '_' and '.', the first no '.'"));
        }
        Ok(Self(text))
    }
}

impl TryFrom<String> for Word {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() || text.len() > LONGEST || text.chars().any(char::is_control) {
            return Err(format!("expected 1 to {LONGEST} printable bytes"));
        }
        Ok(Self(text))
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        if (1..=MOST).contains(&number) {
            Ok(Self(number))
        } else {
            Err(D::Error::custom(format_args!("expected a whole number from 1 to {MOST}, got {number}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<(OrderId, Placement), JsonError> {
        Placement::read(body.as_bytes(), "call-1")
    }

    #[test]
    fn the_call_names_an_order_that_does_not_name_itself() {
        let body = r#"{"items":[{"sku":"tea","quantity":1}],"payment":{"token":"tok_visa"}}"#;
        assert_eq!(read(body).unwrap().0.as_str(), "call-1");
        let body = r#"{"id":"A.1_b-2","items":[{"sku":"tea","quantity":1}],"payment":{"token":"tok_visa"}}"#;
        assert_eq!(read(body).unwrap().0.as_str(), "A.1_b-2");
        let body = r#"{"items":[{"sku":"tea","quantity":1}],"payment":{"token":"tok_visa"}}"#;
        assert_eq!(Placement::read(body.as_bytes(), "../x").unwrap_err().field(), Some("id"));
    }

    #[test]
    fn equal_json_is_equal_however_it_is_written() {
        let one = read(r#"{"id":"a","items":[{"sku":"tea","quantity":1}],"payment":{"token":"t"}}"#).unwrap().1;
        let two = read(
            "{ \"payment\" : {\"token\":\"\\u0074\"},\n\"items\":[{\"quantity\":1 ,\"sku\":\"te\\u0061\"}], \"id\":\"a\" }",
        )
        .unwrap()
        .1;
        assert_eq!(one.canonical(), two.canonical());
        let other = read(r#"{"id":"a","items":[{"sku":"tea","quantity":2}],"payment":{"token":"t"}}"#).unwrap().1;
        assert_ne!(one.canonical(), other.canonical());
    }

    #[test]
    fn a_wrong_field_is_named() {
        let line = r#"{"sku":"tea","quantity":1}"#;
        let many = [line; 51].join(",");
        for (body, field) in [
            (r#"{"payment":{"token":"t"}}"#.to_owned(), "items"),
            (r#"{"items":[],"payment":{"token":"t"}}"#.to_owned(), "items"),
            (format!(r#"{{"items":[{many}],"payment":{{"token":"t"}}}}"#), "items"),
            (format!(r#"{{"items":[{line}]}}"#), "payment"),
            (format!(r#"{{"items":[{line}],"payment":{{}}}}"#), "payment.token"),
            (format!(r#"{{"items":[{line}],"payment":{{"token":""}}}}"#), "payment.token"),
            (format!(r#"{{"items":[{line},{{"sku":"tea"}}],"payment":{{"token":"t"}}}}"#), "items[1].quantity"),
            (r#"{"items":[{"sku":"tea","quantity":0}],"payment":{"token":"t"}}"#.to_owned(), "items[0].quantity"),
            (r#"{"items":[{"sku":"tea","quantity":-1}],"payment":{"token":"t"}}"#.to_owned(), "items[0].quantity"),
            (r#"{"items":[{"sku":"tea","quantity":1001}],"payment":{"token":"t"}}"#.to_owned(), "items[0].quantity"),
            (r#"{"items":[{"sku":"tea","quantity":1e99}],"payment":{"token":"t"}}"#.to_owned(), "items[0].quantity"),
            (r#"{"items":[{"sku":"tea","quantity":"1"}],"payment":{"token":"t"}}"#.to_owned(), "items[0].quantity"),
            (r#"{"items":[{"sku":"","quantity":1}],"payment":{"token":"t"}}"#.to_owned(), "items[0].sku"),
            (format!(r#"{{"id":"a/b","items":[{line}],"payment":{{"token":"t"}}}}"#), "id"),
            (format!(r#"{{"id":7,"items":[{line}],"payment":{{"token":"t"}}}}"#), "id"),
            (format!(r#"{{"items":[{line}],"payment":{{"token":"t"}},"tip":5}}"#), "tip"),
            ("[]".to_owned(), "body"),
        ] {
            let error = read(&body).expect_err(&body);
            assert_eq!(error.field(), Some(field), "{body}: {error}");
        }
        assert_eq!(read("{").unwrap_err().status(), 400);
    }
}
