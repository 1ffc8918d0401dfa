//! More promises of [`queue::Queue`]: what a clock that was wrong does to what waits.

use crate::stores::Store::{Sled, Sqlite};
use crate::stores::{Store, invocation};
use crate::suite::{NOW, answered, failed, fresh, ids, lease};
use queue::Invocation;
use rstest::rstest;

#[rstest]
#[case(Sqlite)]
#[case(Sled)]
#[tokio::test]
async fn a_clock_that_was_set_back_holds_nothing_up(#[case] store: Store) {
    const YEAR: u64 = 365 * 24 * 3_600_000;
    let (_directory, queue) = fresh(store);
    let ahead = |call_id: &str, key: Option<&str>| Invocation {
        accepted_at: NOW + YEAR,
        key: key.map(str::to_owned),
        ..invocation(call_id, "f")
    };
    // Tried while the clock was right, and again while it was a year ahead.
    queue.push(vec![invocation("soon", "f"), invocation("late", "f")]).await.unwrap();
    let leases = lease(&queue, 2).await;
    queue.retry(leases[0].sequence, failed("later"), NOW + 100).await.unwrap();
    queue.retry(leases[1].sequence, failed("later"), NOW + YEAR).await.unwrap();
    queue.push(vec![ahead("fresh", None), ahead("first", Some("k")), ahead("behind", Some("k"))]).await.unwrap();
    assert!(lease(&queue, 10).await.is_empty());
    assert_eq!(queue.bring_forward(NOW, 100).await.unwrap(), 4, "all but the one that waits as long as it may");
    assert_eq!(queue.bring_forward(NOW, 100).await.unwrap(), 0);
    assert_eq!(queue.next_due().await.unwrap(), Some(NOW));
    let leases = lease(&queue, 10).await;
    assert_eq!(ids(&leases), ["late", "fresh", "first"]);
    queue.finish(leases[2].sequence, answered(200), NOW).await.unwrap();
    assert_eq!(ids(&lease(&queue, 10).await), ["behind"]);
    assert_eq!(ids(&queue.lease(10, Vec::new(), NOW + 100).await.unwrap()), ["soon"]);
    queue.close().await;
}
