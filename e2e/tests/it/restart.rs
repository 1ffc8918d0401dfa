//! The next `up` finds everything as it was.

use crate::{espresso, shop};
use e2e::eventually;
use e2e::platform::State;
use e2e::system::processes_of;
use serde_json::{Value, json};

#[tokio::test]
async fn functions_secrets_orders_stock_and_queued_calls_are_there_after_a_restart() {
    let state = State::default();
    let platform = shop(&state).await;
    let order = platform.http.post(&platform.url("/function/order"), espresso("r-1").to_string()).await.unwrap();
    assert_eq!(order.status, 201, "{}", order.text());
    let stock = stock(&platform).await;
    let secret = json!({"name": "api-key", "value": "s3cret"}).to_string();
    assert!(platform.system("POST", "/system/secrets", &secret).await.status < 300);
    let scale = json!({"serviceName": "fridge-temp", "replicas": 2}).to_string();
    assert!(platform.system("POST", "/system/scale-function/fridge-temp", &scale).await.status < 300);
    // A call that stays queued: its function answers 503 until the platform is back, because it is at zero and stopped.
    let queued = platform.http.post(&platform.url("/async-function/order"), espresso("r-2").to_string()).await.unwrap();
    assert_eq!(queued.status, 202);
    let (status, _) = platform.stop().await;
    assert!(status.success());

    let platform = shop(&state).await;
    let list = platform.system("GET", "/system/functions", "").await.json();
    assert_eq!(list.as_array().unwrap().len(), 4);
    eventually("fridge-temp has two replicas", || async {
        let status = platform.system("GET", "/system/function/fridge-temp", "").await.json();
        (status["availableReplicas"] == 2).then_some(()).ok_or(status)
    })
    .await;
    let secrets = platform.system("GET", "/system/secrets", "").await.json();
    assert!(secrets.as_array().unwrap().iter().any(|secret| secret["name"] == "api-key"), "{secrets}");
    for id in ["r-1", "r-2"] {
        eventually(&format!("order {id} is confirmed"), || async {
            let order = platform.http.get(&platform.url(&format!("/function/order/{id}"))).await.unwrap();
            (order.status == 200 && order.json()["status"] == "confirmed").then_some(()).ok_or(order.text())
        })
        .await;
    }
    assert_eq!(self::stock(&platform).await, stock - 1);
}

#[tokio::test]
async fn an_up_with_nothing_changed_restarts_nothing_while_deploying_again_does_neither() {
    let state = State::default();
    let platform = shop(&state).await;
    let before = functions(&state);
    let list = platform.system("GET", "/system/functions", "").await.json();
    for function in list.as_array().unwrap() {
        let mut deployment = function.clone();
        deployment["service"] = function["name"].clone();
        let answer = platform.system("PUT", "/system/functions", &deployment.to_string()).await;
        assert!(matches!(answer.status, 200 | 202), "{}", answer.text());
    }
    assert_eq!(functions(&state), before, "a deploy of the same thing restarts nothing");
}

/// The processes of functions.
fn functions(state: &State) -> Vec<(u32, String)> {
    processes_of(&state.path()).into_iter().filter(|(_, command)| !command.contains(" up ")).collect()
}

async fn stock(platform: &e2e::platform::Platform) -> i64 {
    let answer = platform.http.get(&platform.url("/function/inventory/espresso")).await.unwrap();
    let stock: Value = answer.json();
    stock["available"].as_i64().unwrap_or_else(|| panic!("{stock}"))
}
