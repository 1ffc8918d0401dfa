//! The process dies at every step of every way an order can go, and the next one takes it to the same end.

use crate::till::{Process, Till, order};
use crate::world::{Fault, Rules, State, World};
use function_sdk::testing::block_on;
use order::Orders;
use serde_json::{Value, json};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// A way an order can go.
struct Way {
    name: &'static str,
    rules: Rules,
    body: Value,
    status: u16,
}

fn ways() -> [Way; 7] {
    let rules = Rules::default;
    let good = || order("a", "cheesecake", 2, "tok_visa");
    [
        Way { name: "confirmed", rules: rules(), body: good(), status: 201 },
        Way { name: "out of stock", rules: rules(), body: order("a", "cheesecake", 9, "tok_visa"), status: 409 },
        Way { name: "declined", rules: rules(), body: order("a", "cheesecake", 2, "tok_none"), status: 402 },
        Way { name: "capture declined", rules: Rules { capture_declined: true, ..rules() }, body: good(), status: 402 },
        Way { name: "expired once", rules: Rules { expiring: 1, ..rules() }, body: good(), status: 201 },
        Way { name: "expired always", rules: Rules { expiring: 99, ..rules() }, body: good(), status: 409 },
        Way {
            name: "expired and sold out",
            rules: Rules { expiring: 1, sold_out_on_expiry: true, ..rules() },
            body: good(),
            status: 409,
        },
    ]
}

/// How it goes when nothing dies.
async fn undisturbed(way: &Way) -> (Value, State) {
    let world = World::new(way.rules.clone());
    let till = Till::new(&world);
    let (status, body) = till.open().post(&way.body).await;
    assert_eq!(status, way.status, "{}: {body}", way.name);
    (body, world.state())
}

/// Whether the order, left as it was by a process that died, gets to the same end by a sweep, and a repeat to the same
/// answer.
async fn ends_alike(way: &Way, process: &Process, world: &World, end: &(Value, State), what: &str) {
    let known = process.get("/a").await.0 == 200;
    process.sweep().await;
    if known {
        assert_eq!(process.get("/a").await, (200, end.0.clone()), "{}, {what}", way.name);
        assert_eq!(world.state(), end.1, "{}, {what}", way.name);
    }
    assert_eq!(process.post(&way.body).await, (way.status, end.0.clone()), "{}, {what}", way.name);
    assert_eq!(world.state(), end.1, "{}, {what}", way.name);
    assert!(world.state().stock.values().all(|(_, reserved)| *reserved == 0), "{}, {what}", way.name);
}

#[test]
fn a_death_before_or_after_any_call_changes_nothing_of_the_end() {
    block_on(async {
        for way in ways() {
            let end = undisturbed(&way).await;
            let mut deaths = 0;
            for fault in (0..40).flat_map(|call| [Fault::DieBefore(call), Fault::DieAfter(call)]) {
                let world = World::new(way.rules.clone());
                let till = Till::new(&world);
                let process = till.open();
                world.expect(fault);
                let died = tokio::select! {
                    () = world.death() => true,
                    _ = process.post(&way.body) => false,
                };
                drop(process);
                if !died {
                    break;
                }
                deaths += 1;
                world.heal();
                ends_alike(&way, &till.open(), &world, &end, &format!("{fault:?}")).await;
            }
            assert!(deaths >= 4, "{}: died {deaths} times", way.name);
        }
    });
}

#[test]
fn a_death_at_any_await_changes_nothing_of_the_end() {
    block_on(async {
        for way in ways() {
            let end = undisturbed(&way).await;
            for polls in 1.. {
                let world = World::new(way.rules.clone());
                let till = Till::new(&world);
                let process = till.open();
                let ended = poll_at_most(process.post(&way.body), polls).await;
                drop(process);
                ends_alike(&way, &till.open(), &world, &end, &format!("after {polls} polls")).await;
                if ended {
                    break;
                }
            }
        }
    });
}

/// Drops `future` after so many polls; says whether it ended by then.
async fn poll_at_most(future: impl Future, polls: u32) -> bool {
    let (mut future, mut left) = (pin!(future), polls);
    poll_fn(|context| {
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if left == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[test]
fn a_start_takes_up_what_was_left_pending() {
    block_on(async {
        let world = World::new(Rules::default());
        let till = Till::new(&world);
        world.expect(Fault::FailBefore(2));
        assert_eq!(till.open().post(order("a", "tea", 1, "tok_visa")).await.0, 503);
        world.heal();
        let started = Orders::start(till.context()).await.unwrap();
        let process = till.open();
        let confirmed = async {
            while process.get("/a").await.1["status"] != "confirmed" {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), confirmed).await.unwrap();
        assert_eq!(world.taken(), 500);
        drop(started);
    });
}

#[test]
fn two_processes_on_one_directory_do_an_order_once() {
    block_on(async {
        let world = World::new(Rules::default());
        let till = Till::new(&world);
        let (old, new) = (till.open(), till.open());
        let body = order("a", "cheesecake", 2, "tok_visa");
        let (one, two) = tokio::join!(old.post(&body), new.post(&body));
        assert_eq!((one.0, &one), (201, &two));
        assert_eq!((world.state().stock["cheesecake"], world.taken()), ((1, 0), 1000));
    });
}

#[test]
fn a_forged_sweep_places_nothing_and_harms_nothing() {
    block_on(async {
        let world = World::new(Rules::default());
        let till = Till::new(&world);
        let process = till.open();
        process.post(order("a", "tea", 1, "tok_visa")).await;
        let before = world.state();
        assert_eq!(process.sweep().await, json!({ "confirmed": 0, "cancelled": 0, "pending": 0 }));
        assert_eq!(world.state(), before);
    });
}
