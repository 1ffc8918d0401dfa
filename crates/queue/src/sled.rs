//! The other store: sled, the one of the design card, behind the same suite. Slower than SQLite and never smaller: the
//! space of ended invocations is used again, but never given back to the disk.
//!
//! All keys are in one tree, so that a group is one atomic batch. Their first byte says what they are:
//!
//! | key | value |
//! | --- | --- |
//! | `i` sequence | the [`Entry`] |
//! | `r` sequence | the record, until the invocation is done or forgotten |
//! | `w` function, due, sequence | waits |
//! | `l` sequence | is leased |
//! | `k` function and key, sequence | is pending and ordered |
//! | `c` call id, sequence | the invocations of a call id |
//! | `e` state, time, sequence | has ended |
//! | `m` name | the format's version; the sequences in use |

mod entry;
mod group;

use crate::record;
use crate::sqlite::Durability;
use crate::store::MOST_DEAD_BYTES;
use crate::writer::{Answer, Ask, Engine, Writer};
use crate::{Counts, Invocation, Lease, Outcome, Queue, QueueError, Requeued, Sequence};
use entry::{Entry, State, call, ended, item, leased, ordered, raw, waiting};
use group::Group;
use std::path::Path;
use std::sync::Arc;
use wire::FunctionName;
use wire::call::CallStatus;

/// The format's version.
const VERSION: &[u8] = b"1";
const VERSION_KEY: &[u8] = b"mversion";
const RESERVED_KEY: &[u8] = b"mreserved";
/// So many sequences are set aside at a time, so that none is used twice after what had it was forgotten.
const RESERVE: u64 = 1 << 16;
/// The most entries one [`Ask::Forget`] removes, so that pushes need not wait for long.
const FORGET_AT_ONCE: usize = 2_000;
/// The same of dead letters, which have bodies.
const FORGET_DEAD_AT_ONCE: usize = 64;
/// The directory in the queue's directory.
const DIRECTORY: &str = "queue.sled";

/// Opens the queue in a directory, making it when there is none.
pub fn open(directory: &Path) -> Result<Arc<dyn Queue>, QueueError> {
    open_with(directory, Durability::Full)
}

/// Opens the queue with a chosen durability.
pub fn open_with(directory: &Path, durability: Durability) -> Result<Arc<dyn Queue>, QueueError> {
    let engine = Sled::open(&directory.join(DIRECTORY), durability)?;
    Ok(Arc::new(Writer::start("queue-sled", engine)?))
}

/// What is kept in memory; a copy of before the group stands by.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    /// The next sequence.
    next: Sequence,
    /// The first sequence that is not set aside.
    reserved: Sequence,
    counts: Counts,
    /// What dead letters hold.
    dead_bytes: u64,
}

struct Sled {
    group: Group,
    memory: Memory,
    before: Memory,
    open: bool,
}

impl Sled {
    fn open(path: &Path, durability: Durability) -> Result<Self, QueueError> {
        let mut group = Group::open(path, durability)?;
        match group.get(VERSION_KEY)? {
            None => group.add(VERSION_KEY.to_vec(), VERSION.to_vec()),
            Some(version) if version.as_ref() == VERSION => {}
            Some(version) => {
                let (path, found) = (path.display(), String::from_utf8_lossy(&version));
                let why = format!("it has format {found:?}, and this version of crema reads \"1\"");
                return Err(QueueError::Failed(format!("{path}: {why}")));
            }
        }
        let next = group.get(RESERVED_KEY)?.map_or(1, |reserved| entry::number(&reserved));
        let ended =
            |group: &Group, state| group.scan(&entry::ended_prefix(state), &entry::ended_prefix(state), usize::MAX);
        let dead = ended(&group, State::Dead)?.len() as u64;
        let done = ended(&group, State::Done)?.len() as u64;
        let all = group.scan(b"i", b"i", usize::MAX)?.len() as u64;
        let counts = Counts { pending: all.saturating_sub(dead + done), dead };
        let mut dead_bytes = 0;
        for key in ended(&group, State::Dead)? {
            dead_bytes += group.get(&raw(entry::sequence(&key)))?.map_or(0, |record| record.len() as u64);
        }
        let memory = Memory { next, reserved: next, counts, dead_bytes };
        let mut sled = Self { group, memory, before: memory, open: true };
        // A lease ends with the process.
        for key in sled.group.scan(b"l", b"l", usize::MAX)? {
            let sequence = entry::sequence(&key);
            if let Some(entry) = sled.entry(sequence)? {
                sled.put_back(sequence, entry)?;
            }
            sled.group.remove(key);
        }
        sled.commit()?;
        Ok(sled)
    }

