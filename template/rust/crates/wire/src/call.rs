//! The life of an asynchronous invocation: bodies of `GET /system/calls/{id}` and `GET /system/dead-letters`.

use serde::{Deserialize, Serialize};

/// Where an invocation stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CallState {
    /// On disk, waiting for its first or next attempt.
    Queued,
    /// An attempt is under way.
    Running,
    /// Ended with the function's own answer, good or bad.
    Done,
    /// Given up: attempts exhausted, or the function is gone.
    Dead,
}

/// What is known of one asynchronous invocation.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallStatus {
    /// The invocation's id.
    pub call_id: String,
    /// `name.namespace`.
    pub function: String,
    /// Where it stands.
    pub state: CallState,
    /// Attempts made.
    pub attempts: u32,
    /// The HTTP status of the last attempt, when there was an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why the last attempt failed, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was accepted, RFC 3339.
    pub accepted_at: String,
    /// When the next attempt is due, RFC 3339; queued ones only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<String>,
    /// When it ended, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
}
