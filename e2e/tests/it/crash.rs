//! Crashes under load: nothing acknowledged is lost, no order is half-done.

use crate::shop;
use e2e::load::{Placed, Tills, processes_of_function};
use e2e::platform::{State, signal};
use e2e::shop::{orders, plenty};
use e2e::system::{processes_of, program};
use e2e::{eventually, skipped};
use rustix::process::Signal;
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_platform_under_load_loses_nothing_acknowledged() {
    let state = State::default();
    let (mut placed, mut before) = (Placed::default(), None);
    for round in 0..3 {
        let platform = shop(&state).await;
        if before.is_none() {
            before = Some(plenty(&platform).await);
        }
        let tills = Tills::open(&platform, &format!("k{round}"), 4, |till| till % 2 == 0);
        eventually("orders come in", || async {
            let list = platform.http.get(&platform.url("/function/order?status=confirmed")).await.unwrap();
            let count = orders(&list.json()).len();
            (count >= 10 * (round + 1)).then_some(()).ok_or(list.text())
        })
        .await;
        platform.kill();
        tills.close(&mut placed).await;
        eventually("its functions die with it", || async {
            let left = processes_of(&state.path());
            left.is_empty().then_some(()).ok_or(left)
        })
        .await;
    }
    let platform = shop(&state).await;
    // Each kill comes before the answer to what four tills had on its way.
    assert!(placed.acknowledged.len() >= 30 - 3 * 4, "{}", placed.acknowledged.len());
    placed.is_accounted_for(&platform, before.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_functions_under_load_leaves_no_order_half_done() {
    let state = State::default();
    let platform = shop(&state).await;
    let before = plenty(&platform).await;
    let tills = Tills::open(&platform, "f", 4, |till| till == 0);
    for function in ["payment", "inventory", "order", "order", "payment"] {
        let before: BTreeSet<u32> = processes_of_function(&state, function);
        for pid in &before {
            signal(*pid, Signal::KILL);
        }
        eventually(&format!("{function} is back"), || async {
            let now = processes_of_function(&state, function);
            (!now.is_empty() && now.is_disjoint(&before)).then_some(()).ok_or(now)
        })
        .await;
    }
    let mut placed = Placed::default();
    tills.close(&mut placed).await;
    assert!(!placed.acknowledged.is_empty());
    placed.is_accounted_for(&platform, before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sensor_messages_acknowledged_before_a_crash_are_delivered_after_it() {
    let name = "sensor_messages_acknowledged_before_a_crash_are_delivered_after_it";
    if program("mosquitto_pub").is_none() {
        return skipped(name, "install mosquitto-clients");
    }
    let state = State::default();
    let platform = shop(&state).await;
    // Nothing of it is done before the crash.
    let frozen = processes_of_function(&state, "fridge-temp");
    assert!(!frozen.is_empty());
    frozen.iter().for_each(|pid| signal(*pid, Signal::STOP));
    let topics: Vec<String> = (0..20).map(|number| format!("s{number}/fridge/temp")).collect();
    for topic in &topics {
        assert!(platform.publish(topic, "99.5", &[]), "{topic}");
    }
    platform.kill();
    let platform = shop(&state).await;
    for topic in &topics {
        platform.logged("fridge-temp", topic).await;
    }
}
