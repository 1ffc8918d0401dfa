//! The name of a function: name and namespace, never one alone.

use crate::DEFAULT_NAMESPACE;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The longest name or namespace, in bytes (RFC 1123 label).
pub const MAX_LABEL: usize = 63;
/// The longest secret name, in bytes (RFC 1123 subdomain).
pub const MAX_SUBDOMAIN: usize = 253;

/// A function's full name. Text form: `name.namespace`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct FunctionName {
    name: String,
    namespace: String,
}

/// Why a name is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{what} {given:?} is invalid: {why}")]
pub struct NameError {
    what: &'static str,
    given: String,
    why: &'static str,
}

impl FunctionName {
    /// A checked name; an empty namespace is the default one.
    pub fn new(name: &str, namespace: &str) -> Result<Self, NameError> {
        let namespace = if namespace.is_empty() { DEFAULT_NAMESPACE } else { namespace };
        check_label("function name", name)?;
        check_label("namespace", namespace)?;
        Ok(Self { name: name.to_owned(), namespace: namespace.to_owned() })
    }

    /// The name without its namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }
}

/// Reads `name` or `name.namespace`; the last dot divides (gateway-api §1).
impl FromStr for FunctionName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.rsplit_once('.') {
            Some((name, namespace)) => Self::new(name, namespace),
            None => Self::new(text, DEFAULT_NAMESPACE),
        }
    }
}

impl TryFrom<String> for FunctionName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<FunctionName> for String {
    fn from(name: FunctionName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.name, self.namespace)
    }
}

/// Checks an RFC 1123 label: `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, at most 63 bytes.
pub fn check_label(what: &'static str, text: &str) -> Result<(), NameError> {
    let refuse = |why| Err(NameError { what, given: shortened(text), why });
    if text.is_empty() {
        return refuse("it is empty");
    }
    if text.len() > MAX_LABEL {
        return refuse("it is longer than 63 characters");
    }
    if !text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        return refuse("must be a valid DNS entry: lower-case letters, digits and '-'");
    }
    if text.starts_with('-') || text.ends_with('-') {
        return refuse("must be a valid DNS entry: it starts and ends with a letter or digit");
    }
    Ok(())
}

/// Checks an RFC 1123 subdomain, as secret names are: labels joined by dots, at most 253 bytes.
pub fn check_subdomain(what: &'static str, text: &str) -> Result<(), NameError> {
    if text.len() > MAX_SUBDOMAIN {
        return Err(NameError { what, given: shortened(text), why: "it is longer than 253 characters" });
    }
    text.split('.')
        .try_for_each(|label| check_label(what, label).map_err(|error| NameError { given: shortened(text), ..error }))
}

/// What an error repeats of its input: enough to know it, not all of it.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 80;
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    text.chars().take(SHOWN).chain("…".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_dot_divides_name_and_namespace() {
        let name: FunctionName = "order.shop".parse().unwrap();
        assert_eq!((name.name(), name.namespace()), ("order", "shop"));
        let name: FunctionName = "order".parse().unwrap();
        assert_eq!(name.to_string(), "order.openfaas-fn");
    }

    #[test]
    fn names_that_could_leave_a_directory_are_refused() {
        for bad in ["", "../x", "a/b", "A", "a.b.c", "-a", "a-", "a b", "a\0", "ä", ".", "a."] {
            assert_eq!(bad.parse::<FunctionName>().is_err(), bad != "a.", "{bad:?}");
        }
        assert!("x".repeat(64).parse::<FunctionName>().is_err());
        assert!("x".repeat(300).parse::<FunctionName>().unwrap_err().to_string().len() < 250);
    }

    #[test]
    fn secrets_may_have_dots() {
        assert!(check_subdomain("secret", "db.password").is_ok());
        for bad in ["", ".", "..", "a..b", "../a", "a/b", "A"] {
            assert!(check_subdomain("secret", bad).is_err(), "{bad:?}");
        }
    }
}
