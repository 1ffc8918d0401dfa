//! Crashes under load: nothing acknowledged is lost, no order is half-done.

use crate::{espresso, shop};
use e2e::http::Http;
use e2e::platform::{Platform, State, signal};
use e2e::system::{processes_of, program};
use e2e::{eventually, skipped};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Places orders until told to stop; returns the ids that were acknowledged, synchronously or with 202.
async fn place_orders(gateway: String, prefix: String, asynchronous: bool, stop: Arc<AtomicBool>) -> Vec<String> {
    let http = Http::default();
    let route = if asynchronous { "async-function" } else { "function" };
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let id = format!("{prefix}-{number}");
        let answer = http.post(&format!("{gateway}/{route}/order"), espresso(&id).to_string()).await;
        match answer {
            Ok(answer) if matches!(answer.status, 201 | 202) => acknowledged.push(id),
            // The platform or the function is away: a till would try again.
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    acknowledged
}

/// Waits until every acknowledged order is confirmed, and checks that money and stock agree with the orders.
async fn all_is_accounted_for(platform: &Platform, acknowledged: &[String]) {
    for id in acknowledged {
        eventually(&format!("order {id} is confirmed"), || async {
            let order = platform.http.get(&platform.url(&format!("/function/order/{id}"))).await.unwrap();
            (order.status == 200 && order.json()["status"] == "confirmed").then_some(()).ok_or(order.text())
        })
        .await;
    }
    // Whatever was begun and not acknowledged has ended too.
    eventually("no order is pending", || async {
        let pending = platform.http.get(&platform.url("/function/order?status=pending")).await.unwrap();
        let none = pending.status == 200 && orders(&pending.json()).is_empty();
        none.then_some(()).ok_or(pending.text())
    })
    .await;
    let ledger = platform.http.get(&platform.url("/function/payment/ledger")).await.unwrap();
    assert_eq!(ledger.status, 200, "{}", ledger.text());
    assert_eq!(ledger.json()["balanced"], true, "{}", ledger.text());
}

fn orders(list: &Value) -> Vec<&Value> {
    list.as_array().or_else(|| list["orders"].as_array()).map(|orders| orders.iter().collect()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_platform_under_load_loses_nothing_acknowledged() {
    let state = State::default();
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let platform = shop(&state).await;
        let stop = Arc::new(AtomicBool::new(false));
        let tills: Vec<_> = (0..4)
            .map(|till| {
                let (gateway, stop) = (platform.url(""), Arc::clone(&stop));
                tokio::spawn(place_orders(gateway, format!("k{round}-{till}"), till % 2 == 0, stop))
            })
            .collect();
        eventually("orders come in", || async {
            let list = platform.http.get(&platform.url("/function/order?status=confirmed")).await.unwrap();
            let count = orders(&list.json()).len();
            (count >= 10 * (round + 1)).then_some(()).ok_or(list.text())
        })
        .await;
        platform.kill();
        stop.store(true, Ordering::Relaxed);
        for till in tills {
            acknowledged.extend(till.await.unwrap());
        }
        eventually("its functions die with it", || async {
            let left = processes_of(&state.path());
            left.is_empty().then_some(()).ok_or(left)
        })
        .await;
    }
    let platform = shop(&state).await;
    assert!(acknowledged.len() >= 30, "{}", acknowledged.len());
    all_is_accounted_for(&platform, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_functions_under_load_leaves_no_order_half_done() {
    let state = State::default();
    let platform = shop(&state).await;
    let stop = Arc::new(AtomicBool::new(false));
    let tills: Vec<_> = (0..4)
        .map(|till| {
            let (gateway, stop) = (platform.url(""), Arc::clone(&stop));
            tokio::spawn(place_orders(gateway, format!("f-{till}"), till == 0, stop))
        })
        .collect();
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
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for till in tills {
        acknowledged.extend(till.await.unwrap());
    }
    assert!(!acknowledged.is_empty());
    all_is_accounted_for(&platform, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sensor_messages_acknowledged_before_a_crash_are_delivered_after_it() {
    let name = "sensor_messages_acknowledged_before_a_crash_are_delivered_after_it";
    if program("mosquitto_pub").is_none() {
        return skipped(name, "install mosquitto-clients");
    }
    let state = State::default();
    let platform = shop(&state).await;
    let acknowledged: Vec<u32> =
        (0..20).filter(|number| platform.publish(&format!("s{number}/fridge/temp"), "99.5", &[])).collect();
    assert_eq!(acknowledged.len(), 20);
    platform.kill();
    let platform = shop(&state).await;
    for number in acknowledged {
        platform.logged("fridge-temp", &format!("s{number}/fridge/temp")).await;
    }
}

fn processes_of_function(state: &State, function: &str) -> BTreeSet<u32> {
    processes_of(&state.path())
        .into_iter()
        .map(|(pid, _)| pid)
        .filter(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == format!("OPENFAAS_NAME={function}").as_bytes())
        })
        .collect()
}
