//! Every promise of [`queue::Queue`], asked of every store.

use crate::stores::Store::{Sled, Sqlite};
use crate::stores::{Store, invocation, keyed, raw_sled};
use proptest::prelude::*;
use queue::{Counts, Invocation, Lease, Outcome, Queue, QueueError, Source, TraceContext};
use rstest::rstest;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tempfile::{TempDir, tempdir};
use wire::call::CallState;

pub(crate) const NOW: u64 = 2_000;

pub(crate) fn fresh(store: Store) -> (TempDir, Arc<dyn Queue>) {
    let directory = tempdir().unwrap();
    let queue = store.open(directory.path());
    (directory, queue)
}

pub(crate) fn ids(leases: &[Lease]) -> Vec<&str> {
    leases.iter().map(|lease| lease.invocation.call_id.as_str()).collect()
}

pub(crate) async fn lease(queue: &Arc<dyn Queue>, limit: usize) -> Vec<Lease> {
    queue.lease(limit, Vec::new(), NOW).await.unwrap()
}

pub(crate) fn answered(status: u16) -> Outcome {
    Outcome { status: Some(status), reason: None }
}

pub(crate) fn failed(reason: &str) -> Outcome {
    Outcome { status: None, reason: Some(reason.to_owned()) }
}

#[rstest]
#[case(Sqlite)]
#[case(Sled)]
#[tokio::test]
async fn what_was_pushed_comes_out_whole_and_in_order(#[case] store: Store) {
    let (_directory, queue) = fresh(store);
    let whole = Invocation {
        method: "PUT".to_owned(),
        path_and_query: "/a%2Fb?c=d&e".to_owned(),
        headers: vec![("X-A".to_owned(), vec![0, 255, 10]), ("x-a".to_owned(), Vec::new())],
        body: vec![0; 70_000].into(),
        callback_url: Some("http://there/".to_owned()),
        trace: Some(TraceContext { traceparent: "00-1-2-01".to_owned(), tracestate: "a=b".to_owned() }),
        source: Source::Mqtt,
        key: Some("shelf 4".to_owned()),
        ..invocation("first", "order.shop")
    };
    let sequences = queue.push(vec![whole.clone(), invocation("second", "order.shop")]).await.unwrap();
    let third = queue.push(vec![invocation("third", "order.shop")]).await.unwrap();
    assert!(sequences.iter().chain(&third).is_sorted_by(|a, b| a < b), "{sequences:?} {third:?}");
    let leases = lease(&queue, 10).await;
    assert_eq!(ids(&leases), ["first", "second", "third"]);
    assert_eq!(leases[0], Lease { sequence: sequences[0], attempt: 1, invocation: whole });
    queue.close().await;
}

#[rstest]
#[case(Sqlite)]
#[case(Sled)]
#[tokio::test]
async fn the_oldest_are_taken_first_and_none_twice(#[case] store: Store) {
    let (_directory, queue) = fresh(store);
    queue.push((0..5).map(|n| invocation(&n.to_string(), "f")).collect()).await.unwrap();
    assert_eq!(ids(&lease(&queue, 2).await), ["0", "1"]);
    assert_eq!(ids(&lease(&queue, 2).await), ["2", "3"]);
    assert_eq!(ids(&lease(&queue, 2).await), ["4"]);
    assert!(lease(&queue, 2).await.is_empty());
    queue.close().await;
}

#[rstest]
#[case(Sqlite)]
#[case(Sled)]
#[tokio::test]
async fn functions_share_the_limit_and_full_ones_get_nothing(#[case] store: Store) {
    let (_directory, queue) = fresh(store);
    queue.push((0..100).map(|n| invocation(&format!("slow {n}"), "slow")).collect()).await.unwrap();
    queue.push((0..3).map(|n| invocation(&format!("quick {n}"), "quick")).collect()).await.unwrap();
    let leases = lease(&queue, 10).await;
    let quick = leases.iter().filter(|lease| lease.invocation.function.name() == "quick").count();
    assert_eq!((leases.len(), quick), (10, 3));
    let none = queue.lease(10, vec!["slow".parse().unwrap()], NOW).await.unwrap();
    assert!(none.is_empty(), "{none:?}");
    queue.close().await;
}