    fn entry(&self, sequence: Sequence) -> Result<Option<Entry>, QueueError> {
        self.group.get(&item(sequence))?.map(|bytes| Entry::decode(&bytes)).transpose()
    }

    fn push(&mut self, batch: &[Invocation]) -> Result<Vec<Sequence>, QueueError> {
        let mut sequences = Vec::with_capacity(batch.len());
        for invocation in batch {
            sequences.push(self.add(Entry::new(invocation), record::encode(invocation))?);
        }
        Ok(sequences)
    }

    /// Adds what waits for its first attempt.
    fn add(&mut self, mut entry: Entry, record: Vec<u8>) -> Result<Sequence, QueueError> {
        if self.memory.next >= self.memory.reserved {
            self.memory.reserved = self.memory.next + RESERVE;
            self.group.set(RESERVED_KEY.to_vec(), self.memory.reserved.to_be_bytes().to_vec());
        }
        let sequence = self.memory.next;
        self.memory.next += 1;
        self.memory.counts.pending += 1;
        if let Some(lane) = entry.lane() {
            if self.oldest(&lane)?.is_some() {
                entry.state = State::Behind;
            }
            self.group.add(ordered(&lane, sequence), Vec::new());
        }
        if entry.state == State::Waiting {
            self.group.add(waiting(&entry.function, entry.due, sequence), Vec::new());
        }
        self.group.add(call(&entry.call_id, sequence), Vec::new());
        self.group.add(item(sequence), entry.encode());
        self.group.add(raw(sequence), record);
        Ok(sequence)
    }

    /// The oldest pending invocation of a function and key.
    fn oldest(&self, lane: &[u8]) -> Result<Option<Sequence>, QueueError> {
        let prefix = entry::lane_prefix(lane);
        Ok(self.group.first(&prefix, &prefix)?.map(|key| entry::sequence(&key)))
    }

    /// The functions that have something waiting, by hopping through the keys.
    fn waiting_functions(&self) -> Result<Vec<String>, QueueError> {
        let mut functions = Vec::new();
        let mut from = b"w".to_vec();
        while let Some(key) = self.group.first(&from, b"w")? {
            let function = entry::waiting_function(&key);
            from = entry::after_function(&function);
            functions.push(function);
        }
        Ok(functions)
    }

    fn lease(&mut self, limit: usize, full: &[FunctionName], now: u64) -> Result<Vec<Lease>, QueueError> {
        let mut functions = self.waiting_functions()?;
        functions.retain(|function| !full.iter().any(|full| full.to_string() == *function));
        // With less room than functions the first would always be the first: everyone has a turn at it.
        if !functions.is_empty() {
            let turn = usize::try_from(now).unwrap_or_default() % functions.len();
            functions.rotate_left(turn);
        }
        let mut leases = Vec::new();
        for (index, function) in functions.iter().enumerate() {
            let share = (limit - leases.len()).div_ceil(functions.len() - index);
            let prefix = entry::waiting_prefix(function);
            for key in self.group.scan(&prefix, &prefix, share)? {
                if entry::due(&key) > now {
                    break;
                }
                leases.extend(self.take(key, now)?);
            }
        }
        leases.sort_by_key(|lease| lease.sequence);
        Ok(leases)
    }

    fn take(&mut self, key: group::Key, now: u64) -> Result<Option<Lease>, QueueError> {
        let sequence = entry::sequence(&key);
        self.group.remove(key);
        let Some(mut entry) = self.entry(sequence)? else { return Ok(None) };
        entry.state = State::Leased;
        entry.attempts += 1;
        let attempt = entry.attempts;
        self.group.set(item(sequence), entry.encode());
        self.group.set(leased(sequence), Vec::new());
        let bytes = self.group.get(&raw(sequence))?.unwrap_or_default();
        match record::decode(&bytes) {
            Ok(invocation) => Ok(Some(Lease { sequence, attempt, invocation })),
            Err(error) => {
                tracing::error!(sequence, %error, "an invocation cannot be read and is given up");
                let outcome = Outcome { status: None, reason: Some(error.to_string()) };
                self.end(sequence, State::Dead, &outcome, now)?;
                Ok(None)
            }
        }
    }

