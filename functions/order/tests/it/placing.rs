use crate::till::{Till, order};
use crate::world::{Fault, Rules, World};
use function_sdk::testing::block_on;
use function_sdk::{Method, Request};
use order::Orders;
use serde_json::json;

#[test]
fn an_order_is_confirmed_and_touches_stock_and_card_once() {
    block_on(async {
        let world = World::new(Rules::default());
        let till = Till::new(&world);
        let process = till.open();
        let (status, body) = process.post(order("a", "tea", 2, "tok_visa")).await;
        assert_eq!((status, &body["status"]), (201, &json!("confirmed")), "{body}");
        assert_eq!(body["total"], json!({ "amount": 1000, "currency": "USD" }));
        assert_eq!(world.state().stock["tea"], (298, 0));
        assert_eq!(world.taken(), 1000);
        assert_eq!(process.get("/a").await, (200, body.clone()));
        // Again, with the fields the other way round.
        let again = r#"{"payment":{"token":"tok_visa"},"items":[{"quantity":2,"sku":"tea"}],"id":"a"}"#;
        assert_eq!(process.post(again).await, (201, body));
        assert_eq!((world.taken(), world.calls().len()), (1000, 5));
    });
}

#[test]
fn without_an_id_the_call_is_the_key() {
    block_on(async {
        let world = World::new(Rules::default());
        let till = Till::new(&world);
        let process = till.open();
        let body = json!({ "items": [{ "sku": "tea", "quantity": 1 }], "payment": { "token": "tok_visa" } });
        let first = process.post(&body).await;
        assert_eq!((first.0, &first.1["id"]), (201, &json!("call-1")));
        assert_eq!(process.post(&body).await, first);
        assert_eq!(world.taken(), 500);
    });
}

#[test]
fn twenty_at_once_are_one_order_with_one_answer() {
    block_on(async {
        let world = World::new(Rules::default());
        let till = Till::new(&world);
        let process = till.open();
        let mut calls = Vec::new();
        for _ in 0..20 {
            let process = process.clone();
            calls.push(tokio::task::spawn_local(
                async move { process.post(order("a", "cheesecake", 2, "tok_visa")).await },
            ));
        }
        let other = process.clone();
        let other = tokio::task::spawn_local(async move { other.post(order("a", "tea", 1, "tok_visa")).await });
        let mut answers = Vec::new();
        for call in calls {
            answers.push(call.await.unwrap());
        }
        assert_eq!(answers[0].0, 201, "{}", answers[0].1);
        assert!(answers.iter().all(|answer| *answer == answers[0]));
        assert_eq!((world.state().stock["cheesecake"], world.taken()), ((1, 0), 1000));
        assert_eq!(world.calls().len(), 5);
        assert_eq!(other.await.unwrap().0, 409);
    });
}

#[test]
fn the_same_id_with_another_body_is_refused() {
    block_on(async {
        let world = World::new(Rules::default());
        let till = Till::new(&world);
        let process = till.open();
        assert_eq!(process.post(order("a", "tea", 1, "tok_visa")).await.0, 201);
        let (status, body) = process.post(order("a", "tea", 2, "tok_visa")).await;
        assert_eq!((status, &body["reason"]), (409, &json!("id_taken")));
        assert_eq!(world.taken(), 500);
    });
}

#[test]
fn a_declined_card_is_402_and_the_stock_is_back() {
    block_on(async {
        let world = World::new(Rules::default());
        let till = Till::new(&world);
        let process = till.open();
        for _ in 0..2 {
            let (status, body) = process.post(order("a", "cheesecake", 3, "tok_chargeDeclined")).await;
            assert_eq!((status, &body["status"], &body["reason"]), (402, &json!("cancelled"), &json!("declined")));
            assert_eq!(body["code"], "generic_decline");
        }
        assert_eq!((world.state().stock["cheesecake"], world.taken()), ((3, 0), 0));
    });
}

#[test]
fn what_is_out_of_stock_is_409_with_its_sku() {
    block_on(async {
        let world = World::new(Rules::default());
        let till = Till::new(&world);
        let process = till.open();
        let (status, body) = process.post(order("a", "cheesecake", 4, "tok_visa")).await;
        assert_eq!((status, &body["reason"], &body["sku"]), (409, &json!("out_of_stock"), &json!("cheesecake")));
        assert_eq!((world.state().stock["cheesecake"], world.taken()), ((3, 0), 0));
    });
}