#[rstest]
#[case(Sqlite)]
#[case(Sled)]
#[tokio::test]
async fn what_goes_back_comes_again_when_it_is_due(#[case] store: Store) {
    let (_directory, queue) = fresh(store);
    assert_eq!(queue.next_due().await.unwrap(), None);
    queue.push(vec![invocation("a", "f")]).await.unwrap();
    assert_eq!(queue.next_due().await.unwrap(), Some(1_000));
    assert!(queue.lease(1, Vec::new(), 999).await.unwrap().is_empty(), "it is not due yet");
    let first = lease(&queue, 1).await;
    assert_eq!(queue.next_due().await.unwrap(), None);
    queue.retry(first[0].sequence, failed("no answer"), 9_000).await.unwrap();
    assert_eq!(queue.next_due().await.unwrap(), Some(9_000));
    let status = queue.call("a").await.unwrap().unwrap();
    assert_eq!((status.state, status.attempts), (CallState::Queued, 1));
    assert_eq!(status.reason.as_deref(), Some("no answer"));
    assert_eq!(status.not_before.as_deref(), Some("1970-01-01T00:00:09Z"));
    assert!(queue.lease(1, Vec::new(), 8_999).await.unwrap().is_empty());
    let second = queue.lease(1, Vec::new(), 9_000).await.unwrap();
    assert_eq!((second[0].sequence, second[0].attempt), (first[0].sequence, 2));
    queue.close().await;
}

#[rstest]
#[case(Sqlite)]
#[case(Sled)]
#[tokio::test]
async fn one_key_runs_one_after_another(#[case] store: Store) {
    let (_directory, queue) = fresh(store);
    queue.push(vec![keyed("1", "f", "k"), keyed("2", "f", "k"), keyed("other key", "f", "l")]).await.unwrap();
    queue.push(vec![keyed("3", "f", "k"), keyed("other function", "g", "k"), invocation("no key", "f")]).await.unwrap();
    let mut taken = lease(&queue, 10).await;
    taken.sort_by_key(|lease| lease.sequence);
    assert_eq!(ids(&taken), ["1", "other key", "other function", "no key"]);
    // One that is tried again still goes before those behind it.
    queue.retry(taken[0].sequence, failed("later"), 5_000).await.unwrap();
    assert!(lease(&queue, 10).await.is_empty());
    let again = queue.lease(10, Vec::new(), 5_000).await.unwrap();
    assert_eq!(ids(&again), ["1"]);
    queue.finish(again[0].sequence, answered(200), NOW).await.unwrap();
    let second = lease(&queue, 10).await;
    assert_eq!(ids(&second), ["2"]);
    // One that is given up lets the next go.
    queue.bury(second[0].sequence, failed("gone"), NOW).await.unwrap();
    let third = lease(&queue, 10).await;
    assert_eq!(ids(&third), ["3"]);
    queue.finish(third[0].sequence, answered(200), NOW).await.unwrap();
    queue.push(vec![keyed("4", "f", "k")]).await.unwrap();
    assert_eq!(ids(&lease(&queue, 10).await), ["4"]);
    queue.close().await;
}

#[rstest]
#[case(Sqlite)]
#[case(Sled)]
#[tokio::test]
async fn leases_end_with_the_process_and_their_attempt_counts(#[case] store: Store) {
    let (directory, queue) = fresh(store);
    queue.push(vec![keyed("a", "f", "k"), keyed("b", "f", "k"), invocation("c", "f")]).await.unwrap();
    assert_eq!(ids(&lease(&queue, 1).await), ["a"]);
    assert_eq!(queue.call("a").await.unwrap().unwrap().state, CallState::Running);
    queue.close().await;
    let queue = store.open(directory.path());
    assert_eq!(queue.counts().await.unwrap(), Counts { pending: 3, dead: 0 });
    let leases = lease(&queue, 10).await;
    assert_eq!(ids(&leases), ["a", "c"], "the key's order outlives the process too");
    assert_eq!(leases[0].attempt, 2);
    queue.close().await;
}

