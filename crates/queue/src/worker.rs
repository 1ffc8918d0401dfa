//! Takes from the queue and delivers: at most so many at a time, functions sharing fairly, retries by their rules.

use crate::retry::{Decision, Delivery, LONGEST_WAIT, RetryPolicy};
use crate::{Lease, Queue, QueueError};
use daemon::{Clock, Env, EnvError, Stop};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rand::Rng;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use wire::FunctionName;

/// A clock that is corrected by no more than this, in milliseconds, is no clock that was wrong.
const A_SMALL_STEP: u64 = 60_000;
/// How long the worker waits after the store has failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How often what has ended is forgotten, and the longest the worker goes without a look at the queue.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// A function is full when it has so many times as many calls under way as there is room left. Alone it gets three
/// quarters of all, two get three sevenths each: however slow they are, there is room for one more function.
const SHARE: usize = 3;

/// How soon the worker looks again, in milliseconds, while one function's backlog hides what others have due.
const BEHIND_A_BACKLOG: u64 = 1_000;

/// What a worker is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Calls at a time; 50. 0 pauses delivery: invocations are accepted and wait.
    pub max_inflight: usize,
    /// When to try again, unless a function's annotations say otherwise.
    pub policy: RetryPolicy,
    /// How long the status of a call that has ended is kept; 1 h.
    pub keep_done: Duration,
    /// How long a dead letter is kept; 7 days.
    pub keep_dead: Duration,
    /// How long calls under way may take to end once the worker stops; 30 s. What has not ended is delivered again
    /// after the next start.
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_inflight: 50,
            policy: RetryPolicy::default(),
            keep_done: Duration::from_secs(3_600),
            keep_dead: Duration::from_secs(7 * 24 * 3_600),
            drain: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// Reads `max_inflight`, `keep_done`, `keep_dead_letters` and what [`RetryPolicy::from_env`] reads.
    pub fn from_env(env: &impl Env) -> Result<Self, EnvError> {
        let usual = Self::default();
        Ok(Self {
            max_inflight: env.parse("max_inflight", usual.max_inflight)?,
            policy: RetryPolicy::from_env(env)?,
            keep_done: env.duration("keep_done", usual.keep_done)?,
            keep_dead: env.duration("keep_dead_letters", usual.keep_dead)?,
            drain: usual.drain,
        })
    }
}

/// Makes the calls. Its futures stay on the worker's thread.
pub trait Deliver {
    /// The policy for a function: `usual`, as the function's annotations change it.
    fn policy(&self, function: &FunctionName, usual: &RetryPolicy) -> RetryPolicy;

    /// Makes one attempt. `attempts` is the most there will be.
    fn deliver(&self, lease: &Lease, attempts: u32) -> impl Future<Output = Delivery>;

    /// The invocation has ended with this, done or dead: the moment for a callback.
    fn ended(&self, lease: &Lease, delivery: &Delivery) -> impl Future<Output = ()>;
}

/// Delivers what the queue holds.
pub struct Worker<D> {
    config: Config,
    queue: Arc<dyn Queue>,
    clock: Arc<dyn Clock>,
    deliver: D,
}

/// What woke the worker.
enum Woken {
    Ended(FunctionName),
    Look,
    Forget,
    Stopped,
}

impl<D: Deliver> Worker<D> {
    /// A worker; does nothing until it runs.
    pub fn new(config: Config, queue: Arc<dyn Queue>, clock: Arc<dyn Clock>, deliver: D) -> Self {
        Self { config, queue, clock, deliver }
    }

