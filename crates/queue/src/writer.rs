//! The one thread that writes: it takes what has come in since it last looked, does all of it, makes it durable once,
//! and answers everyone. Under load many pushes share one sync.

use crate::{Counts, Invocation, Lease, Outcome, Queue, QueueError, Requeued, Sequence};
use async_trait::async_trait;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};
use wire::FunctionName;
use wire::call::CallStatus;

/// The most commands that share one sync.
const GROUP: usize = 1024;
/// The longest wait for a group to fill up; otherwise a quarter of the last group's time.
const MOST_PATIENCE: Duration = Duration::from_millis(1);

/// What a store is asked to do.
#[derive(Debug)]
pub(crate) enum Ask {
    Push(Vec<Invocation>),
    Lease { limit: usize, full: Vec<FunctionName>, now: u64 },
    NextDue,
    BringForward { now: u64, longest: u64 },
    Finish { sequence: Sequence, outcome: Outcome, now: u64 },
    Retry { sequence: Sequence, outcome: Outcome, not_before: u64 },
    Bury { sequence: Sequence, outcome: Outcome, now: u64 },
    Call(String),
    DeadLetters(usize),
    Requeue { call_id: String, now: u64 },
    Counts,
    Forget { before: u64, dead_before: u64 },
    Close,
}

/// What a store answers.
#[derive(Debug)]
pub(crate) enum Answer {
    Pushed(Vec<Sequence>),
    Leased(Vec<Lease>),
    Due(Option<u64>),
    Done,
    Calls(Vec<CallStatus>),
    Counts(Counts),
    Forgotten(u64),
    Forward(u64),
    Requeued(Requeued),
}

/// A store that one thread drives.
pub(crate) trait Engine: Send + 'static {
    /// Begins a group.
    fn begin(&mut self) -> Result<(), QueueError>;
    /// Does one thing of the group. After an error of its own it has changed nothing.
    fn apply(&mut self, ask: &Ask) -> Result<Answer, QueueError>;
    /// Makes the group durable. After an error nothing of it is promised.
    fn commit(&mut self) -> Result<(), QueueError>;
    /// Undoes the group.
    fn rollback(&mut self);
    /// Whether the group is still open; a full disk may have ended it.
    fn is_open(&self) -> bool;
    /// Writes what is left.
    fn close(&mut self);
}

type Reply = oneshot::Sender<Result<Answer, QueueError>>;

/// The queue's side of the thread.
#[derive(Debug)]
pub(crate) struct Writer {
    asks: Mutex<Option<Sender<(Ask, Reply)>>>,
    // Held so that closing can wait for the thread's end.
    thread: Mutex<Option<JoinHandle<()>>>,
    pushed: Arc<Notify>,
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(name: &str, engine: impl Engine) -> Result<Self, QueueError> {
        let (asks, inbox) = channel();
        let pushed = Arc::new(Notify::new());
        let woken = Arc::clone(&pushed);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(engine, &inbox, &woken))
            .map_err(|error| QueueError::Failed(error.to_string()))?;
        Ok(Self { asks: Mutex::new(Some(asks)), thread: Mutex::new(Some(thread)), pushed })
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, QueueError> {
        let (reply, answer) = oneshot::channel();
        {
            // A send never blocks; the lock is held for it alone.
            let asks = self.asks.lock().unwrap_or_else(PoisonError::into_inner);
            asks.as_ref().ok_or(QueueError::Closed)?.send((ask, reply)).map_err(|_| QueueError::Closed)?;
        }
        answer.await.map_err(|_| QueueError::Closed)?
    }

    async fn done(&self, ask: Ask) -> Result<(), QueueError> {
        self.ask(ask).await.map(drop)
    }
}

fn run(mut engine: impl Engine, inbox: &Receiver<(Ask, Reply)>, pushed: &Notify) {
    let (mut usual, mut patience) = (1, Duration::ZERO);
    while let Ok(first) = inbox.recv() {
        let group = gather(first, inbox, usual, patience);
        usual = group.len();
        let begun = Instant::now();
        let answers = match together(&mut engine, &group) {
            Ok(answers) => answers,
            // One of them, or the disk, spoilt it: each for itself, so that the others are not refused with it.
            Err(_) if group.len() > 1 => group.iter().map(|(ask, _)| alone(&mut engine, ask)).collect(),
            Err(error) => vec![Err(error)],
        };
        patience = (begun.elapsed() / 4).min(MOST_PATIENCE);
        let wake = group.iter().zip(&answers).any(|((ask, _), answer)| {
            let frees = matches!(ask, Ask::Push(_) | Ask::Retry { .. } | Ask::Finish { .. } | Ask::Bury { .. });
            answer.is_ok() && frees || matches!(answer, Ok(Answer::Forward(1..) | Answer::Requeued(Requeued::Queued)))
        });
        let closing = group.iter().any(|(ask, _)| matches!(ask, Ask::Close));
        for ((_, reply), answer) in group.into_iter().zip(answers) {
            // Whoever asked may have gone; the work is done all the same.
            reply.send(answer).map(drop).unwrap_or_default();
        }
        if wake {
            pushed.notify_one();
        }
        if closing {
            break;
        }
    }
    engine.close();
}

