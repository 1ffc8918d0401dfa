//! The bodies of the calls that change stock, checked.

use crate::reservation::Lines;
use function_sdk::json::{self, JsonError};
use serde::Deserialize;
use serde::de::Error;

/// The most of one sku in one call.
const MOST: i64 = 1_000_000;
/// The most lines in one call.
const MOST_LINES: usize = 100;
/// The longest id or sku.
const LONGEST: usize = 200;

/// `POST /reserve`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reserve {
    /// The caller's name for the reservation.
    pub id: Name,
    items: Vec<Line>,
}

/// `POST /commit` and `POST /release`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// The reservation.
    pub id: Name,
}

/// `POST /restock`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restock {
    /// The delivery; the call's id when absent.
    #[serde(default)]
    pub id: Option<Name>,
    /// What was delivered.
    pub sku: Name,
    /// How many.
    pub quantity: Quantity,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    sku: Name,
    quantity: Quantity,
}

/// A name somebody gave something: not empty, not long, nothing unprintable.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub struct Name(pub String);

/// How many: at least one, and not more than a shop can hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quantity(pub i64);

impl Reserve {
    /// Reads a body, and adds up lines of the same sku.
    pub fn read(body: &[u8]) -> Result<(String, Lines), JsonError> {
        let reserve: Self = json::read(body)?;
        let wrong = |field: String, problem: String| Err(JsonError::Field { field, problem });
        if reserve.items.is_empty() || reserve.items.len() > MOST_LINES {
            return wrong("items".into(), format!("expected 1 to {MOST_LINES} lines, got {}", reserve.items.len()));
        }
        let mut lines = Lines::new();
        for (index, line) in reserve.items.into_iter().enumerate() {
            let sum = lines.entry(line.sku.0).or_insert(0);
            *sum += line.quantity.0;
            if *sum > MOST {
                return wrong(format!("items[{index}].quantity"), format!("more than {MOST} in all of one sku"));
            }
        }
        Ok((reserve.id.0, lines))
    }
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

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
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

    #[test]
    fn lines_of_the_same_sku_are_added_up() {
        let body = br#"{"id":"a","items":[{"sku":"tea","quantity":2},{"sku":"latte","quantity":1},{"sku":"tea","quantity":3}]}"#;
        let (id, lines) = Reserve::read(body).unwrap();
        assert_eq!(id, "a");
        assert_eq!(lines, Lines::from([("latte".to_owned(), 1), ("tea".to_owned(), 5)]));
    }

    #[test]
    fn a_wrong_field_is_named() {
        for (body, field) in [
            (r#"{"items":[{"sku":"tea","quantity":1}]}"#, "id"),
            (r#"{"id":"","items":[{"sku":"tea","quantity":1}]}"#, "id"),
            (r#"{"id":"a"}"#, "items"),
            (r#"{"id":"a","items":[]}"#, "items"),
            (r#"{"id":"a","items":[{"quantity":1}]}"#, "items[0].sku"),
            (r#"{"id":"a","items":[{"sku":"tea"}]}"#, "items[0].quantity"),
            (r#"{"id":"a","items":[{"sku":"tea","quantity":0}]}"#, "items[0].quantity"),
            (r#"{"id":"a","items":[{"sku":"tea","quantity":-2}]}"#, "items[0].quantity"),
            (r#"{"id":"a","items":[{"sku":"tea","quantity":1.5}]}"#, "items[0].quantity"),
            (r#"{"id":"a","items":[{"sku":"tea","quantity":99999999999999999999}]}"#, "items[0].quantity"),
            (r#"{"id":"a","items":[{"sku":"tea","quantity":"2"}]}"#, "items[0].quantity"),
            (
                r#"{"id":"a","items":[{"sku":"tea","quantity":1000000},{"sku":"tea","quantity":1}]}"#,
                "items[1].quantity",
            ),
            (r#"{"id":"a","items":[{"sku":"tea","quantity":1}],"now":true}"#, "now"),
        ] {
            let error = Reserve::read(body.as_bytes()).expect_err(body);
            assert_eq!(error.field(), Some(field), "{body}: {error}");
        }
    }
}
