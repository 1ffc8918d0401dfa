//! A disk fills up: the queue says so, keeps what it accepted, and works again when there is space.

use crate::store::{Kind, Store, body, invocation};
use e2e::power_cut::Disk;
use e2e::{eventually, skipped};
use queue::sqlite::Durability;
use queue::{Queue, QueueError};
use std::collections::HashSet;
use std::sync::Arc;

const DISK_BYTES: u64 = 192 << 20;
/// What takes the rest of the disk, and is deleted in the end.
const OTHERS_BYTES: usize = 64 << 20;
const BODY_BYTES: usize = 20_000;

/// Pushes until the disk is full; returns what was acknowledged.
async fn push_until_full(queue: &Arc<dyn Queue>, round: &str) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for count in 0..10_000 {
        let id = format!("{round}/{count}");
        match queue.push(vec![invocation(id.clone(), body(BODY_BYTES))]).await {
            Ok(_) => acknowledged.push(id),
            Err(QueueError::Full(_)) => return acknowledged,
            Err(error) => panic!("a full disk is called something else: {error}"),
        }
    }
    panic!("the disk took more than it has");
}

async fn fills_up_and_works_again(test: &str, kind: Kind) {
    let disk = match Disk::new(DISK_BYTES) {
        Ok(disk) => disk,
        Err(why) => return skipped(test, &why),
    };
    let others = disk.path().join("others");
    std::fs::write(&others, vec![1; OTHERS_BYTES]).unwrap();
    let Ok(Store::Queue(queue)) = kind.open(&disk.path(), Durability::Full) else { panic!("it opens") };
    let mut acknowledged = push_until_full(&queue, "first").await;
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    // Full again and again, also when many ask at once.
    let mut refused = tokio::task::JoinSet::new();
    for count in 0..32 {
        let queue = Arc::clone(&queue);
        refused.spawn(async move {
            let id = format!("refused/{count}");
            queue.push(vec![invocation(id.clone(), body(BODY_BYTES))]).await.map(|_| id)
        });
    }
    for answer in refused.join_all().await {
        match answer {
            // What was freed by giving up on a larger group may hold one more.
            Ok(id) => acknowledged.push(id),
            Err(error) => assert!(matches!(error, QueueError::Full(_)), "{error}"),
        }
    }
    std::fs::remove_file(others).unwrap();
    // Without opening it again.
    let mut tries = 0;
    eventually("the queue works again", || {
        tries += 1;
        let (queue, id) = (Arc::clone(&queue), format!("again/{tries}"));
        async move { queue.push(vec![invocation(id, body(BODY_BYTES))]).await }
    })
    .await;
    acknowledged.push(format!("again/{tries}"));
    for count in 0..100 {
        let id = format!("after/{count}");
        queue.push(vec![invocation(id.clone(), body(BODY_BYTES))]).await.unwrap();
        acknowledged.push(id);
    }
    queue.close().await;
    let store = kind.open(&disk.path(), Durability::Full).unwrap();
    let kept = store.kept(BODY_BYTES).await.unwrap();
    store.close().await;
    let acknowledged: HashSet<_> = acknowledged.into_iter().collect();
    let lost = acknowledged.difference(&kept).count();
    let refused: Vec<_> = kept.difference(&acknowledged).collect();
    assert_eq!(lost, 0, "of {}", acknowledged.len());
    assert!(refused.is_empty(), "refused, and kept all the same: {refused:?}");
}

#[tokio::test]
async fn the_sqlite_queue_says_that_the_disk_is_full_and_works_again() {
    fills_up_and_works_again("the_sqlite_queue_says_that_the_disk_is_full_and_works_again", Kind::SqliteQueue).await;
}

#[tokio::test]
async fn the_sled_queue_says_that_the_disk_is_full_and_works_again() {
    fills_up_and_works_again("the_sled_queue_says_that_the_disk_is_full_and_works_again", Kind::SledQueue).await;
}
