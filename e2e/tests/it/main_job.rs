//! The main job: what README promises of `crema up`.

use crate::{espresso, shop};
use e2e::platform::{Options, Platform, State};
use e2e::system::{mounts_of, processes_of, program};
use e2e::{eventually, skipped};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn up_builds_packs_starts_and_deploys_the_functions_of_the_stack() {
    if program("cargo").is_none() || e2e::binaries::variable("CREMA_E2E_BINARIES").is_some() {
        return skipped("up_builds_packs_starts_and_deploys_the_functions_of_the_stack", "install Rust for this user");
    }
    let state = State::default();
    let platform = Platform::start(&state, &Options::default()).await;
    let list = platform.system("GET", "/system/functions", "").await.json();
    let names: Vec<&str> = list.as_array().unwrap().iter().map(|function| function["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["fridge-temp", "inventory", "order", "payment"]);
    let body = json!({"items": [{"sku": "espresso", "quantity": 2}], "payment": {"token": "tok_visa"}});
    let answer = platform.http.post(&platform.url("/function/order"), body.to_string()).await.unwrap();
    assert_eq!((answer.status, answer.json()["status"].as_str()), (201, Some("confirmed")), "{}", answer.text());
    let printed = platform.output();
    for text in ["/function/order", "faas-cli login", "+/fridge/temp", "127.0.0.1"] {
        assert!(printed.contains(text), "{text:?} is not in:\n{printed}");
    }
}

#[tokio::test]
async fn a_sensor_is_answered_and_its_function_runs() {
    let name = "a_sensor_is_answered_and_its_function_runs";
    if program("mosquitto_pub").is_none() {
        return skipped(name, "install mosquitto-clients");
    }
    let state = State::default();
    let platform = shop(&state).await;
    assert!(platform.publish("store104/fridge/temp", r#"{"temp":97.4,"unit":"F"}"#, &[]));
    platform.logged("fridge-temp", "Warning: Too hot!").await;
    assert!(platform.publish("/store104/fridge/temp", "38.2", &["-q", "2"]));
    platform.logged("fridge-temp", "Temperature OK").await;
}

#[tokio::test]
async fn the_schedules_of_the_stack_fire() {
    let state = State::default();
    let platform = shop(&state).await;
    for function in ["order", "inventory"] {
        // Nobody else posts to it. Its own schedule is minutes away, so another one is deployed.
        let mut deployment = platform.system("GET", &format!("/system/function/{function}"), "").await.json();
        assert!(deployment["annotations"]["schedule"].is_string(), "{deployment}");
        deployment["service"] = json!(function);
        deployment["annotations"]["schedule"] = json!("@every 1s");
        let answer = platform.system("PUT", "/system/functions", &deployment.to_string()).await;
        assert!(answer.status < 300, "{}", answer.text());
        platform.logged(function, "POST / - 200").await;
    }
}

#[tokio::test]
async fn an_asynchronous_call_is_delivered_and_its_status_is_told() {
    let state = State::default();
    let platform = shop(&state).await;
    let answer = platform.http.post(&platform.url("/async-function/order"), espresso("a-1").to_string()).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
    let id = answer.header("x-call-id").unwrap().to_owned();
    eventually("the call is done", || async {
        let call = platform.system("GET", &format!("/system/calls/{id}"), "").await.json();
        (call["state"] == "done" && call["status"] == 201).then_some(()).ok_or(call)
    })
    .await;
    let order = platform.http.get(&platform.url("/function/order/a-1")).await.unwrap();
    assert_eq!(order.json()["status"], "confirmed", "{}", order.text());
}

#[tokio::test]
async fn stopping_when_idle_is_quick_and_leaves_nothing() {
    let state = State::default();
    let platform = shop(&state).await;
    assert!(processes_of(&state.path()).len() >= 5, "four functions and the platform");
    let (status, took) = platform.stop().await;
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(processes_of(&state.path()), [].into());
    // Other tests mount their own.
    assert!(mounts_of(&state.path()).is_empty(), "{:?}", mounts_of(&state.path()));
    let sockets: Vec<_> = walk(&state.path().join("run"));
    assert!(sockets.is_empty(), "{sockets:?}");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] })
        .collect()
}
