//! Why an exchange failed, in words that name hop and reason.

use crate::Upstream;
use crate::body::BodyError;
use std::error::Error;
use std::fmt;
use std::time::Duration;

/// An exchange failed.
#[derive(Debug)]
pub struct ForwardError {
    /// Where it was to go.
    pub upstream: Upstream,
    /// What happened.
    pub reason: Reason,
    /// The request was not read by anyone.
    pub(crate) unread: bool,
}

/// What happened to an exchange.
#[derive(Debug)]
pub enum Reason {
    /// No connection could be made. Nothing was sent.
    Connect(std::io::Error),
    /// The upstream closed the connection before it answered.
    Closed(BodyError),
    /// The upstream answered something that is no HTTP, or broke off in the middle of its answer.
    Broken(BodyError),
    /// The upstream took longer than this limit.
    TimedOut(Duration),
    /// The body of the request broke off: its sender's fault, not the upstream's.
    RequestBody(BodyError),
}

impl ForwardError {
    pub(crate) fn new(upstream: &Upstream, reason: Reason) -> Self {
        let unread = matches!(reason, Reason::Connect(_));
        Self { upstream: upstream.clone(), reason, unread }
    }

    /// Whether nobody can have read the request, so that another upstream may be tried: there was no connection, or it
    /// was closed before anything was taken from it.
    #[must_use]
    pub fn unread(&self) -> bool {
        self.unread
    }
}

impl fmt::Display for ForwardError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let upstream = &self.upstream;
        match &self.reason {
            Reason::Connect(error) => write!(formatter, "cannot connect to {upstream}: {error}"),
            Reason::Closed(error) => write!(formatter, "{upstream} closed the connection before it answered: {error}"),
            Reason::Broken(error) => write!(formatter, "the answer of {upstream} broke off: {error}"),
            Reason::TimedOut(limit) => {
                write!(formatter, "{upstream} did not answer within {}", wire::duration::format(*limit))
            }
            Reason::RequestBody(error) => write!(formatter, "the request's body broke off: {error}"),
        }
    }
}

impl Error for ForwardError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.reason {
            Reason::Connect(error) => Some(error),
            Reason::Closed(error) | Reason::Broken(error) | Reason::RequestBody(error) => Some(&**error),
            Reason::TimedOut(_) => None,
        }
    }
}
