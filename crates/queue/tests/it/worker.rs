//! The worker over a real store, with a clock that stands still and functions that do as they are told.

use crate::stores::{Store, invocation, keyed};
use async_trait::async_trait;
use daemon::stop::pair;
use daemon::{Clock, TestClock};
use jiff::Timestamp;
use queue::retry::{Delivery, RetryPolicy};
use queue::worker::{Config, Deliver, Worker};
use queue::{Counts, Invocation, Lease, Outcome, Queue, QueueError, Requeued, Sequence};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::{TempDir, tempdir};
use tokio::sync::Notify;
use wire::FunctionName;
use wire::call::{CallState, CallStatus};

/// Answers by function name: a status, or waits until let go.
#[derive(Clone, Default)]
struct Functions(Rc<Told>);

#[derive(Default)]
struct Told {
    answers: RefCell<HashMap<&'static str, Delivery>>,
    slow: RefCell<Vec<&'static str>>,
    let_go: Notify,
    calls: RefCell<Vec<(String, u32)>>,
    ended: RefCell<Vec<(String, Option<u16>)>>,
    running: RefCell<HashMap<String, usize>>,
}

impl Functions {
    fn answer(&self, function: &'static str, delivery: Delivery) {
        self.0.answers.borrow_mut().insert(function, delivery);
    }

    fn slow(&self, function: &'static str) {
        self.0.slow.borrow_mut().push(function);
    }

    fn calls(&self) -> Vec<(String, u32)> {
        self.0.calls.borrow().clone()
    }

    fn running(&self, function: &str) -> usize {
        self.0.running.borrow().get(function).copied().unwrap_or_default()
    }
}

fn status(status: u16) -> Delivery {
    Delivery { status: Some(status), ..Delivery::default() }
}

impl Deliver for Functions {
    fn policy(&self, _: &FunctionName, usual: &RetryPolicy) -> RetryPolicy {
        usual.clone()
    }

    async fn deliver(&self, lease: &Lease, _: u32) -> Delivery {
        let function = lease.invocation.function.name().to_owned();
        self.0.calls.borrow_mut().push((lease.invocation.call_id.clone(), lease.attempt));
        *self.0.running.borrow_mut().entry(function.clone()).or_default() += 1;
        let slow = self.0.slow.borrow().contains(&function.as_str());
        if slow {
            self.0.let_go.notified().await;
        }
        *self.0.running.borrow_mut().entry(function.clone()).or_default() -= 1;
        self.0.answers.borrow().get(function.as_str()).cloned().unwrap_or_else(|| status(200))
    }

    async fn ended(&self, lease: &Lease, delivery: &Delivery) {
        self.0.ended.borrow_mut().push((lease.invocation.call_id.clone(), delivery.status));
    }
}

struct Stage {
    _directory: TempDir,
    queue: Arc<dyn Queue>,
    clock: Arc<TestClock>,
    functions: Functions,
}

impl Stage {
    fn new() -> Self {
        let directory = tempdir().unwrap();
        let queue = Store::Sqlite.open(directory.path());
        let clock = Arc::new(TestClock::new(Timestamp::from_millisecond(10_000).unwrap()));
        Self { _directory: directory, queue, clock, functions: Functions::default() }
    }

    fn worker(&self, max_inflight: usize) -> Worker<Functions> {
        let config = Config { max_inflight, drain: Duration::from_millis(300), ..Config::default() };
        Worker::new(config, Arc::clone(&self.queue), self.clock.clone(), self.functions.clone())
    }

    /// Runs a worker beside `acts`, then stops it.
    async fn play(&self, max_inflight: usize, acts: impl AsyncFnOnce(&Self)) {
        let (stopper, stop) = pair();
        let worker = self.worker(max_inflight);
        tokio::join!(worker.run(stop), async {
            acts(self).await;
            stopper.stop();
        });
    }

    async fn push(&self, call_id: &str, function: &str) {
        self.queue.push(vec![invocation(call_id, function)]).await.unwrap();
    }

    async fn call(&self, call_id: &str) -> CallStatus {
        self.queue.call(call_id).await.unwrap().unwrap()
    }