    fn end(&mut self, sequence: Sequence, state: State, outcome: &Outcome, now: u64) -> Result<(), QueueError> {
        let Some(mut entry) = self.entry(sequence)?.filter(|entry| entry.state.is_pending()) else { return Ok(()) };
        self.memory.counts.pending = self.memory.counts.pending.saturating_sub(1);
        self.memory.counts.dead += u64::from(state == State::Dead);
        self.group.remove(waiting(&entry.function, entry.due, sequence));
        self.group.remove(leased(sequence));
        match state {
            State::Dead => self.memory.dead_bytes += self.group.get(&raw(sequence))?.map_or(0, |raw| raw.len() as u64),
            _ => self.group.remove(raw(sequence)),
        }
        let lane = entry.lane();
        entry.end(state, outcome, now);
        self.group.set(ended(state, now, sequence), Vec::new());
        self.group.set(item(sequence), entry.encode());
        let Some(lane) = lane else { return Ok(()) };
        self.group.remove(ordered(&lane, sequence));
        // The oldest one behind it waits for nothing any more.
        let Some(next) = self.oldest(&lane)? else { return Ok(()) };
        match self.entry(next)? {
            Some(behind) if behind.state == State::Behind => self.put_back(next, behind),
            _ => Ok(()),
        }
    }

    fn put_back(&mut self, sequence: Sequence, mut entry: Entry) -> Result<(), QueueError> {
        entry.state = State::Waiting;
        self.group.remove(leased(sequence));
        self.group.set(waiting(&entry.function, entry.due, sequence), Vec::new());
        self.group.set(item(sequence), entry.encode());
        Ok(())
    }

    fn retry(&mut self, sequence: Sequence, outcome: &Outcome, not_before: u64) -> Result<(), QueueError> {
        let Some(mut entry) = self.entry(sequence)?.filter(|entry| entry.state == State::Leased) else { return Ok(()) };
        entry.due = not_before;
        entry.status = outcome.status;
        entry.reason.clone_from(&outcome.reason);
        self.put_back(sequence, entry)
    }

    fn next_due(&self) -> Result<Option<u64>, QueueError> {
        let mut earliest = None;
        for function in self.waiting_functions()? {
            let prefix = entry::waiting_prefix(&function);
            let due = self.group.first(&prefix, &prefix)?.map(|key| entry::due(&key));
            earliest = [earliest, due].into_iter().flatten().min();
        }
        Ok(earliest)
    }

    /// Looks at all there is: clocks are seldom set back.
    fn bring_forward(&mut self, now: u64, longest: u64) -> Result<u64, QueueError> {
        let mut brought = 0;
        for key in self.group.scan(b"i", b"i", usize::MAX)? {
            let sequence = entry::sequence(&key);
            // A damaged one holds up no other.
            let Some(Ok(mut entry)) = self.group.get(&key)?.map(|bytes| Entry::decode(&bytes)) else { continue };
            let held_up = entry.accepted_at > now || entry.due > now.saturating_add(longest);
            if !entry.state.is_pending() || entry.due <= now || !held_up {
                continue;
            }
            let before = waiting(&entry.function, entry.due, sequence);
            entry.due = now;
            if entry.state == State::Waiting {
                self.group.remove(before);
                self.group.set(waiting(&entry.function, now, sequence), Vec::new());
            }
            self.group.set(key, entry.encode());
            brought += 1;
        }
        Ok(brought)
    }

    fn call(&self, call_id: &str) -> Result<Vec<CallStatus>, QueueError> {
        let prefix = entry::call_prefix(call_id);
        let newest = self.group.scan(&prefix, &prefix, usize::MAX)?.pop();
        Ok(newest
            .map(|key| self.entry(entry::sequence(&key)))
            .transpose()?
            .flatten()
            .map(Entry::status)
            .into_iter()
            .collect())
    }

    fn dead_letters(&self, limit: usize) -> Result<Vec<CallStatus>, QueueError> {
        let prefix = entry::ended_prefix(State::Dead);
        let keys = self.group.scan(&prefix, &prefix, usize::MAX)?;
        let newest = keys.iter().rev().take(limit).map(|key| self.entry(entry::sequence(key)));
        newest.filter_map(|entry| entry.transpose().map(|entry| entry.map(Entry::status))).collect()
    }

