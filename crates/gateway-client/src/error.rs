//! Why a call to the gateway did not do what was asked.

use daemon::EnvError;
use std::path::PathBuf;
use std::time::Duration;

/// Why a call to the gateway did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A setting cannot be used.
    #[error(transparent)]
    Setting(#[from] EnvError),
    /// The gateway's URL cannot be used.
    #[error("gateway URL {url:?}: {why}; give one like http://127.0.0.1:8080")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The files with user and password cannot be read.
    #[error("{path}: {reason}; write the gateway's user and password there, or unset basic_auth", path = path.display())]
    Credentials {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    /// The request cannot be written down: a header or path the caller gave.
    #[error("{url}: the request cannot be made: {why}")]
    Request {
        /// Where it was to go.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// No answer: no connection, or it broke.
    #[error("{method} {url}: no answer: {why}")]
    Unreachable {
        /// What was asked.
        method: &'static str,
        /// Where.
        url: String,
        /// Why.
        why: String,
    },
    /// No answer in time.
    #[error("{method} {url}: no answer within {limit:?}")]
    TimeLimit {
        /// What was asked.
        method: &'static str,
        /// Where.
        url: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The gateway said no.
    #[error("{method} {url}: {status}: {line}")]
    Refused {
        /// What was asked.
        method: &'static str,
        /// Where.
        url: String,
        /// The answer's HTTP status.
        status: u16,
        /// The first line of the answer's body.
        line: String,
    },
    /// The gateway's answer is not what the route answers.
    #[error("{method} {url}: the answer cannot be read: {why}")]
    Unreadable {
        /// What was asked.
        method: &'static str,
        /// Where.
        url: String,
        /// Why.
        why: String,
    },
}

impl ClientError {
    /// The HTTP status of a refusal.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the gateway does not know what was asked for.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// Whether the same call may succeed later without anyone changing it.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimeLimit { .. } | Self::Unreadable { .. } => true,
            Self::Refused { status, .. } => *status >= 500 || matches!(*status, 401 | 403 | 408 | 425 | 429),
            Self::Setting(_) | Self::Url { .. } | Self::Credentials { .. } | Self::Tls(_) | Self::Request { .. } => {
                false
            }
        }
    }
}
