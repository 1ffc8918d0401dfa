//! Lines and queries of GET `/system/logs` (gateway-api §2.3).

use serde::{Deserialize, Serialize};

/// One line a function wrote.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct LogLine {
    /// The function.
    pub name: String,
    /// Its namespace.
    #[serde(default)]
    pub namespace: String,
    /// The replica.
    #[serde(default)]
    pub instance: String,
    /// When, RFC 3339 with nanoseconds.
    pub timestamp: String,
    /// The text without its line end.
    pub text: String,
}
