//! Events through the dispatcher to a gateway made of paper.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use dispatch::{DispatchError, Dispatcher, Event};
use gateway_client::testing::FakeGateway;
use gateway_client::{ClientConfig, FunctionList, GatewayClient};
use std::time::Duration;

async fn dispatcher(gateway: &FakeGateway) -> (Dispatcher, daemon::Stopper) {
    let client = GatewayClient::new(&ClientConfig::new(&gateway.url(), None)).unwrap();
    let (stopper, stop) = daemon::stop::pair();
    let dispatcher = Dispatcher::new(client.clone(), FunctionList::follow(client, Duration::from_millis(10), stop));
    assert!(dispatcher.ready().await);
    (dispatcher, stopper)
}

fn event(topic: &str) -> Event {
    Event {
        topic: topic.to_owned(),
        payload: "38.2".into(),
        connector: "crema/mqtt-broker",
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        ..Event::default()
    }
}

#[tokio::test]
async fn every_function_that_wants_the_topic_gets_the_event() {
    let gateway = FakeGateway::start().await;
    gateway.set_namespaces(&["openfaas-fn", "shop"]);
    gateway.deploy("a", "openfaas-fn", &[("topic", "+/fridge/temp")]);
    gateway.deploy("b", "shop", &[("topic", "other,store104/#")]);
    gateway.deploy("c", "shop", &[("topic", "other")]);
    let (dispatcher, _stopper) = dispatcher(&gateway).await;
    assert_eq!(dispatcher.dispatch(&event("store104/fridge/temp")).await.unwrap(), 2);
    let mut posted = gateway.posted();
    posted.sort_by(|one, other| one.path.cmp(&other.path));
    assert_eq!(posted[0].path, "/async-function/a.openfaas-fn");
    assert_eq!(posted[1].path, "/async-function/b.shop");
    assert_eq!(posted[1].headers["x-topic"], "store104/fridge/temp");
    assert_eq!(posted[1].headers["x-connector"], "crema/mqtt-broker");
    assert_eq!(posted[1].headers["content-type"], "text/plain");
    assert!(posted[1].headers["traceparent"].to_str().unwrap().starts_with("00-0af7"));
    assert_eq!(dispatcher.dispatch(&event("nobody/wants/this")).await.unwrap(), 0);
}

