//! More promises of [`queue::Queue`]: what was given up is kept and can begin anew.

use crate::stores::Store::{Sled, Sqlite};
use crate::stores::{Store, invocation, keyed, raw_sled};
use crate::suite::{NOW, answered, failed, fresh, ids, lease};
use queue::{Counts, Invocation, MOST_DEAD_BYTES, Queue, Requeued};
use rstest::rstest;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use wire::call::CallState;

#[rstest]
#[case(Sqlite)]
#[case(Sled)]
#[tokio::test]
async fn dead_letters_are_kept_newest_first_and_forgotten_in_time(#[case] store: Store) {
    let (_directory, queue) = fresh(store);
    queue.push((0..4).map(|n| invocation(&n.to_string(), "f")).collect()).await.unwrap();
    let leases = lease(&queue, 4).await;
    for (lease, at) in leases[..3].iter().zip([3_000, 4_000, 5_000]) {
        queue.bury(lease.sequence, failed("no such function"), at).await.unwrap();
    }
    queue.finish(leases[3].sequence, answered(200), 3_000).await.unwrap();
    assert_eq!(queue.counts().await.unwrap(), Counts { pending: 0, dead: 3 });
    let dead = queue.dead_letters(2).await.unwrap();
    assert_eq!(dead.iter().map(|call| call.call_id.as_str()).collect::<Vec<_>>(), ["2", "1"]);
    assert_eq!((dead[0].state, dead[0].reason.as_deref()), (CallState::Dead, Some("no such function")));
    assert_eq!(queue.forget(3_000, 3_000).await.unwrap(), 0, "those of that time are not older");
    assert_eq!(queue.forget(3_001, 4_001).await.unwrap(), 3);
    assert_eq!(queue.call("3").await.unwrap(), None);
    assert_eq!(queue.counts().await.unwrap(), Counts { pending: 0, dead: 1 });
    assert_eq!(queue.dead_letters(10).await.unwrap().len(), 1);
    queue.close().await;
}

#[rstest]
#[case(Sqlite)]
#[case(Sled)]
#[tokio::test]
async fn a_dead_letter_is_kept_whole_and_begins_anew(#[case] store: Store) {
    let (directory, queue) = fresh(store);
    let whole = Invocation { body: vec![7; 70_000].into(), ..invocation("dead", "f") };
    queue.push(vec![whole.clone(), invocation("done", "f"), invocation("waits", "f")]).await.unwrap();
    let leases = lease(&queue, 2).await;
    queue.bury(leases[0].sequence, failed("no answer"), 3_000).await.unwrap();
    queue.finish(leases[1].sequence, answered(200), 3_000).await.unwrap();
    queue.close().await;
    let queue = store.open(directory.path());
    for (call_id, expected) in
        [("nobody", Requeued::Unknown), ("done", Requeued::NotDead), ("waits", Requeued::NotDead)]
    {
        assert_eq!(queue.requeue(call_id, NOW).await.unwrap(), expected, "{call_id}");
    }
    assert_eq!(queue.requeue("dead", 5_000).await.unwrap(), Requeued::Queued);
    assert_eq!(queue.requeue("dead", 5_000).await.unwrap(), Requeued::NotDead, "once is enough");
    assert_eq!(queue.counts().await.unwrap(), Counts { pending: 2, dead: 0 });
    assert!(queue.dead_letters(10).await.unwrap().is_empty());
    let status = queue.call("dead").await.unwrap().unwrap();
    assert_eq!((status.state, status.attempts, status.reason), (CallState::Queued, 0, None));
    assert_eq!(queue.forget(u64::MAX, u64::MAX).await.unwrap(), 1, "only the one that is done");
    assert_eq!(ids(&lease(&queue, 10).await), ["waits"]);
    let again = queue.lease(10, Vec::new(), 5_000).await.unwrap();
    assert_eq!((again[0].attempt, &again[0].invocation), (1, &whole));
    queue.close().await;
}

#[rstest]
#[case(Sqlite)]
#[case(Sled)]
#[tokio::test]
async fn a_dead_letter_that_begins_anew_wakes_who_waits_and_goes_behind_the_others_of_its_key(#[case] store: Store) {
    let (directory, queue) = fresh(store);
    queue.push(vec![keyed("1", "f", "k"), keyed("2", "f", "k"), keyed("3", "f", "k")]).await.unwrap();
    let first = lease(&queue, 1).await;
    queue.bury(first[0].sequence, failed("gone"), 3_000).await.unwrap();
    queue.pushed().await;
    let second = lease(&queue, 10).await;
    assert_eq!(queue.requeue("1", NOW).await.unwrap(), Requeued::Queued);
    tokio::time::timeout(Duration::from_secs(30), queue.pushed()).await.unwrap();
    assert!(lease(&queue, 10).await.is_empty(), "one after another");
    queue.finish(second[0].sequence, answered(200), NOW).await.unwrap();
    queue.close().await;
    let queue = store.open(directory.path());
    for call_id in ["3", "1"] {
        let leases = lease(&queue, 10).await;
        assert_eq!(ids(&leases), [call_id]);
        queue.finish(leases[0].sequence, answered(200), NOW).await.unwrap();
    }
    queue.close().await;
}

