//! Whoever is killed at whatever step of an order: afterwards it is confirmed, or cancelled with a reason, and stock
//! and money agree.

use crate::{espresso, shop};
use e2e::eventually;
use e2e::load::processes_of_function;
use e2e::platform::{Platform, State, signal};
use e2e::shop::{books_agree, stock};
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// So many kills are spread over the time an order takes.
const KILLS: u32 = 41;
/// At most so many are made.
const MOST_KILLS: u32 = 120;
/// An order that is not at a step by then was never seen there.
const PAST_ANY_STEP: Duration = Duration::from_secs(2);
/// Every so many orders one has a card that is declined: its way back is interrupted as well.
const DECLINED_EVERY: u32 = 4;
/// The steps of an order that ends well, as the order function writes them down.
const STEPS: [&str; 4] = ["reserve", "authorise", "capture", "commit"];

fn order(id: &str, number: u32) -> Value {
    let mut order = espresso(id);
    if number % DECLINED_EVERY == DECLINED_EVERY - 1 {
        order["payment"]["token"] = json!("tok_chargeDeclined");
    }
    order
}

/// How long an order takes when nothing is killed.
async fn usual_time(platform: &Platform) -> Duration {
    let begun = Instant::now();
    for number in 0..4 {
        let order = espresso(&format!("usual-{number}"));
        let answer = platform.http.post(&platform.url("/function/order"), order.to_string()).await.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    begun.elapsed() / 4
}

/// At which step an order is on disk; `None` when it is not there or not readable now.
fn step(state: &State, id: &str) -> Option<String> {
    let file = state.path().join("data/openfaas-fn/order/order.db");
    let database = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE).ok()?;
    let step = database.query_row("SELECT step FROM orders WHERE id = ?1", [id], |row| row.get(0));
    step.optional().ok().flatten()
}

/// When to kill.
#[derive(Clone, Copy)]
enum At {
    Time(Duration),
    Step(&'static str),
}

/// Places an order, kills the function, and returns the step the order had reached on disk.
async fn interrupted(platform: &Platform, state: &State, number: u32, at: At) -> Option<String> {
    let id = format!("o-{number}");
    // Looked for before: that takes longer than a step.
    let function = processes_of_function(state, "order");
    let (http, url, body) = (platform.http.clone(), platform.url("/function/order"), order(&id, number));
    let call = tokio::spawn(async move { http.post(&url, body.to_string()).await });
    match at {
        At::Time(after) => tokio::time::sleep(after).await,
        At::Step(wanted) => {
            let begun = Instant::now();
            while step(state, &id).as_deref() != Some(wanted) && begun.elapsed() < PAST_ANY_STEP {
                tokio::task::yield_now().await;
            }
        }
    }
    function.into_iter().for_each(|pid| signal(pid, Signal::KILL));
    let reached = step(state, &id);
    deploy_again(platform, "order", number).await;
    // Whatever was answered: nobody asks again.
    drop(call.await.unwrap());
    reached
}

/// Another version of the function: it starts at once, where one that keeps failing would be waited for.
async fn deploy_again(platform: &Platform, function: &str, round: u32) {
    let mut deployment = platform.system("GET", &format!("/system/function/{function}"), "").await.json();
    deployment["service"] = json!(function);
    deployment["envVars"]["round"] = json!(round.to_string());
    let answer = platform.system("PUT", "/system/functions", &deployment.to_string()).await;
    assert!(answer.status < 300, "{}", answer.text());
    eventually(&format!("{function} is back"), || async {
        let status = platform.system("GET", &format!("/system/function/{function}"), "").await.json();
        (status["availableReplicas"] == 1 && status["envVars"]["round"] == json!(round.to_string()))
            .then_some(())
            .ok_or(status)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_function_killed_at_any_step_leaves_no_order_half_done() {
    let state = State::default();
    let platform = shop(&state).await;
    let usual = usual_time(&platform).await;
    let before = stock(&platform).await.on_hand;
    let (mut number, mut seen) = (0, BTreeSet::new());
    while number < KILLS {
        let at = At::Time(usual * number / KILLS * 5 / 4);
        seen.extend(interrupted(&platform, &state, number, at).await);
        number += 1;
    }
    let missed = |seen: &BTreeSet<String>| STEPS.into_iter().find(|step| !seen.contains(*step));
    // What these have missed, on a machine that is now busy and now not, is waited for.
    while let Some(step) = missed(&seen).filter(|_| number < MOST_KILLS) {
        seen.extend(interrupted(&platform, &state, number, At::Step(step)).await);
        number += 1;
    }
    assert_eq!(missed(&seen), None, "killed at {seen:?} only; an order takes {usual:?}");
    let ids: Vec<String> = (0..number).map(|number| format!("o-{number}")).collect();
    let ended = books_agree(&platform, &[], &ids, before).await;
    assert!(ended.confirmed > 0 && ended.cancelled > 0, "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_killed_at_any_step_leaves_no_order_half_done() {
    let state = State::default();
    let platform = shop(&state).await;
    let usual = usual_time(&platform).await;
    let before = stock(&platform).await.on_hand;
    platform.stop().await;
    let (rounds, tills) = (10, 5);
    let mut ids = Vec::new();
    for round in 0..rounds {
        let platform = shop(&state).await;
        let begun = Instant::now();
        let calls: Vec<_> = (0..tills)
            .map(|till| {
                let number = round * tills + till;
                let id = format!("p-{number}");
                ids.push(id.clone());
                let (http, url, body) = (platform.http.clone(), platform.url("/function/order"), order(&id, number));
                // Side by side, each a bit further along than the next.
                let at = begun + usual * till / tills;
                tokio::spawn(async move {
                    tokio::time::sleep_until(at.into()).await;
                    http.post(&url, body.to_string()).await
                })
            })
            .collect();
        tokio::time::sleep_until((begun + usual * (round + 1) * 2 / rounds).into()).await;
        platform.kill();
        for call in calls {
            drop(call.await.unwrap());
        }
    }
    let platform = shop(&state).await;
    let ended = books_agree(&platform, &[], &ids, before).await;
    assert!(ended.confirmed > 0, "{ended:?}");
}
