//! Subscriptions follow functions.

use crate::mosquitto::Mosquitto;
use crate::{bodies, config, eventually, start, subscribed};
use gateway_client::testing::FakeGateway;
use mqtt_connector::{Config, Version};
use rstest::rstest;

#[rstest]
#[case(Version::V3)]
#[case(Version::V5)]
#[tokio::test]
async fn functions_that_come_and_go_are_followed(#[case] version: Version) {
    let Some(broker) = Mosquitto::start("functions_that_come_and_go_are_followed").await else { return };
    let gateway = FakeGateway::start().await;
    let state = tempfile::tempdir().unwrap();
    let mut connector = start(&gateway, config(&broker, state.path(), version));
    connector.connected().await;
    gateway.deploy("one", "openfaas-fn", &[("topic", "a")]);
    subscribed(&broker, &gateway, "a").await;
    gateway.deploy("two", "openfaas-fn", &[("topic", "b")]);
    let kept = || std::fs::read_to_string(state.path().join("mqtt-session")).unwrap();
    eventually("two topics", || kept().lines().skip(1).eq(["a", "b"])).await;
    gateway.remove("one", "openfaas-fn");
    eventually("one topic", || kept().lines().skip(1).eq(["b"])).await;
    for count in 0.. {
        broker.publish("b", &format!("b {count}")).await;
        if !bodies(&gateway).is_empty() {
            break;
        }
    }
    assert!(bodies(&gateway).iter().all(|body| body.starts_with("b ")));
    connector.stop().await;
}

#[tokio::test]
async fn fixed_topics_are_subscribed_whatever_functions_want() {
    let Some(broker) = Mosquitto::start("fixed_topics_are_subscribed_whatever_functions_want").await else { return };
    let gateway = FakeGateway::start().await;
    gateway.deploy("all", "openfaas-fn", &[("topic", "#")]);
    let state = tempfile::tempdir().unwrap();
    let fixed = Config { topics: Some(vec!["in/+".to_owned()]), ..config(&broker, state.path(), Version::V5) };
    let connector = start(&gateway, fixed);
    subscribed(&broker, &gateway, "in/probe").await;
    broker.publish("out/1", "outside").await;
    broker.publish("in/1", "inside").await;
    eventually("the one inside", || bodies(&gateway).contains(&"inside".to_owned())).await;
    assert_eq!(bodies(&gateway), ["inside"]);
    connector.stop().await;
}

#[tokio::test]
async fn a_connector_without_a_broker_tries_on_and_stops_at_once() {
    let gateway = FakeGateway::start().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let connector = start(&gateway, Config::new(&format!("mqtt://127.0.0.1:{closed}")).unwrap());
    tokio::task::yield_now().await;
    assert!(!*connector.connected.borrow());
    connector.stop().await;
}
