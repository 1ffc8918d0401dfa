//! A short digest of an object's content.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Sixteen hexadecimal digits. Maps are ordered, so the same content gives the same digest.
pub(crate) fn of(content: &impl Serialize) -> String {
    let bytes = serde_json::to_vec(content).expect("objects are plain data with text keys");
    Sha256::digest(&bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