#[rstest]
#[case(Sqlite)]
#[case(Sled)]
#[tokio::test]
async fn a_call_can_be_followed_to_its_end(#[case] store: Store) {
    let (directory, queue) = fresh(store);
    assert_eq!(queue.call("a").await.unwrap(), None);
    queue.push(vec![invocation("a", "order.shop")]).await.unwrap();
    let queued = queue.call("a").await.unwrap().unwrap();
    assert_eq!((queued.state, queued.attempts), (CallState::Queued, 0));
    assert_eq!((queued.function.as_str(), queued.accepted_at.as_str()), ("order.shop", "1970-01-01T00:00:01Z"));
    let leases = lease(&queue, 1).await;
    assert_eq!(queue.call("a").await.unwrap().unwrap().state, CallState::Running);
    queue.finish(leases[0].sequence, answered(201), 3_000).await.unwrap();
    queue.close().await;
    let queue = store.open(directory.path());
    let done = queue.call("a").await.unwrap().unwrap();
    assert_eq!((done.state, done.status, done.attempts), (CallState::Done, Some(201), 1));
    assert_eq!(done.finished_at.as_deref(), Some("1970-01-01T00:00:03Z"));
    assert_eq!(done.not_before, None);
    assert_eq!(queue.counts().await.unwrap(), Counts::default());
    queue.close().await;
}

#[rstest]
#[case(Sqlite)]
#[case(Sled)]
#[tokio::test]
async fn a_call_id_used_again_means_the_newest(#[case] store: Store) {
    let (_directory, queue) = fresh(store);
    for function in ["one", "two"] {
        queue.push(vec![invocation("same", function)]).await.unwrap();
    }
    assert_eq!(queue.call("same").await.unwrap().unwrap().function, "two.openfaas-fn");
    // The beginning of an id is another id.
    assert_eq!(queue.call("sam").await.unwrap(), None);
    assert_eq!(lease(&queue, 10).await.len(), 2);
    queue.close().await;
}

#[rstest]
#[case(Sqlite)]
#[case(Sled)]
#[tokio::test]
async fn sequences_are_not_used_again_after_all_is_forgotten(#[case] store: Store) {
    let (directory, queue) = fresh(store);
    let before = queue.push(vec![invocation("a", "f")]).await.unwrap();
    lease(&queue, 1).await;
    queue.finish(before[0], answered(200), NOW).await.unwrap();
    assert_eq!(queue.forget(u64::MAX, u64::MAX).await.unwrap(), 1);
    queue.close().await;
    let queue = store.open(directory.path());
    let after = queue.push(vec![invocation("b", "f")]).await.unwrap();
    assert!(after > before, "{after:?} {before:?}");
    queue.close().await;
}

#[rstest]
#[case(Sqlite)]
#[case(Sled)]
#[tokio::test]
async fn what_has_ended_cannot_end_again_or_go_back(#[case] store: Store) {
    let (_directory, queue) = fresh(store);
    let sequence = queue.push(vec![invocation("a", "f")]).await.unwrap()[0];
    lease(&queue, 1).await;
    queue.finish(sequence, answered(200), 3_000).await.unwrap();
    queue.bury(sequence, failed("late"), 4_000).await.unwrap();
    queue.retry(sequence, failed("late"), 4_000).await.unwrap();
    queue.finish(u64::from(u32::MAX), answered(200), 4_000).await.unwrap();
    let call = queue.call("a").await.unwrap().unwrap();
    assert_eq!((call.state, call.status), (CallState::Done, Some(200)));
    assert_eq!(queue.counts().await.unwrap(), Counts::default());
    assert!(lease(&queue, 1).await.is_empty());
    queue.close().await;
}