#[rstest]
#[case(Sqlite)]
#[case(Sled)]
#[tokio::test]
async fn a_dead_letter_of_a_version_that_kept_no_body_says_so_and_none_outlives_its_letter(#[case] store: Store) {
    let (directory, queue) = fresh(store);
    queue.push(vec![invocation("old", "f")]).await.unwrap();
    let leases = lease(&queue, 1).await;
    queue.bury(leases[0].sequence, failed("gone"), 3_000).await.unwrap();
    queue.close().await;
    assert_eq!(without_bodies(store, &directory), 1);
    let queue = store.open(directory.path());
    assert_eq!(queue.requeue("old", NOW).await.unwrap(), Requeued::NotKept);
    assert_eq!(queue.call("old").await.unwrap().unwrap().state, CallState::Dead);
    queue.push((0..100).map(|n| invocation(&n.to_string(), "f")).collect()).await.unwrap();
    for lease in lease(&queue, 100).await {
        queue.bury(lease.sequence, failed("gone"), 3_000).await.unwrap();
    }
    while queue.forget(u64::MAX, u64::MAX).await.unwrap() > 0 {}
    assert_eq!(queue.counts().await.unwrap(), Counts::default());
    assert_eq!(queue.requeue("old", NOW).await.unwrap(), Requeued::Unknown);
    queue.close().await;
    assert_eq!(without_bodies(store, &directory), 0, "bodies are forgotten, too");
}

/// Takes all bodies out of a closed store; how many there were.
fn without_bodies(store: Store, directory: &TempDir) -> usize {
    match store {
        Sqlite => {
            let file = directory.path().join("queue.sqlite");
            let emptied = "UPDATE invocation SET record = NULL WHERE record IS NOT NULL";
            rusqlite::Connection::open(file).unwrap().execute(emptied, []).unwrap()
        }
        Sled => {
            let db = raw_sled(directory.path());
            let bodies: Vec<_> = db.scan_prefix("r").keys().map(Result::unwrap).collect();
            for key in &bodies {
                db.remove(key).unwrap();
            }
            db.flush().unwrap();
            bodies.len()
        }
    }
}

#[rstest]
#[case(Sqlite)]
#[case(Sled)]
#[tokio::test]
async fn the_oldest_dead_letters_go_when_all_hold_too_much(#[case] store: Store) {
    let (directory, queue) = fresh(store);
    give_up_large_ones(&queue, 0..6).await;
    queue.close().await;
    let queue = store.open(directory.path());
    assert_eq!(kept(&queue).await, ["5", "4", "3"]);
    assert_eq!(queue.requeue("4", NOW).await.unwrap(), Requeued::Queued);
    let leases = lease(&queue, 1).await;
    queue.finish(leases[0].sequence, answered(200), NOW).await.unwrap();
    give_up_large_ones(&queue, 6..7).await;
    assert_eq!(kept(&queue).await, ["6", "5", "3"], "there was room for one");
    give_up_large_ones(&queue, 7..8).await;
    assert_eq!(kept(&queue).await, ["7", "6", "5"]);
    assert_eq!(queue.counts().await.unwrap(), Counts { pending: 0, dead: 3 });
    queue.close().await;
}

/// Dead letters of which three have room.
async fn give_up_large_ones(queue: &Arc<dyn Queue>, numbers: Range<u64>) {
    for number in numbers {
        let body = vec![7; MOST_DEAD_BYTES as usize / 4 + 1].into();
        queue.push(vec![Invocation { body, ..invocation(&number.to_string(), "f") }]).await.unwrap();
        let leases = lease(queue, 1).await;
        queue.bury(leases[0].sequence, failed("no answer"), 3_000 + number).await.unwrap();
    }
}

/// The dead letters, the newest first, once nothing more is to be forgotten.
async fn kept(queue: &Arc<dyn Queue>) -> Vec<String> {
    while queue.forget(0, 0).await.unwrap() > 0 {}
    queue.dead_letters(10).await.unwrap().into_iter().map(|call| call.call_id).collect()
}
