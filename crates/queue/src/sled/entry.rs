//! The keys of the tree, and what is kept of an invocation beside its record.

use crate::sqlite::rfc3339;
use crate::{Invocation, Outcome, QueueError, Sequence};
use serde::{Deserialize, Serialize};
use wire::call::{CallState, CallStatus};

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum State {
    Waiting,
    Leased,
    /// Waits for an older one of its function and key to end.
    Behind,
    Done,
    Dead,
}

impl State {
    pub(super) fn is_pending(self) -> bool {
        matches!(self, Self::Waiting | Self::Leased | Self::Behind)
    }
}

/// What is kept of an invocation, until it is forgotten.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Entry {
    pub(super) state: State,
    pub(super) due: u64,
    pub(super) function: String,
    pub(super) key: Option<String>,
    pub(super) call_id: String,
    pub(super) attempts: u32,
    pub(super) accepted_at: u64,
    pub(super) finished_at: Option<u64>,
    pub(super) status: Option<u16>,
    pub(super) reason: Option<String>,
}

impl Entry {
    pub(super) fn new(invocation: &Invocation) -> Self {
        Self {
            state: State::Waiting,
            due: invocation.accepted_at,
            function: invocation.function.to_string(),
            key: invocation.key.clone(),
            call_id: invocation.call_id.clone(),
            attempts: 0,
            accepted_at: invocation.accepted_at,
            finished_at: None,
            status: None,
            reason: None,
        }
    }

    /// Function and key, when invocations of it are ordered.
    pub(super) fn lane(&self) -> Option<Vec<u8>> {
        let key = self.key.as_ref()?;
        let mut lane = self.function.clone().into_bytes();
        lane.push(0);
        lane.extend_from_slice(key.as_bytes());
        Some(lane)
    }

    pub(super) fn end(&mut self, state: State, outcome: &Outcome, now: u64) {
        self.state = state;
        self.finished_at = Some(now);
        self.status = outcome.status;
        self.reason.clone_from(&outcome.reason);
    }

    /// As it was when it was accepted, but due at `now`.
    pub(super) fn anew(self, now: u64) -> Self {
        let (state, due) = (State::Waiting, now);
        Self { state, due, attempts: 0, finished_at: None, status: None, reason: None, ..self }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("text and numbers always encode")
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, QueueError> {
        postcard::from_bytes(bytes).map_err(|error| QueueError::Failed(format!("an entry is damaged: {error}")))
    }

    pub(super) fn status(self) -> CallStatus {
        let time = |millis: u64| rfc3339(i64::try_from(millis).unwrap_or(i64::MAX));
        CallStatus {
            state: match self.state {
                State::Waiting | State::Behind => CallState::Queued,
                State::Leased => CallState::Running,
                State::Done => CallState::Done,
                State::Dead => CallState::Dead,
            },
            not_before: matches!(self.state, State::Waiting | State::Behind).then(|| time(self.due)),
            call_id: self.call_id,
            function: self.function,
            attempts: self.attempts,
            status: self.status,
            reason: self.reason,
            accepted_at: time(self.accepted_at),
            finished_at: self.finished_at.map(time),
        }
    }
}

pub(super) fn item(sequence: Sequence) -> Vec<u8> {
    join(b'i', &[], &[sequence])
}

pub(super) fn raw(sequence: Sequence) -> Vec<u8> {
    join(b'r', &[], &[sequence])
}

pub(super) fn leased(sequence: Sequence) -> Vec<u8> {
    join(b'l', &[], &[sequence])
}

pub(super) fn waiting(function: &str, due: u64, sequence: Sequence) -> Vec<u8> {
    let mut key = waiting_prefix(function);
    key.extend_from_slice(&due.to_be_bytes());
    key.extend_from_slice(&sequence.to_be_bytes());
    key
}

/// A function's name has no NUL, so that none is the beginning of another.
pub(super) fn waiting_prefix(function: &str) -> Vec<u8> {
    let mut key = join(b'w', function.as_bytes(), &[]);
    key.push(0);
    key
}

/// Where the keys of the function after this one may begin.
pub(super) fn after_function(function: &str) -> Vec<u8> {
    let mut key = join(b'w', function.as_bytes(), &[]);
    key.push(1);
    key
}

/// The function of a [`waiting`] key.
pub(super) fn waiting_function(key: &[u8]) -> String {
    let name = key.get(1..).unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

pub(super) fn ordered(lane: &[u8], sequence: Sequence) -> Vec<u8> {
    let mut key = lane_prefix(lane);
    key.extend_from_slice(&sequence.to_be_bytes());
    key
}

/// A lane may hold any byte, so that its length comes first.
pub(super) fn lane_prefix(lane: &[u8]) -> Vec<u8> {
    measured(b'k', lane)
}

pub(super) fn call(call_id: &str, sequence: Sequence) -> Vec<u8> {
    let mut key = call_prefix(call_id);
    key.extend_from_slice(&sequence.to_be_bytes());
    key
}

pub(super) fn call_prefix(call_id: &str) -> Vec<u8> {
    measured(b'c', call_id.as_bytes())
}

pub(super) fn ended(state: State, at: u64, sequence: Sequence) -> Vec<u8> {
    join(b'e', &[state as u8], &[at, sequence])
}

pub(super) fn ended_prefix(state: State) -> Vec<u8> {
    join(b'e', &[state as u8], &[])
}

/// The sequence every key but those of `m` ends with.
pub(super) fn sequence(key: &[u8]) -> Sequence {
    key.last_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The time before the sequence, in [`waiting`] and [`ended`] keys.
pub(super) fn due(key: &[u8]) -> u64 {
    sequence(key.get(..key.len().saturating_sub(8)).unwrap_or_default())
}

pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_be_bytes)
}

fn join(kind: u8, text: &[u8], numbers: &[u64]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + text.len() + 8 * numbers.len());
    key.push(kind);
    key.extend_from_slice(text);
    key.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
    key
}

fn measured(kind: u8, text: &[u8]) -> Vec<u8> {
    let mut key = join(kind, &[], &[text.len() as u64]);
    key.extend_from_slice(text);
    key
}