#[rstest]
#[case(Sqlite)]
#[case(Sled)]
#[tokio::test]
async fn bodies_of_a_mebibyte_and_of_nothing_are_kept(#[case] store: Store) {
    let (directory, queue) = fresh(store);
    let sizes = [0, 1, 4_096, 65_536, 1 << 20, (1 << 20) + 7];
    let sized = |size: usize| Invocation {
        body: (0..size).map(|byte| (byte % 251) as u8).collect::<Vec<_>>().into(),
        ..invocation(&size.to_string(), "f")
    };
    queue.push(sizes.map(sized).to_vec()).await.unwrap();
    queue.close().await;
    let queue = store.open(directory.path());
    let leases = lease(&queue, 10).await;
    assert_eq!(leases.len(), sizes.len());
    for (lease, size) in leases.iter().zip(sizes) {
        assert!(lease.invocation == sized(size), "the one of {size} bytes differs");
    }
    queue.close().await;
}

#[rstest]
#[case(Sqlite)]
#[case(Sled)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_push_and_take_at_once_and_each_is_taken_once(#[case] store: Store) {
    const PRODUCERS: usize = 32;
    const EACH: usize = 20;
    let (_directory, queue) = fresh(store);
    let mut producers = tokio::task::JoinSet::new();
    for producer in 0..PRODUCERS {
        let queue = Arc::clone(&queue);
        producers.spawn(async move {
            for n in 0..EACH {
                queue.push(vec![invocation(&format!("{producer}/{n}"), &format!("f{}", producer % 3))]).await.unwrap();
            }
        });
    }
    let mut takers = tokio::task::JoinSet::new();
    let taken = Arc::new(std::sync::Mutex::new(Vec::new()));
    for _ in 0..4 {
        let (queue, taken) = (Arc::clone(&queue), Arc::clone(&taken));
        takers.spawn(async move {
            while taken.lock().unwrap().len() < PRODUCERS * EACH {
                for lease in lease(&queue, 7).await {
                    taken.lock().unwrap().push(lease.invocation.call_id);
                    queue.finish(lease.sequence, answered(200), NOW).await.unwrap();
                }
            }
        });
    }
    producers.join_all().await;
    tokio::time::timeout(Duration::from_secs(60), takers.join_all()).await.unwrap();
    let taken = taken.lock().unwrap().clone();
    assert_eq!(taken.len(), PRODUCERS * EACH);
    assert_eq!(taken.iter().collect::<HashSet<_>>().len(), taken.len(), "some were taken twice");
    assert_eq!(queue.counts().await.unwrap(), Counts::default());
    queue.close().await;
}

#[rstest]
#[case(Sqlite)]
#[case(Sled)]
#[tokio::test]
async fn a_push_and_the_end_of_a_key_wake_who_waits(#[case] store: Store) {
    let (_directory, queue) = fresh(store);
    let soon = Duration::from_secs(30);
    let pushed = |queue: &Arc<dyn Queue>| {
        let queue = Arc::clone(queue);
        tokio::spawn(async move { tokio::time::timeout(soon, queue.pushed()).await })
    };
    let waiter = pushed(&queue);
    queue.push(vec![keyed("1", "f", "k"), keyed("2", "f", "k")]).await.unwrap();
    waiter.await.unwrap().unwrap();
    let first = lease(&queue, 1).await;
    queue.finish(first[0].sequence, answered(200), NOW).await.unwrap();
    pushed(&queue).await.unwrap().unwrap();
    assert_eq!(ids(&lease(&queue, 1).await), ["2"]);
    queue.close().await;
}

#[rstest]
#[case(Sqlite)]
#[case(Sled)]
#[tokio::test]
async fn a_closed_queue_says_so_and_opens_again(#[case] store: Store) {
    let (directory, queue) = fresh(store);
    queue.push(vec![invocation("a", "f")]).await.unwrap();
    queue.close().await;
    queue.close().await;
    assert!(matches!(queue.push(vec![invocation("b", "f")]).await, Err(QueueError::Closed)));
    assert!(matches!(queue.lease(1, Vec::new(), NOW).await, Err(QueueError::Closed)));
    let queue = store.open(directory.path());
    assert_eq!(ids(&lease(&queue, 10).await), ["a"]);
    queue.close().await;
}