#[tokio::test]
async fn an_event_is_not_done_before_every_202() {
    let gateway = FakeGateway::start().await;
    gateway.deploy("a", "openfaas-fn", &[("topic", "t")]);
    gateway.deploy("b", "openfaas-fn", &[("topic", "t")]);
    let (dispatcher, _stopper) = dispatcher(&gateway).await;
    gateway.set_open(false);
    let done = tokio::spawn(async move { dispatcher.dispatch(&event("t")).await });
    gateway.arrived(2).await;
    assert!(!done.is_finished());
    gateway.set_open(true);
    assert_eq!(done.await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn only_what_failed_is_posted_again() {
    let gateway = FakeGateway::start().await;
    gateway.deploy("a", "openfaas-fn", &[("topic", "t")]);
    gateway.deploy("b", "openfaas-fn", &[("topic", "t")]);
    gateway.answer("b.openfaas-fn", 503);
    let (dispatcher, _stopper) = dispatcher(&gateway).await;
    let error = dispatcher.dispatch(&event("t")).await.unwrap_err();
    assert!(error.is_temporary() && error.to_string().contains("b.openfaas-fn"), "{error}");
    let done = tokio::spawn(async move { dispatcher.dispatch_within(&event("t"), Duration::from_secs(60)).await });
    gateway.arrived(5).await;
    gateway.answer("b.openfaas-fn", 202);
    assert_eq!(done.await.unwrap().unwrap(), 2);
    let to_a = gateway.posted().iter().filter(|post| post.path.contains("/a.")).count();
    assert_eq!(to_a, 2, "one for each event");
}

#[tokio::test]
async fn a_gateway_that_restarts_loses_no_event() {
    let mut gateway = FakeGateway::start().await;
    gateway.deploy("a", "openfaas-fn", &[("topic", "t")]);
    let (dispatcher, _stopper) = dispatcher(&gateway).await;
    gateway.stop().await;
    assert!(dispatcher.dispatch(&event("t")).await.unwrap_err().is_temporary());
    let done = tokio::spawn(async move { dispatcher.dispatch_within(&event("t"), Duration::from_secs(60)).await });
    gateway.restart().await;
    assert_eq!(done.await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn a_function_that_vanished_is_no_error_but_a_missing_queue_is() {
    let gateway = FakeGateway::start().await;
    gateway.deploy("a", "openfaas-fn", &[("topic", "t")]);
    let (dispatcher, _stopper) = dispatcher(&gateway).await;
    gateway.answer("a.openfaas-fn", 404);
    assert!(dispatcher.dispatch(&event("t")).await.unwrap_err().is_temporary());
    // Between two looks of the list.
    let map = dispatcher.topic_map().unwrap();
    assert_eq!(map.matches("t").len(), 1);
    gateway.remove("a", "openfaas-fn");
    assert_eq!(dispatcher.dispatch(&event("t")).await.unwrap(), 0);
}

#[tokio::test]
async fn a_namespace_that_vanished_holds_no_event_up() {
    let gateway = FakeGateway::start().await;
    gateway.set_namespaces(&["openfaas-fn", "shop"]);
    gateway.deploy("a", "shop", &[("topic", "t")]);
    let (dispatcher, stopper) = dispatcher(&gateway).await;
    // The list is as it was: between two looks.
    stopper.stop();
    gateway.answer("a.shop", 404);
    gateway.answer_system(404);
    assert!(dispatcher.dispatch(&event("t")).await.unwrap_err().is_temporary(), "a proxy that lost its gateway");
    gateway.answer_system(200);
    gateway.set_namespaces(&["openfaas-fn"]);
    assert_eq!(dispatcher.dispatch(&event("t")).await.unwrap(), 0);
}

#[tokio::test]
async fn every_post_of_a_call_has_the_same_id_and_every_call_its_own() {
    let gateway = FakeGateway::start().await;
    gateway.deploy("a", "openfaas-fn", &[("topic", "t")]);
    gateway.deploy("b", "openfaas-fn", &[("topic", "t")]);
    gateway.answer("b.openfaas-fn", 503);
    let (dispatcher, _stopper) = dispatcher(&gateway).await;
    let done = tokio::spawn(async move {
        dispatcher.dispatch_within(&event("t"), Duration::from_secs(60)).await.unwrap();
        dispatcher.dispatch(&event("t")).await.unwrap();
    });
    gateway.arrived(3).await;
    gateway.answer("b.openfaas-fn", 202);
    done.await.unwrap();
    let ids = |path: &str, status: u16| -> Vec<String> {
        let posted = gateway.posted().into_iter().filter(|post| post.path.contains(path) && post.status == status);
        posted.map(|post| post.headers["x-call-id"].to_str().unwrap().to_owned()).collect()
    };
    let (refused, accepted) = (ids("/b.", 503), ids("/b.", 202));
    assert!(refused.iter().all(|id| *id == accepted[0]), "{refused:?} {accepted:?}");
    let other = ids("/a.", 202);
    assert!(accepted[0] != accepted[1] && accepted[0] != other[0] && !accepted[0].is_empty(), "{accepted:?} {other:?}");
}

#[tokio::test]
async fn what_is_refused_for_good_is_told_apart_and_keeps_no_one_else_from_it() {
    let gateway = FakeGateway::start().await;
    gateway.deploy("a", "openfaas-fn", &[("topic", "t")]);
    gateway.deploy("b", "openfaas-fn", &[("topic", "t")]);
    gateway.answer("a.openfaas-fn", 413);
    let (dispatcher, _stopper) = dispatcher(&gateway).await;
    let error = dispatcher.dispatch(&event("t")).await.unwrap_err();
    assert!(matches!(error, DispatchError::Permanent { .. }), "{error}");
    assert_eq!(gateway.accepted(1).await[0].path, "/async-function/b.openfaas-fn");
    let error = dispatcher.dispatch(&event("t\nx")).await.unwrap_err();
    assert!(matches!(error, DispatchError::Topic(_)), "{error}");
}

#[tokio::test]
async fn functions_that_come_and_go_change_who_is_called() {
    let gateway = FakeGateway::start().await;
    let (dispatcher, _stopper) = dispatcher(&gateway).await;
    assert_eq!(dispatcher.dispatch(&event("t")).await.unwrap(), 0);
    gateway.deploy("a", "openfaas-fn", &[("topic", "t")]);
    let mut watch = dispatcher.list().watch();
    watch.wait_for(|list| list.as_ref().is_some_and(|list| !list.is_empty())).await.unwrap();
    assert_eq!(dispatcher.dispatch(&event("t")).await.unwrap(), 1);
}

#[tokio::test]
async fn the_same_shop_in_two_namespaces_stays_two_shops() {
    let gateway = FakeGateway::start().await;
    gateway.set_namespaces(&["shop-a", "shop-b"]);
    for namespace in ["shop-a", "shop-b"] {
        gateway.deploy("order", namespace, &[("topic", &format!("{namespace}/orders"))]);
        gateway.deploy("both", namespace, &[("topic", "news")]);
    }
    let (all, _stopper) = dispatcher(&gateway).await;
    assert_eq!(all.dispatch(&event("shop-b/orders")).await.unwrap(), 1);
    assert_eq!(gateway.accepted(1).await[0].path, "/async-function/order.shop-b");
    assert_eq!(all.dispatch(&event("news")).await.unwrap(), 2);
    let client = GatewayClient::new(&ClientConfig::new(&gateway.url(), None)).unwrap();
    let (_stopper, stop) = daemon::stop::pair();
    let only = FunctionList::from_env(client.clone(), &[("CREMA_NAMESPACES", "shop-a")], stop).unwrap();
    let one = Dispatcher::new(client, only);
    assert!(one.ready().await);
    assert_eq!(one.dispatch(&event("news")).await.unwrap(), 1);
    assert_eq!(gateway.accepted(4).await[3].path, "/async-function/both.shop-a");
    assert_eq!(one.dispatch(&event("shop-b/orders")).await.unwrap(), 0);
    gateway.answer("both.shop-a", 503);
    assert!(one.dispatch(&event("news")).await.unwrap_err().is_temporary());
    let counts = one.counts();
    assert_eq!((counts.accepted, counts.unwanted, counts.delayed, counts.refused), (1, 1, 1, 0));
}