    async fn until(&self, what: &str, so: impl AsyncFn(&Self) -> bool) {
        let begun = Instant::now();
        while !so(self).await {
            let calls = self.functions.calls();
            assert!(begun.elapsed() < Duration::from_secs(30), "not within 30 s: {what}; {:?}", calls.iter().take(20));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn until_state(&self, call_id: &str, state: CallState) -> CallStatus {
        self.until("the call's state", async |stage| stage.call(call_id).await.state == state).await;
        self.call(call_id).await
    }
}

#[tokio::test]
async fn what_is_pushed_is_delivered_once_and_ended_once() {
    let stage = Stage::new();
    stage.functions.answer("refusing", status(422));
    stage.push("before the start", "f").await;
    stage
        .play(4, async |stage| {
            stage.push("after", "refusing").await;
            stage.until_state("before the start", CallState::Done).await;
            let refused = stage.until_state("after", CallState::Done).await;
            assert_eq!(refused.status, Some(422), "a final answer is an answer");
        })
        .await;
    assert_eq!(stage.functions.calls().len(), 2);
    assert_eq!(stage.functions.0.ended.borrow().len(), 2);
    stage.queue.close().await;
}

#[tokio::test]
async fn failures_are_tried_again_with_growing_waits_until_given_up() {
    let stage = Stage::new();
    stage.functions.answer("down", status(503));
    stage
        .play(4, async |stage| {
            stage.push("a", "down").await;
            // 10, 20, 40, 80 seconds, then 120.
            for (attempt, wait) in [10, 20, 40, 80, 120, 120, 120, 120, 120].into_iter().enumerate() {
                let made = attempt + 1;
                stage.until("the attempt", async |stage| stage.functions.calls().len() == made).await;
                stage.until_state("a", CallState::Queued).await;
                stage.clock.advance(Duration::from_millis(wait * 1_000 - 1));
                assert_eq!(stage.functions.calls().len(), made, "not before its time");
                stage.clock.advance(Duration::from_millis(1));
            }
            let dead = stage.until_state("a", CallState::Dead).await;
            assert_eq!((dead.attempts, dead.status), (10, Some(503)));
        })
        .await;
    assert_eq!(*stage.functions.0.ended.borrow(), [("a".to_owned(), Some(503))]);
    stage.queue.close().await;
}

#[tokio::test]
async fn a_function_that_is_gone_makes_a_dead_letter_at_once() {
    let stage = Stage::new();
    let gone = Delivery { gone: true, reason: Some("no such function".to_owned()), ..Delivery::default() };
    stage.functions.answer("gone", gone);
    stage
        .play(4, async |stage| {
            stage.push("a", "gone").await;
            let dead = stage.until_state("a", CallState::Dead).await;
            assert_eq!((dead.attempts, dead.reason.as_deref()), (1, Some("no such function")));
        })
        .await;
    stage.queue.close().await;
}

#[tokio::test]
async fn slow_functions_leave_room_for_others() {
    let stage = Stage::new();
    stage.functions.slow("slow");
    stage.functions.slow("sluggish");
    for n in 0..60 {
        stage.push(&format!("slow {n}"), "slow").await;
    }
    stage
        .play(20, async |stage| {
            stage.until("its share", async |stage| stage.functions.running("slow") == 15).await;
            // One that ends makes room for one, not for all.
            for _ in 0..5 {
                stage.functions.0.let_go.notify_one();
            }
            stage.until("its share again", async |stage| stage.functions.calls().len() == 20).await;
            assert_eq!(stage.functions.running("slow"), 15);
            for n in 0..60 {
                stage.push(&format!("sluggish {n}"), "sluggish").await;
            }
            stage.until("a share", async |stage| stage.functions.running("sluggish") > 0).await;
            stage.push("quick", "quick").await;
            stage.until_state("quick", CallState::Done).await;
        })
        .await;
    stage.queue.close().await;
}

#[tokio::test]
async fn one_key_is_delivered_in_order_over_retries() {
    let stage = Stage::new();
    stage.functions.answer("ordered", status(500));
    stage
        .play(8, async |stage| {
            stage.queue.push((0..3).map(|n| keyed(&n.to_string(), "ordered", "k")).collect()).await.unwrap();
            stage.until("the first attempt", async |stage| stage.functions.calls().len() == 1).await;
            stage.until_state("0", CallState::Queued).await;
            stage.functions.answer("ordered", status(200));
            stage.clock.advance(Duration::from_secs(10));
            stage.until_state("2", CallState::Done).await;
        })
        .await;
    let order: Vec<_> = stage.functions.calls().into_iter().map(|(call_id, _)| call_id).collect();
    assert_eq!(order, ["0", "0", "1", "2"]);
    stage.queue.close().await;
}

#[tokio::test]
async fn a_stop_waits_for_calls_and_gives_back_what_does_not_end() {
    let stage = Stage::new();
    stage.functions.slow("slow");
    stage.push("a", "slow").await;
    stage.play(4, async |stage| stage.until("it runs", async |stage| stage.functions.running("slow") == 1).await).await;
    assert_eq!(stage.call("a").await.state, CallState::Running);
    stage.queue.close().await;
    let queue = Store::Sqlite.open(stage._directory.path());
    assert_eq!(queue.call("a").await.unwrap().unwrap().state, CallState::Queued);
    queue.close().await;
}

#[tokio::test]
async fn a_call_whose_last_attempt_never_ended_is_given_up() {
    let mut stage = Stage::new();
    stage.push("a", "f").await;
    for _ in 0..RetryPolicy::default().attempts {
        // As if the platform were killed in each of them.
        assert_eq!(stage.queue.lease(1, Vec::new(), stage.clock.unix_millis()).await.unwrap().len(), 1);
        stage.queue.close().await;
        stage.queue = Store::Sqlite.open(stage._directory.path());
    }
    let acts = async |stage: &Stage| {
        let dead = stage.until_state("a", CallState::Dead).await;
        assert!(dead.reason.is_some_and(|reason| reason.contains("the gateway ended during the last one")));
    };
    stage.play(4, acts).await;
    assert!(stage.functions.calls().is_empty());
    stage.queue.close().await;
}

#[tokio::test]
async fn nothing_is_delivered_while_the_worker_is_paused() {
    let stage = Stage::new();
    stage.push("a", "f").await;
    stage.play(0, async |stage| stage.push("b", "f").await).await;
    assert!(stage.functions.calls().is_empty());
    assert_eq!(stage.queue.counts().await.unwrap().pending, 2);
    stage.queue.close().await;
}

#[tokio::test]
async fn what_has_ended_is_forgotten_in_time() {
    let stage = Stage::new();
    stage.functions.answer("gone", Delivery { gone: true, ..Delivery::default() });
    stage
        .play(4, async |stage| {
            stage.push("done", "f").await;
            stage.push("dead", "gone").await;
            stage.until_state("done", CallState::Done).await;
            stage.until_state("dead", CallState::Dead).await;
        })
        .await;
    stage.clock.advance(Duration::from_secs(3_601));
    stage
        .play(4, async |stage| {
            stage.until("the done one is gone", async |stage| stage.queue.call("done").await.unwrap().is_none()).await;
            assert_eq!(stage.call("dead").await.state, CallState::Dead, "dead letters stay for a week");
        })
        .await;
    stage.clock.advance(Duration::from_secs(7 * 24 * 3_600));
    stage
        .play(4, async |stage| {
            stage.until("the dead one, too", async |stage| stage.queue.call("dead").await.unwrap().is_none()).await;
        })
        .await;
    stage.queue.close().await;
}

/// A queue whose disk is full, that always has more to forget, or something new to deliver, as long as it is told so.
struct Troubled {
    queue: Arc<dyn Queue>,
    full: AtomicBool,
    endless: AtomicBool,
    busy: AtomicBool,
}

impl Troubled {
    fn new(queue: &Arc<dyn Queue>) -> Arc<Self> {
        let [full, endless, busy] = [(); 3].map(|()| AtomicBool::default());
        Arc::new(Self { queue: Arc::clone(queue), full, endless, busy })
    }

    fn check(&self) -> Result<(), QueueError> {
        if self.full.load(Ordering::SeqCst) { Err(QueueError::Full("no space".to_owned())) } else { Ok(()) }
    }
}

#[async_trait]
impl Queue for Troubled {
    async fn push(&self, batch: Vec<Invocation>) -> Result<Vec<Sequence>, QueueError> {
        self.queue.push(batch).await
    }
    async fn lease(&self, limit: usize, full: Vec<FunctionName>, now: u64) -> Result<Vec<Lease>, QueueError> {
        self.check()?;
        if self.busy.load(Ordering::SeqCst) {
            self.queue.push(vec![invocation("next", "f")]).await?;
        }
        self.queue.lease(limit, full, now).await
    }
    async fn next_due(&self) -> Result<Option<u64>, QueueError> {
        self.queue.next_due().await
    }
    async fn bring_forward(&self, now: u64, longest: u64) -> Result<u64, QueueError> {
        self.check()?;
        self.queue.bring_forward(now, longest).await
    }
    async fn pushed(&self) {
        self.queue.pushed().await;
    }
    async fn finish(&self, sequence: Sequence, outcome: Outcome, now: u64) -> Result<(), QueueError> {
        self.check()?;
        self.queue.finish(sequence, outcome, now).await
    }
    async fn retry(&self, sequence: Sequence, outcome: Outcome, not_before: u64) -> Result<(), QueueError> {
        self.queue.retry(sequence, outcome, not_before).await
    }
    async fn bury(&self, sequence: Sequence, outcome: Outcome, now: u64) -> Result<(), QueueError> {
        self.queue.bury(sequence, outcome, now).await
    }
    async fn call(&self, call_id: &str) -> Result<Option<CallStatus>, QueueError> {
        self.queue.call(call_id).await
    }
    async fn dead_letters(&self, limit: usize) -> Result<Vec<CallStatus>, QueueError> {
        self.queue.dead_letters(limit).await
    }
    async fn requeue(&self, call_id: &str, now: u64) -> Result<Requeued, QueueError> {
        self.queue.requeue(call_id, now).await
    }
    async fn counts(&self) -> Result<Counts, QueueError> {
        self.queue.counts().await
    }
    async fn forget(&self, before: u64, dead_before: u64) -> Result<u64, QueueError> {
        let forgotten = self.queue.forget(before, dead_before).await?;
        Ok(forgotten + u64::from(self.endless.load(Ordering::SeqCst)))
    }
    async fn close(&self) {
        self.queue.close().await;
    }
}

#[tokio::test]
async fn a_full_disk_stops_the_worker_only_while_it_is_full() {
    let mut stage = Stage::new();
    let filling = Troubled::new(&stage.queue);
    filling.full.store(true, Ordering::SeqCst);
    stage.queue = filling.clone();
    stage.functions.slow("slow");
    stage
        .play(4, async |stage| {
            stage.push("a", "slow").await;
            filling.full.store(false, Ordering::SeqCst);
            stage.until("it runs", async |stage| stage.functions.running("slow") == 1).await;
            // It ends while nothing can be written.
            filling.full.store(true, Ordering::SeqCst);
            stage.functions.0.let_go.notify_one();
            stage.until("it has ended", async |stage| !stage.functions.0.ended.borrow().is_empty()).await;
            assert_eq!(stage.call("a").await.state, CallState::Running);
            filling.full.store(false, Ordering::SeqCst);
            stage.until_state("a", CallState::Done).await;
        })
        .await;
    assert_eq!(stage.functions.calls().len(), 1, "it is not delivered again");
    assert_eq!(stage.functions.0.ended.borrow().len(), 1);
    assert!(stage.clock.unix_millis() > 0);
    stage.queue.close().await;
}

#[tokio::test]
async fn what_there_is_to_forget_keeps_nobody_waiting() {
    let mut stage = Stage::new();
    let endless = Troubled::new(&stage.queue);
    endless.endless.store(true, Ordering::SeqCst);
    stage.queue = endless;
    stage
        .play(4, async |stage| {
            stage.push("a", "f").await;
            stage.until_state("a", CallState::Done).await;
            stage.push("b", "f").await;
            stage.until_state("b", CallState::Done).await;
        })
        .await;
    stage.queue.close().await;
}

#[tokio::test]
async fn what_has_ended_is_forgotten_however_much_there_is_to_deliver() {
    let mut stage = Stage::new();
    stage
        .play(4, async |stage| {
            stage.push("done", "f").await;
            stage.until_state("done", CallState::Done).await;
        })
        .await;
    stage.clock.advance(Duration::from_secs(3_601));
    let busy = Troubled::new(&stage.queue);
    busy.busy.store(true, Ordering::SeqCst);
    stage.queue = busy;
    stage
        .play(1_000, async |stage| {
            stage.until("it is gone", async |stage| stage.queue.call("done").await.unwrap().is_none()).await;
        })
        .await;
    stage.queue.close().await;
}

#[tokio::test]
async fn a_clock_set_back_holds_up_no_call() {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);
    let stage = Stage::new();
    let right = stage.clock.now();
    let accepted = async |stage: &Stage, call_id: &str, function: &str| {
        let accepted_at = stage.clock.unix_millis();
        stage.queue.push(vec![Invocation { accepted_at, ..invocation(call_id, function) }]).await.unwrap();
    };
    stage.functions.answer("down", status(503));
    stage.clock.advance(YEAR);
    // Set back while the platform was not running.
    accepted(&stage, "before the start", "f").await;
    stage.clock.set(right);
    stage
        .play(4, async |stage| {
            stage.until_state("before the start", CallState::Done).await;
            // And while it runs.
            stage.clock.advance(YEAR);
            accepted(stage, "tried", "down").await;
            stage.until("an attempt", async |stage| stage.functions.calls().len() == 2).await;
            stage.until_state("tried", CallState::Queued).await;
            stage.functions.answer("down", status(200));
            stage.clock.set(right);
            accepted(stage, "after", "f").await;
            stage.until_state("after", CallState::Done).await;
            stage.until_state("tried", CallState::Done).await;
        })
        .await;
    stage.queue.close().await;
}
