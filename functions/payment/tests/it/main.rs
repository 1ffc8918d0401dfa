//! Payment as its callers see it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use function_sdk::{Clock, Context, Handler, Method, Request};
use payment::Payments;
use payment::operation::{Operation, Verdict};
use payment::processor::{Processor, Unavailable};
use payment::test_processor::TestProcessor;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::rc::Rc;
use tempfile::TempDir;

/// The processor `test`, which remembers what it was asked.
#[derive(Debug, Default)]
struct Witness(Rc<RefCell<Vec<String>>>);

impl Processor for Witness {
    fn name(&self) -> &'static str {
        "test"
    }

    async fn perform(&self, operation: &Operation) -> Result<Verdict, Unavailable> {
        self.0.borrow_mut().push(operation.id.clone());
        // So that others come in between.
        tokio::task::yield_now().await;
        TestProcessor.perform(operation).await
    }
}

/// Payment on a directory of its own.
struct Shop {
    payments: Payments<Witness>,
    asked: Rc<RefCell<Vec<String>>>,
    directory: TempDir,
}

impl Shop {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("shop-key"), "k3y").unwrap();
        Self::open(directory)
    }

    fn open(directory: TempDir) -> Self {
        let asked = Rc::default();
        let path = directory.path().to_str().unwrap();
        let context = Context::of([("data_path", path), ("secret_mount_path", path)], Clock::fixed(5));
        let payments = Payments::with(context, Witness(Rc::clone(&asked))).unwrap();
        Self { payments, asked, directory }
    }

    async fn call(&self, method: Method, path: &str, key: &str, body: &str) -> (u16, Value) {
        let body = body.to_owned().into();
        let mut request = Request { method, path: path.into(), body, ..Request::default() };
        request.headers.insert("x-shop-key", key.parse().unwrap());
        let response = self.payments.handle(request).await;
        let body: Value = response.body_json().unwrap();
        assert_eq!(body["processor"], "test", "{path}: {body}");
        (response.status().as_u16(), body)
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, "", "").await
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::POST, path, "k3y", &body.to_string()).await
    }

    async fn authorise(&self, id: &str, token: &str) -> (u16, Value) {
        self.post("/authorise", json!({ "id": id, "amount": 500, "currency": "USD", "token": token })).await
    }

    async fn part(&self, path: &str, id: &str, amount: i64) -> (u16, Value) {
        self.post(path, json!({ "id": id, "payment": "p", "amount": amount })).await
    }

    /// Sales, after checking that the books add up.
    async fn sales(&self) -> i64 {
        let ledger = self.get("/ledger").await.1;
        assert_eq!(ledger["balanced"], true, "{ledger}");
        -ledger["currencies"]["USD"]["accounts"]["sales"].as_i64().unwrap_or(0)
    }
}

#[tokio::test]
async fn a_card_is_authorised_captured_and_refunded_and_the_books_add_up() {
    let shop = Shop::new();
    let (status, body) = shop.authorise("p", "tok_visa").await;
    assert_eq!((status, &body["payment"]["state"]), (200, &json!("authorised")));
    assert_eq!(shop.sales().await, 0);
    let (status, body) = shop.part("/capture", "c1", 200).await;
    assert_eq!((status, &body["payment"]["captured"]), (200, &json!(200)));
    // Without an amount: all that is left.
    let (status, body) = shop.post("/capture", json!({ "id": "c2", "payment": "p" })).await;
    assert_eq!((status, &body["payment"]["captured"]), (200, &json!(500)));
    assert_eq!(shop.sales().await, 500);
    assert_eq!(shop.part("/refund", "r1", 120).await.0, 200);
    assert_eq!(shop.sales().await, 380);
    assert_eq!(shop.get("/p").await.1["refunded"], 120);
}

#[tokio::test]
async fn each_call_may_be_repeated_and_counts_once() {
    let shop = Shop::new();
    let first = shop.authorise("p", "tok_visa").await;
    assert_eq!(shop.authorise("p", "tok_visa").await, first);
    let first = shop.part("/capture", "c", 300).await;
    assert_eq!(shop.part("/capture", "c", 300).await, first);
    let first = shop.part("/refund", "r", 100).await;
    assert_eq!(shop.part("/refund", "r", 100).await, first);
    assert_eq!(*shop.asked.borrow(), ["p", "c", "r"]);
    assert_eq!(shop.sales().await, 200);
    let (status, body) = shop.part("/capture", "c", 200).await;
    assert_eq!((status, &body["reason"]), (409, &json!("mismatch")));
    assert_eq!(shop.part("/refund", "c", 300).await.0, 409);
    assert_eq!(shop.authorise("c", "tok_visa").await.0, 409);
}

#[tokio::test]
async fn a_repeat_beside_the_first_counts_once() {
    let shop = Shop::new();
    shop.authorise("p", "tok_visa").await;
    let (one, two, other) =
        tokio::join!(shop.part("/capture", "c", 300), shop.part("/capture", "c", 300), shop.part("/capture", "d", 300));
    assert_eq!((one.0, two.0), (200, 200));
    assert_eq!((other.0, &other.1["reason"]), (409, &json!("too_much")));
    assert_eq!(shop.sales().await, 300);
}