/// What came in, and what those will ask again who were answered just now: without a wait for them the first to come
/// back would have a sync for itself. A lone asker is never waited for.
fn gather(first: (Ask, Reply), inbox: &Receiver<(Ask, Reply)>, usual: usize, patience: Duration) -> Vec<(Ask, Reply)> {
    let mut group = vec![first];
    group.extend(inbox.try_iter().take(GROUP - 1));
    let begun = Instant::now();
    while group.len() < usual {
        match inbox.recv_timeout(patience.saturating_sub(begun.elapsed())) {
            Ok(ask) => group.push(ask),
            Err(_) => break,
        }
    }
    group
}

/// Does a group with one sync. An ask that fails by itself is answered so; an error is one of the whole group.
fn together(engine: &mut impl Engine, group: &[(Ask, Reply)]) -> Result<Vec<Result<Answer, QueueError>>, QueueError> {
    engine.begin()?;
    let mut answers = Vec::with_capacity(group.len());
    for (ask, _) in group {
        let answer = engine.apply(ask);
        match answer {
            // A push undoes itself; of anything else part may be done, and part of a group is never committed.
            Err(error) if !engine.is_open() || !matches!(ask, Ask::Push(_)) => {
                engine.rollback();
                return Err(error);
            }
            answer => answers.push(answer),
        }
    }
    engine.commit().inspect_err(|_| engine.rollback())?;
    Ok(answers)
}

fn alone(engine: &mut impl Engine, ask: &Ask) -> Result<Answer, QueueError> {
    engine.begin()?;
    let answer = engine.apply(ask).inspect_err(|_| engine.rollback())?;
    engine.commit().inspect_err(|_| engine.rollback())?;
    Ok(answer)
}

#[async_trait]
impl Queue for Writer {
    async fn push(&self, batch: Vec<Invocation>) -> Result<Vec<Sequence>, QueueError> {
        match self.ask(Ask::Push(batch)).await? {
            Answer::Pushed(sequences) => Ok(sequences),
            other => Err(unexpected(&other)),
        }
    }

    async fn lease(&self, limit: usize, full: Vec<FunctionName>, now: u64) -> Result<Vec<Lease>, QueueError> {
        match self.ask(Ask::Lease { limit, full, now }).await? {
            Answer::Leased(leases) => Ok(leases),
            other => Err(unexpected(&other)),
        }
    }

    async fn next_due(&self) -> Result<Option<u64>, QueueError> {
        match self.ask(Ask::NextDue).await? {
            Answer::Due(due) => Ok(due),
            other => Err(unexpected(&other)),
        }
    }

    async fn pushed(&self) {
        self.pushed.notified().await;
    }

    async fn bring_forward(&self, now: u64, longest: u64) -> Result<u64, QueueError> {
        match self.ask(Ask::BringForward { now, longest }).await? {
            Answer::Forward(count) => Ok(count),
            other => Err(unexpected(&other)),
        }
    }

    async fn finish(&self, sequence: Sequence, outcome: Outcome, now: u64) -> Result<(), QueueError> {
        self.done(Ask::Finish { sequence, outcome, now }).await
    }

    async fn retry(&self, sequence: Sequence, outcome: Outcome, not_before: u64) -> Result<(), QueueError> {
        self.done(Ask::Retry { sequence, outcome, not_before }).await
    }

    async fn bury(&self, sequence: Sequence, outcome: Outcome, now: u64) -> Result<(), QueueError> {
        self.done(Ask::Bury { sequence, outcome, now }).await
    }

    async fn call(&self, call_id: &str) -> Result<Option<CallStatus>, QueueError> {
        match self.ask(Ask::Call(call_id.to_owned())).await? {
            Answer::Calls(mut calls) => Ok(calls.pop()),
            other => Err(unexpected(&other)),
        }
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<CallStatus>, QueueError> {
        match self.ask(Ask::DeadLetters(limit)).await? {
            Answer::Calls(calls) => Ok(calls),
            other => Err(unexpected(&other)),
        }
    }

    async fn requeue(&self, call_id: &str, now: u64) -> Result<Requeued, QueueError> {
        match self.ask(Ask::Requeue { call_id: call_id.to_owned(), now }).await? {
            Answer::Requeued(requeued) => Ok(requeued),
            other => Err(unexpected(&other)),
        }
    }

    async fn counts(&self) -> Result<Counts, QueueError> {
        match self.ask(Ask::Counts).await? {
            Answer::Counts(counts) => Ok(counts),
            other => Err(unexpected(&other)),
        }
    }

    async fn forget(&self, before: u64, dead_before: u64) -> Result<u64, QueueError> {
        match self.ask(Ask::Forget { before, dead_before }).await? {
            Answer::Forgotten(count) => Ok(count),
            other => Err(unexpected(&other)),
        }
    }

    async fn close(&self) {
        self.done(Ask::Close).await.unwrap_or_default();
        self.asks.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // Its last work is a checkpoint; a panic of it has been logged by the panic hook.
            tokio::task::spawn_blocking(move || thread.join().unwrap_or_default()).await.unwrap_or_default();
        }
    }
}

fn unexpected(answer: &Answer) -> QueueError {
    QueueError::Failed(format!("the store answered something else: {answer:?}"))
}