#[rstest]
#[case(Sqlite)]
#[case(Sled)]
#[tokio::test]
async fn a_store_of_another_version_is_refused(#[case] store: Store) {
    let (directory, queue) = fresh(store);
    queue.close().await;
    match store {
        Sqlite => {
            let file = directory.path().join("queue.sqlite");
            rusqlite::Connection::open(file).unwrap().pragma_update(None, "user_version", 99).unwrap();
        }
        Sled => {
            let db = raw_sled(directory.path());
            db.insert("mversion", "99").unwrap();
            db.flush().unwrap();
        }
    }
    let error = store.try_open(directory.path()).err().unwrap().to_string();
    assert!(error.contains("99") && error.contains("this version of crema reads"), "{error}");
}

/// sled never gives space back.
#[tokio::test]
async fn sqlite_gives_the_space_of_what_is_forgotten_back() {
    const COUNT: usize = 80;
    let (directory, queue) = fresh(Sqlite);
    let large = |n: usize| Invocation { body: vec![7; 1 << 19].into(), ..invocation(&n.to_string(), "f") };
    queue.push((0..COUNT).map(large).collect()).await.unwrap();
    for lease in lease(&queue, COUNT).await {
        queue.finish(lease.sequence, answered(200), NOW).await.unwrap();
    }
    for _ in 0..10 {
        queue.forget(u64::MAX, u64::MAX).await.unwrap();
    }
    queue.close().await;
    let left = std::fs::metadata(directory.path().join("queue.sqlite")).unwrap().len();
    assert!(left < 12 << 20, "{left} bytes of {} are still taken", COUNT << 19);
}

/// What may be asked of a queue, in any order.
#[derive(Clone, Debug)]
enum Step {
    Push(Option<u8>),
    Lease(usize),
    Finish,
    Retry,
    Bury,
    Requeue(u8),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::option::of(0..3u8).prop_map(Step::Push),
        3 => (1..4usize).prop_map(Step::Lease),
        3 => Just(Step::Finish),
        2 => Just(Step::Retry),
        2 => Just(Step::Bury),
        1 => (1..20u8).prop_map(Step::Requeue),
        1 => Just(Step::Reopen),
    ]
}

/// Both stores, the same steps, the same leases.
async fn same_leases(steps: &[Step]) {
    let mut logs = Vec::new();
    for store in [Sqlite, Sled] {
        let (directory, mut queue) = fresh(store);
        let (mut held, mut log, mut count) = (Vec::<Lease>::new(), Vec::new(), 0);
        for step in steps {
            match step {
                Step::Push(key) => {
                    count += 1;
                    let key = key.map(|key| key.to_string());
                    queue.push(vec![Invocation { key, ..invocation(&count.to_string(), "f") }]).await.unwrap();
                }
                Step::Lease(limit) => {
                    let leases = lease(&queue, *limit).await;
                    log.extend(leases.iter().map(|lease| (lease.invocation.call_id.clone(), lease.attempt)));
                    held.extend(leases);
                }
                Step::Finish if !held.is_empty() => {
                    queue.finish(held.remove(0).sequence, answered(200), NOW).await.unwrap();
                }
                Step::Retry if !held.is_empty() => {
                    queue.retry(held.remove(0).sequence, failed("again"), NOW).await.unwrap();
                }
                Step::Bury if !held.is_empty() => {
                    queue.bury(held.remove(0).sequence, failed("dead"), NOW).await.unwrap();
                }
                Step::Requeue(call_id) => {
                    let requeued = queue.requeue(&call_id.to_string(), NOW).await.unwrap();
                    log.push((format!("{requeued:?}"), 0));
                }
                Step::Reopen => {
                    queue.close().await;
                    held.clear();
                    queue = store.open(directory.path());
                }
                _ => {}
            }
            let busy: HashSet<_> = held.iter().filter_map(|lease| lease.invocation.key.clone()).collect();
            assert_eq!(busy.len(), held.iter().filter(|lease| lease.invocation.key.is_some()).count(), "{log:?}");
        }
        log.push((format!("{:?}", queue.counts().await.unwrap()), 0));
        queue.close().await;
        logs.push(log);
    }
    assert_eq!(logs[0], logs[1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn both_stores_answer_any_steps_alike(steps in proptest::collection::vec(step(), 0..40)) {
        tokio::runtime::Runtime::new().unwrap().block_on(same_leases(&steps));
    }
}