    /// It becomes the newest, as if it had been pushed now: no order that others are in is changed.
    fn requeue(&mut self, call_id: &str, now: u64) -> Result<Requeued, QueueError> {
        let prefix = entry::call_prefix(call_id);
        let mut found = Requeued::Unknown;
        for key in self.group.scan(&prefix, &prefix, usize::MAX)?.into_iter().rev() {
            let sequence = entry::sequence(&key);
            let Some(entry) = self.entry(sequence)? else { continue };
            if entry.state != State::Dead {
                found = found.max(Requeued::NotDead);
                continue;
            }
            let Some(record) = self.group.get(&raw(sequence))? else {
                found = Requeued::NotKept;
                continue;
            };
            self.group.remove(key);
            self.group.remove(item(sequence));
            self.group.remove(raw(sequence));
            self.group.remove(ended(State::Dead, entry.finished_at.unwrap_or_default(), sequence));
            self.memory.counts.dead = self.memory.counts.dead.saturating_sub(1);
            self.memory.dead_bytes = self.memory.dead_bytes.saturating_sub(record.len() as u64);
            self.add(entry.anew(now), record.to_vec())?;
            return Ok(Requeued::Queued);
        }
        Ok(found)
    }

    fn forget(&mut self, before: u64, dead_before: u64) -> Result<u64, QueueError> {
        let mut forgotten = 0;
        for (state, before, limit) in
            [(State::Done, before, FORGET_AT_ONCE), (State::Dead, dead_before, FORGET_DEAD_AT_ONCE)]
        {
            let prefix = entry::ended_prefix(state);
            for key in self.group.scan(&prefix, &prefix, limit)? {
                let too_much = state == State::Dead && self.memory.dead_bytes > MOST_DEAD_BYTES;
                if entry::due(&key) >= before && !too_much {
                    break;
                }
                let sequence = entry::sequence(&key);
                if state == State::Dead {
                    let bytes = self.group.get(&raw(sequence))?.map_or(0, |record| record.len() as u64);
                    self.memory.dead_bytes = self.memory.dead_bytes.saturating_sub(bytes);
                    self.group.remove(raw(sequence));
                }
                if let Some(entry) = self.entry(sequence)? {
                    self.group.remove(call(&entry.call_id, sequence));
                }
                self.group.remove(item(sequence));
                self.group.remove(key);
                self.memory.counts.dead -= u64::from(state == State::Dead);
                forgotten += 1;
            }
        }
        Ok(forgotten)
    }
}

impl Engine for Sled {
    fn begin(&mut self) -> Result<(), QueueError> {
        self.group.begin()?;
        self.before = self.memory;
        self.open = true;
        Ok(())
    }

    fn apply(&mut self, ask: &Ask) -> Result<Answer, QueueError> {
        let answer = match ask {
            Ask::Push(batch) => self.push(batch).map(Answer::Pushed),
            Ask::Lease { limit, full, now } => self.lease(*limit, full, *now).map(Answer::Leased),
            Ask::NextDue => self.next_due().map(Answer::Due),
            Ask::BringForward { now, longest } => self.bring_forward(*now, *longest).map(Answer::Forward),
            Ask::Finish { sequence, outcome, now } => {
                self.end(*sequence, State::Done, outcome, *now).map(|()| Answer::Done)
            }
            Ask::Bury { sequence, outcome, now } => {
                self.end(*sequence, State::Dead, outcome, *now).map(|()| Answer::Done)
            }
            Ask::Retry { sequence, outcome, not_before } => {
                self.retry(*sequence, outcome, *not_before).map(|()| Answer::Done)
            }
            Ask::Call(call_id) => self.call(call_id).map(Answer::Calls),
            Ask::DeadLetters(limit) => self.dead_letters(*limit).map(Answer::Calls),
            Ask::Requeue { call_id, now } => self.requeue(call_id, *now).map(Answer::Requeued),
            Ask::Counts => Ok(Answer::Counts(self.memory.counts)),
            Ask::Forget { before, dead_before } => self.forget(*before, *dead_before).map(Answer::Forgotten),
            Ask::Close => Ok(Answer::Done),
        };
        // There is no going back within a group: an error spoils it, and each is then done for itself.
        answer.inspect_err(|_| self.open = false)
    }

    fn commit(&mut self) -> Result<(), QueueError> {
        self.open = false;
        self.group.commit()
    }

    fn rollback(&mut self) {
        self.open = false;
        self.group.rollback();
        self.memory = self.before;
    }

    fn is_open(&self) -> bool {
        self.open
    }

    fn close(&mut self) {
        self.group.close();
    }
}
