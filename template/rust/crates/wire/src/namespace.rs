//! Bodies of `/system/namespace/NAME`.

use crate::function::TextMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The label and annotation that marks a namespace as one for functions.
pub const MARK: (&str, &str) = ("openfaas", "1");

/// A namespace.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Namespace {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: TextMap,
    /// Labels.
    #[serde(default)]
    pub labels: TextMap,
}
