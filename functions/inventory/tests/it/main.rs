//! Inventory as its callers see it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use function_sdk::{Clock, Context, Handler, Method, Request};
use inventory::Inventory;
use serde_json::{Value, json};
use tempfile::TempDir;

/// An inventory on a directory of its own.
struct Shop {
    inventory: Inventory,
    clock: Clock,
    directory: TempDir,
}

async fn open(directory: &TempDir, clock: &Clock) -> Inventory {
    let path = directory.path().to_str().unwrap();
    let variables = [("data_path", path), ("secret_mount_path", path), ("reservation_seconds", "60")];
    Inventory::open(Context::of(variables, clock.clone())).await.unwrap()
}

impl Shop {
    async fn new() -> Self {
        let (directory, clock) = (tempfile::tempdir().unwrap(), Clock::fixed(1_000));
        std::fs::write(directory.path().join("shop-key"), "k3y\n").unwrap();
        Self { inventory: open(&directory, &clock).await, clock, directory }
    }

    async fn call(&self, method: Method, path: &str, headers: &[(&'static str, &str)], body: &[u8]) -> (u16, Value) {
        let mut request = Request { method, path: path.into(), body: body.to_vec().into(), ..Request::default() };
        request.call_id = "call-1".into();
        for (name, value) in headers {
            request.headers.insert(*name, value.parse().unwrap());
        }
        let response = self.inventory.handle(request).await;
        (response.status().as_u16(), response.body_json().unwrap())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, &[], b"").await
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::POST, path, &[("x-shop-key", "k3y")], body.to_string().as_bytes()).await
    }

    async fn available(&self, sku: &str) -> i64 {
        self.get(&format!("/{sku}")).await.1["available"].as_i64().unwrap()
    }
}

#[tokio::test]
async fn the_menu_has_prices_and_what_is_left() {
    let shop = Shop::new().await;
    let (status, menu) = shop.get("/").await;
    assert_eq!(status, 200);
    assert_eq!(menu["items"].as_array().unwrap().len(), 12);
    let espresso = shop.get("/espresso").await.1;
    assert_eq!(espresso["price"], json!({ "amount": 250, "currency": "USD" }));
    assert_eq!(shop.get("/beer").await.0, 404);
    assert_eq!(shop.get("/reorders").await.1, json!({ "reorders": [] }));
}

#[tokio::test]
async fn a_change_needs_the_shop_key() {
    let shop = Shop::new().await;
    for path in ["/reserve", "/commit", "/release", "/restock"] {
        let body = br#"{"id":"a","sku":"tea","quantity":1}"#;
        for headers in [&[][..], &[("x-shop-key", "")], &[("x-shop-key", "k3")], &[("x-shop-key", "k3yy")]] {
            assert_eq!(shop.call(Method::POST, path, headers, body).await.0, 401, "{path} {headers:?}");
        }
    }
    // A lost or empty key lets nobody in.
    std::fs::write(shop.directory.path().join("shop-key"), "").unwrap();
    assert_eq!(shop.call(Method::POST, "/restock", &[("x-shop-key", "")], b"{}").await.0, 503);
    std::fs::remove_file(shop.directory.path().join("shop-key")).unwrap();
    assert_eq!(shop.post("/restock", json!({ "sku": "tea", "quantity": 1 })).await.0, 503);
    // A new one counts at once.
    std::fs::write(shop.directory.path().join("shop-key"), "k3y").unwrap();
    assert_eq!(shop.post("/restock", json!({ "sku": "tea", "quantity": 1 })).await.0, 200);
}

#[tokio::test]
async fn refusals_have_a_reason_for_programs() {
    let shop = Shop::new().await;
    let items = |sku: &str, quantity: i64| json!([{ "sku": sku, "quantity": quantity }]);
    let (status, body) = shop.post("/reserve", json!({ "id": "a", "items": items("cheesecake", 99) })).await;
    assert_eq!((status, &body["reason"], &body["sku"]), (409, &json!("out_of_stock"), &json!("cheesecake")));
    let (status, body) = shop.post("/reserve", json!({ "id": "a", "items": items("beer", 1) })).await;
    assert_eq!((status, &body["reason"]), (422, &json!("unknown_sku")));
    let (status, body) = shop.post("/reserve", json!({ "id": "a", "items": items("tea", 0) })).await;
    assert_eq!((status, &body["field"]), (422, &json!("items[0].quantity")));
    let (status, body) = shop.post("/commit", json!({ "id": "never" })).await;
    assert_eq!((status, &body["reason"]), (404, &json!("unknown_reservation")));
    assert_eq!(shop.call(Method::POST, "/commit", &[("x-shop-key", "k3y")], b"{").await.0, 400);
    assert_eq!(shop.call(Method::DELETE, "/tea", &[], b"").await.0, 404);
}

#[tokio::test]
async fn the_schedule_gives_up_what_is_stale_and_a_forged_call_does_no_harm() {
    let shop = Shop::new().await;
    let body = json!({ "id": "a", "items": [{ "sku": "tea", "quantity": 5 }] });
    assert_eq!(shop.post("/reserve", body).await.0, 200);
    let cron = [("x-topic", "cron-function")];
    assert_eq!(shop.call(Method::POST, "/", &cron, b"").await.1, json!({ "expired": 0, "reorders": 0 }));
    assert_eq!(shop.available("tea").await, 295);
    shop.clock.set(61_001);
    assert_eq!(shop.call(Method::POST, "/", &cron, b"").await.1, json!({ "expired": 1, "reorders": 0 }));
    assert_eq!(shop.available("tea").await, 300);
    assert_eq!(shop.call(Method::POST, "/", &[], b"").await.0, 404);
    let (status, body) = shop.post("/commit", json!({ "id": "a" })).await;
    assert_eq!((status, &body["reason"]), (410, &json!("expired")));
}

#[tokio::test]
async fn a_delivery_without_an_id_is_known_by_the_call() {
    let shop = Shop::new().await;
    for _ in 0..2 {
        assert_eq!(shop.post("/restock", json!({ "sku": "tea", "quantity": 5 })).await.0, 200);
    }
    assert_eq!(shop.available("tea").await, 305);
}

#[tokio::test]
async fn the_stock_outlives_the_function() {
    let shop = Shop::new().await;
    let body = json!({ "id": "a", "items": [{ "sku": "tea", "quantity": 5 }] });
    assert_eq!(shop.post("/reserve", body).await.0, 200);
    let Shop { inventory, clock, directory } = shop;
    drop(inventory);
    let shop = Shop { inventory: open(&directory, &clock).await, clock, directory };
    assert_eq!(shop.post("/commit", json!({ "id": "a" })).await.0, 200);
    assert_eq!(shop.get("/tea").await.1["on_hand"], 295);
}