#[test]
fn what_cannot_be_is_named_and_not_written_down() {
    block_on(async {
        let world = World::new(Rules::default());
        let till = Till::new(&world);
        let process = till.open();
        let (status, body) = process.post(order("a", "beer", 1, "tok_visa")).await;
        assert_eq!((status, &body["field"]), (422, &json!("items[0].sku")));
        let (status, body) = process.post(order("a", "tea", 0, "tok_visa")).await;
        assert_eq!((status, &body["field"]), (422, &json!("items[0].quantity")));
        assert_eq!(process.post("{").await.0, 400);
        assert_eq!(process.post("").await.0, 400);
        assert_eq!(process.get("/a").await.0, 404);
        // So its id is free.
        assert_eq!(process.post(order("a", "tea", 1, "tok_visa")).await.0, 201);
        assert_eq!(process.get("/a/b").await.0, 404);
        let request = Request { method: Method::DELETE, path: "/a".into(), ..Request::default() };
        assert_eq!(process.call(request).await.0, 404);
    });
}

#[test]
fn orders_are_listed_by_status() {
    block_on(async {
        let world = World::new(Rules::default());
        let till = Till::new(&world);
        let process = till.open();
        process.post(order("good", "tea", 1, "tok_visa")).await;
        process.post(order("bad", "tea", 1, "tok_none")).await;
        world.expect(Fault::FailBefore(1));
        process.post(order("late", "tea", 1, "tok_visa")).await;
        for (query, ids) in [
            ("/?status=confirmed", vec!["good"]),
            ("/?status=cancelled", vec!["bad"]),
            ("/?status=pending", vec!["late"]),
            ("/?status=", vec!["bad", "good", "late"]),
            ("/", vec!["bad", "good", "late"]),
        ] {
            let (_, body) = process.get(query).await;
            let listed: Vec<_> =
                body["orders"].as_array().unwrap().iter().map(|order| order["id"].as_str().unwrap()).collect();
            assert_eq!(listed, ids, "{query}");
        }
        assert_eq!(process.get("/?limit=2").await.1["orders"].as_array().unwrap().len(), 2);
        assert_eq!(process.get("/?status=lost").await.0, 400);
        assert_eq!(process.get("/?limit=0").await.0, 400);
    });
}

#[test]
fn what_is_not_answered_leaves_the_order_pending_and_a_repeat_ends_it() {
    block_on(async {
        let world = World::new(Rules::default());
        let till = Till::new(&world);
        let process = till.open();
        // The menu: nothing is written down yet.
        world.expect(Fault::FailBefore(0));
        assert_eq!(process.post(order("a", "tea", 1, "tok_visa")).await.0, 503);
        assert_eq!(process.get("/a").await.0, 404);
        for step in 1..5 {
            for fault in [Fault::FailBefore(step), Fault::FailAfter(step)] {
                let id = format!("{fault:?}").replace(['(', ')'], "-");
                let taken = world.taken();
                world.expect(fault);
                let (status, body) = process.post(order(&id, "tea", 1, "tok_visa")).await;
                assert_eq!((status, &body["status"], &body["id"]), (503, &json!("pending"), &json!(id)), "{body}");
                world.heal();
                let (status, body) = process.post(order(&id, "tea", 1, "tok_visa")).await;
                assert_eq!(status, 201, "{fault:?}: {body}");
                assert_eq!(world.taken(), taken + 500, "{fault:?}");
            }
        }
        assert_eq!(world.state().stock["tea"], (292, 0));
    });
}

#[test]
fn a_wrong_shop_key_holds_an_order_up_until_it_is_right() {
    block_on(async {
        let world = World::new(Rules::default());
        let till = Till::new(&world);
        let process = till.open();
        till.set_key("wrong");
        let (status, body) = process.post(order("a", "tea", 1, "tok_visa")).await;
        assert_eq!((status, &body["status"]), (503, &json!("pending")));
        assert_eq!(process.sweep().await, json!({ "confirmed": 0, "cancelled": 0, "pending": 1 }));
        till.set_key("k3y");
        assert_eq!(process.sweep().await, json!({ "confirmed": 1, "cancelled": 0, "pending": 0 }));
    });
}

#[test]
fn a_setting_that_is_no_time_is_refused_by_name() {
    block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        for value in ["0", "-1", "5s", "soon"] {
            let variables = [("data_path", path), ("call_seconds", value)];
            let context = function_sdk::Context::of(variables, function_sdk::Clock::fixed(0));
            let error = Orders::open(&context).unwrap_err().to_string();
            assert!(error.contains("call_seconds") && error.contains(value), "{error}");
        }
    });
}
