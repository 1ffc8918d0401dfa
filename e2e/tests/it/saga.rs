//! Orders end confirmed or cancelled, whatever happens in between.

use crate::{espresso, shop};
use e2e::platform::{Platform, State};
use serde_json::{Value, json};

async fn place(platform: &Platform, order: &Value) -> (u16, Value) {
    let answer = platform.http.post(&platform.url("/function/order"), order.to_string()).await.unwrap();
    let body = serde_json::from_slice(&answer.body).unwrap_or_else(|_| json!(answer.text()));
    (answer.status, body)
}

async fn available(platform: &Platform, sku: &str) -> i64 {
    let answer = platform.http.get(&platform.url(&format!("/function/inventory/{sku}"))).await.unwrap();
    answer.json()["available"].as_i64().unwrap_or_else(|| panic!("{}", answer.text()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_order_twenty_times_in_parallel_touches_stock_once() {
    let state = State::default();
    let platform = shop(&state).await;
    let before = available(&platform, "espresso").await;
    let order = espresso("twenty").to_string();
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let (http, url, order) = (platform.http.clone(), platform.url("/function/order"), order.clone());
            tokio::spawn(async move { http.post(&url, order).await.unwrap() })
        })
        .collect();
    let mut answers = Vec::new();
    for call in calls {
        let answer = call.await.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
        answers.push(answer.json());
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    assert_eq!(available(&platform, "espresso").await, before - 1);
    let other =
        json!({"id": "twenty", "items": [{"sku": "espresso", "quantity": 2}], "payment": {"token": "tok_visa"}});
    assert_eq!(place(&platform, &other).await.0, 409, "the same id with another body");
}

#[tokio::test]
async fn a_declined_card_gives_the_stock_back() {
    let state = State::default();
    let platform = shop(&state).await;
    let before = available(&platform, "espresso").await;
    let mut order = espresso("declined");
    order["payment"]["token"] = json!("tok_chargeDeclined");
    let (status, body) = place(&platform, &order).await;
    assert_eq!(status, 402, "{body}");
    assert_eq!(available(&platform, "espresso").await, before);
    let order = platform.http.get(&platform.url("/function/order/declined")).await.unwrap().json();
    assert_eq!(order["status"], "cancelled", "{order}");
}

#[tokio::test]
async fn what_cannot_be_sold_is_named() {
    let state = State::default();
    let platform = shop(&state).await;
    let order = |sku: &str, quantity: i64| json!({"items": [{"sku": sku, "quantity": quantity}], "payment": {"token": "tok_visa"}});
    let (status, body) = place(&platform, &order("cheesecake", 1_000)).await;
    assert!(status == 409 && body.to_string().contains("cheesecake"), "{status} {body}");
    for (order, says) in [
        (order("unobtainium", 1), "unobtainium"),
        (order("espresso", 0), "quantity"),
        (json!({"items": [], "payment": {"token": "tok_visa"}}), "items"),
        (json!({"items": [{"sku": "espresso", "quantity": 1}]}), "payment"),
    ] {
        let (status, body) = place(&platform, &order).await;
        assert!(matches!(status, 400 | 422) && body.to_string().contains(says), "{order}: {status} {body}");
    }
}

#[tokio::test]
async fn stock_and_money_move_only_with_the_shops_key() {
    let state = State::default();
    let platform = shop(&state).await;
    for path in ["inventory/reserve", "inventory/restock", "payment/authorise", "payment/refund"] {
        let answer = platform.http.post(&platform.url(&format!("/function/{path}")), "{}").await.unwrap();
        assert_eq!(answer.status, 401, "{path}: {}", answer.text());
    }
}