    /// Delivers until told to stop, then lets calls under way end. Runs on one thread: its calls' futures need not be
    /// `Send`.
    pub async fn run(&self, mut stop: Stop) {
        let mut calls = FuturesUnordered::new();
        let mut busy: HashMap<FunctionName, usize> = HashMap::new();
        let mut failing = false;
        let mut housekeeping = tokio::time::interval(LOOK_AGAIN);
        let mut before = None;
        loop {
            let mut is_busy = false;
            let looked = self.clock.unix_millis();
            meanwhile(self.mind_the_clock(&mut before, looked), &mut calls, &mut busy).await;
            let room = self.config.max_inflight.saturating_sub(calls.len());
            let (limit, full) = share(room, &busy);
            let lease = async { if limit == 0 { Ok(Vec::new()) } else { self.queue.lease(limit, full, looked).await } };
            let (leased, freed) = meanwhile(lease, &mut calls, &mut busy).await;
            match leased {
                Ok(leases) => {
                    self.say_recovered(&mut failing);
                    let taken = leases.len();
                    for lease in leases {
                        *busy.entry(lease.invocation.function.clone()).or_default() += 1;
                        calls.push(self.attempt(lease));
                    }
                    // What was taken may have filled a function up: the others get what is left. Calls that ended
                    // meanwhile have made room that was not looked at.
                    is_busy = taken > 0 || freed;
                }
                Err(QueueError::Closed) => break,
                Err(error) => self.say_failing(&mut failing, &error),
            }
            let woken = tokio::select! {
                biased;
                () = stop.wait() => Woken::Stopped,
                _ = housekeeping.tick() => Woken::Forget,
                () = std::future::ready(()), if is_busy => Woken::Look,
                Some(function) = calls.next(), if !calls.is_empty() => Woken::Ended(function),
                () = self.something_due(failing, looked) => Woken::Look,
            };
            match woken {
                Woken::Ended(function) => ended(&mut busy, &function),
                Woken::Look => {}
                Woken::Forget => {
                    // Each round is short, so that pushes, deliveries and a stop come in between.
                    if meanwhile(self.forget(), &mut calls, &mut busy).await.0 {
                        housekeeping.reset_immediately();
                    }
                }
                Woken::Stopped => break,
            }
        }
        let rest = async { while calls.next().await.is_some() {} };
        if tokio::time::timeout(self.config.drain, rest).await.is_err() {
            tracing::warn!(calls = calls.len(), "calls were cut off; they are made again after the next start");
        }
    }

    /// At the start, and when the clock shows less than at the look `before`: no invocation waits for an hour that never
    /// was. A step back between two looks that is shorter than what lies between them holds nothing up for longer.
    async fn mind_the_clock(&self, before: &mut Option<u64>, now: u64) {
        let longest = match *before {
            // Who waits was told so by another process, maybe with other settings.
            None => LONGEST_WAIT,
            // A small step holds nothing up for long, and functions may have asked for longer waits than the platform's.
            Some(before) if now < before && before - now <= A_SMALL_STEP => LONGEST_WAIT,
            Some(before) if now < before => self.config.policy.longest_wait(),
            Some(_) => {
                *before = Some(now);
                return;
            }
        };
        // What failed is tried at the next look.
        let Ok(brought) = self.queue.bring_forward(now, millis(longest)).await else { return };
        *before = Some(now);
        if brought > 0 {
            tracing::warn!(calls = brought, "The clock was set back; calls that waited for a later hour are due now");
        }
    }