#[tokio::test]
async fn more_than_there_is_cannot_be_taken_or_given_back() {
    let shop = Shop::new();
    shop.authorise("p", "tok_visa").await;
    let (status, body) = shop.part("/capture", "c1", 501).await;
    assert_eq!((status, &body["reason"]), (409, &json!("too_much")));
    assert_eq!(shop.part("/capture", "c2", 400).await.0, 200);
    assert_eq!(shop.part("/capture", "c3", 101).await.0, 409);
    assert_eq!(shop.part("/refund", "r1", 401).await.0, 409);
    assert_eq!(shop.part("/refund", "r2", 400).await.0, 200);
    assert_eq!(shop.post("/refund", json!({ "id": "r3", "payment": "p" })).await.0, 409);
    assert_eq!(shop.sales().await, 0);
}

#[tokio::test]
async fn a_void_lets_go_of_what_nothing_was_taken_of() {
    let shop = Shop::new();
    shop.authorise("p", "tok_visa").await;
    assert_eq!(shop.post("/void", json!({ "id": "v", "payment": "p" })).await.1["payment"]["state"], "voided");
    assert_eq!(shop.post("/void", json!({ "id": "v", "payment": "p" })).await.0, 200);
    let (status, body) = shop.part("/capture", "c", 1).await;
    assert_eq!((status, &body["reason"]), (409, &json!("state")));

    shop.authorise("q", "tok_visa").await;
    shop.post("/capture", json!({ "id": "cq", "payment": "q", "amount": 1 })).await;
    let (status, body) = shop.post("/void", json!({ "id": "vq", "payment": "q" })).await;
    assert_eq!((status, &body["reason"]), (409, &json!("captured")));
    assert_eq!(shop.sales().await, 1);
}

#[tokio::test]
async fn a_declined_card_is_402_with_a_code_each_time_it_is_asked() {
    let shop = Shop::new();
    for (index, (token, code)) in [
        ("tok_chargeDeclined", "generic_decline"),
        ("tok_insufficientFunds", "insufficient_funds"),
        ("tok_chargeDeclinedExpiredCard", "expired_card"),
        ("tok_of_another_world", "no_such_token"),
    ]
    .into_iter()
    .enumerate()
    {
        for _ in 0..2 {
            let (status, body) = shop.authorise(&format!("p{index}"), token).await;
            assert_eq!((status, &body["code"]), (402, &json!(code)), "{token}");
        }
    }
    shop.authorise("p", "tok_captureDeclined").await;
    assert_eq!(shop.part("/capture", "c", 500).await.0, 402);
    // What was not taken is there to be let go of.
    assert_eq!(shop.post("/void", json!({ "id": "v", "payment": "p" })).await.0, 200);
    assert_eq!(shop.sales().await, 0);
}

#[tokio::test]
async fn an_operation_without_an_answer_is_asked_again_even_after_a_restart() {
    let shop = Shop::new();
    let (status, body) = shop.authorise("p", "tok_unavailableOnce").await;
    assert_eq!((status, &body["reason"]), (503, &json!("processor_unavailable")));
    // While it is not known, nothing else can be done with it.
    assert_eq!(shop.part("/capture", "c0", 1).await.0, 409);
    let Shop { payments, directory, .. } = shop;
    drop(payments);
    let shop = Shop::open(directory);
    assert_eq!(shop.get("/p").await.1["state"], "pending");
    assert_eq!(shop.authorise("p", "tok_unavailableOnce").await.0, 200);
    assert_eq!(shop.part("/capture", "c", 500).await.0, 503);
    // Its amount counts as used until it is known.
    assert_eq!(shop.part("/capture", "d", 1).await.1["reason"], "too_much");
    assert_eq!(shop.post("/void", json!({ "id": "v", "payment": "p" })).await.1["reason"], "captured");
    assert_eq!(shop.part("/capture", "c", 500).await.0, 200);
    assert_eq!(shop.sales().await, 500);
}

#[tokio::test]
async fn money_is_moved_only_with_the_shop_key() {
    let shop = Shop::new();
    for path in ["/authorise", "/capture", "/void", "/refund"] {
        for key in ["", "k3", "k3y2"] {
            assert_eq!(shop.call(Method::POST, path, key, "{}").await.0, 401, "{path}");
        }
        assert_eq!(shop.call(Method::POST, path, "k3y", "{").await.0, 400, "{path}");
        assert_eq!(shop.call(Method::POST, path, "k3y", "{}").await.0, 422, "{path}");
        assert_eq!(shop.call(Method::GET, path, "k3y", "").await.0, 404, "{path}");
    }
    std::fs::remove_file(shop.directory.path().join("shop-key")).unwrap();
    assert_eq!(shop.authorise("p", "tok_visa").await.0, 503);
    assert_eq!(shop.get("/nothing").await.0, 404);
    assert!(shop.asked.borrow().is_empty());
}