    /// Waits until the queue may have something for us that it had not when we `looked`.
    async fn something_due(&self, failing: bool, looked: u64) {
        if failing {
            return tokio::time::sleep(AFTER_FAILURE).await;
        }
        if self.config.max_inflight == 0 {
            return std::future::pending().await;
        }
        let due = match self.queue.next_due().await {
            // What was due when we looked and was not taken has no room: an ended call wakes us. It hides what others
            // have due next, so we look again soon.
            Ok(due) => due.map(|due| if due > looked { due } else { looked + BEHIND_A_BACKLOG }),
            Err(_) => Some(looked + LOOK_AGAIN.as_secs() * 1_000),
        };
        let due = async {
            match due.and_then(|due| jiff::Timestamp::from_millisecond(i64::try_from(due).ok()?).ok()) {
                Some(due) => self.clock.sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! { () = self.queue.pushed() => {}, () = due => {} }
    }

    /// One attempt and what becomes of it.
    async fn attempt(&self, lease: Lease) -> FunctionName {
        let function = lease.invocation.function.clone();
        let policy = self.deliver.policy(&function, &self.config.policy);
        let delivery = if lease.attempt > policy.attempts {
            // What ended the gateway during the last attempt may be what this call does.
            let reason =
                "no attempt is left: the gateway ended during the last one, or fewer are allowed now".to_owned();
            Delivery { internal: true, reason: Some(reason), ..Delivery::default() }
        } else {
            self.deliver.deliver(&lease, policy.attempts).await
        };
        let dice = rand::rng().random_range(0.0..=1.0);
        let decision = policy.decide(lease.attempt, &delivery, dice);
        if !matches!(decision, Decision::Again(_)) {
            self.deliver.ended(&lease, &delivery).await;
        }
        if let Decision::Dead = decision {
            let (call_id, attempts) = (&lease.invocation.call_id, lease.attempt);
            tracing::warn!(%function, call_id, attempts, status = delivery.status, reason = delivery.reason, "Invocation given up");
        }
        self.record(&lease, &delivery, decision).await;
        function
    }

    /// Writes down what became of an attempt, as often as it takes: what is not written down is delivered again.
    async fn record(&self, lease: &Lease, delivery: &Delivery, decision: Decision) {
        loop {
            let now = self.clock.unix_millis();
            let outcome = delivery.outcome();
            let written = match decision {
                Decision::Done => self.queue.finish(lease.sequence, outcome, now).await,
                Decision::Dead => self.queue.bury(lease.sequence, outcome, now).await,
                Decision::Again(wait) => {
                    self.queue.retry(lease.sequence, outcome, now.saturating_add(millis(wait))).await
                }
            };
            match written {
                Ok(()) | Err(QueueError::Closed) => return,
                Err(error) => {
                    tracing::warn!(%error, sequence = lease.sequence, "an attempt's end cannot be written down yet");
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
            }
        }
    }

    /// One round of forgetting; tells whether there may be more.
    async fn forget(&self) -> bool {
        let now = self.clock.unix_millis();
        let ago = |age: Duration| now.saturating_sub(millis(age));
        let (done, dead) = (ago(self.config.keep_done), ago(self.config.keep_dead));
        matches!(self.queue.forget(done, dead).await, Ok(1..))
    }

    fn say_failing(&self, failing: &mut bool, error: &QueueError) {
        if !std::mem::replace(failing, true) {
            tracing::error!(%error, "The queue cannot be read; delivery waits");
        }
    }

    fn say_recovered(&self, failing: &mut bool) {
        if std::mem::replace(failing, false) {
            tracing::info!("The queue can be read again");
        }
    }
}

/// How many to take, and of which functions none, when there is room for so many.
fn share(room: usize, busy: &HashMap<FunctionName, usize>) -> (usize, Vec<FunctionName>) {
    let (full, rest): (Vec<_>, Vec<_>) = busy.iter().partition(|(_, calls)| **calls >= SHARE * room);
    // So few that none of the rest gets past its share.
    let busiest = rest.into_iter().map(|(_, calls)| *calls).max().unwrap_or_default();
    let limit = (SHARE * room - busiest.min(SHARE * room)).div_ceil(SHARE + 1);
    (limit, full.into_iter().map(|(function, _)| function.clone()).collect())
}

/// Does something of the store's while the calls under way go on; tells whether one of them ended.
async fn meanwhile<T>(
    work: impl Future<Output = T>,
    calls: &mut FuturesUnordered<impl Future<Output = FunctionName>>,
    busy: &mut HashMap<FunctionName, usize>,
) -> (T, bool) {
    let mut work = std::pin::pin!(work);
    let mut freed = false;
    loop {
        tokio::select! {
            done = &mut work => return (done, freed),
            Some(function) = calls.next(), if !calls.is_empty() => {
                ended(busy, &function);
                freed = true;
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn ended(busy: &mut HashMap<FunctionName, usize>, function: &FunctionName) {
    if let Some(calls) = busy.get_mut(function) {
        *calls -= 1;
        if *calls == 0 {
            busy.remove(function);
        }
    }
}
