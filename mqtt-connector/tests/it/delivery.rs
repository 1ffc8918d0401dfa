//! What is acknowledged is on disk, and what is not comes again.

use crate::mosquitto::Mosquitto;
use crate::{bodies, config, eventually, start, subscribed};
use gateway_client::testing::FakeGateway;
use mqtt_connector::Version;
use rstest::rstest;

#[rstest]
#[case(Version::V3)]
#[case(Version::V5)]
#[tokio::test]
async fn a_message_reaches_every_function_whose_topics_match(#[case] version: Version) {
    let test = "a_message_reaches_every_function_whose_topics_match";
    let Some(broker) = Mosquitto::start(test).await else { return };
    let gateway = FakeGateway::start().await;
    gateway.deploy("fridge", "openfaas-fn", &[("topic", "+/fridge/temp,/+/fridge/temp")]);
    gateway.deploy("log", "openfaas-fn", &[("topic", "store104/#")]);
    let state = tempfile::tempdir().unwrap();
    let connector = start(&gateway, config(&broker, state.path(), version));
    subscribed(&broker, &gateway, "store104/probe").await;
    broker.publish("store104/fridge/temp", "38.2").await;
    let posts = || gateway.posted().into_iter().filter(|post| &post.body[..] == b"38.2").collect::<Vec<_>>();
    // Where filters overlap a broker may send a message once for each: at least once is what is promised.
    let reached = |function: &str| posts().iter().any(|post| post.path.contains(function));
    eventually("both functions", || reached("/fridge.") && reached("/log.")).await;
    let post = posts().pop().unwrap();
    assert_eq!(post.headers["x-topic"], "store104/fridge/temp");
    assert_eq!(post.headers["x-connector"], "crema/mqtt-connector");
    assert_eq!(post.headers["content-type"], "text/plain");
    connector.stop().await;
}

#[tokio::test]
async fn mqtt_5_properties_become_headers() {
    let Some(broker) = Mosquitto::start("mqtt_5_properties_become_headers").await else { return };
    let gateway = FakeGateway::start().await;
    gateway.deploy("all", "openfaas-fn", &[("topic", "t")]);
    let state = tempfile::tempdir().unwrap();
    let connector = start(&gateway, config(&broker, state.path(), Version::V5));
    subscribed(&broker, &gateway, "t").await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let property = ["-D", "publish", "user-property", "traceparent", parent];
    let media = ["-D", "publish", "content-type", "application/json"];
    broker.publish_with(&[&["-V", "mqttv5", "-q", "1", "-t", "t", "-m", "{}"], &property[..], &media].concat()).await;
    eventually("the message", || bodies(&gateway) == ["{}"]).await;
    let post = gateway.posted().into_iter().find(|post| &post.body[..] == b"{}").unwrap();
    assert_eq!(post.headers["traceparent"], parent);
    assert_eq!(post.headers["content-type"], "application/json");
    connector.stop().await;
}

#[tokio::test]
async fn a_message_too_large_to_hold_keeps_no_other_up() {
    let Some(broker) = Mosquitto::start("a_message_too_large_to_hold_keeps_no_other_up").await else { return };
    let gateway = FakeGateway::start().await;
    gateway.deploy("all", "openfaas-fn", &[("topic", "t")]);
    let state = tempfile::tempdir().unwrap();
    let connector = start(&gateway, config(&broker, state.path(), Version::V5));
    subscribed(&broker, &gateway, "t").await;
    let large = state.path().join("large");
    std::fs::write(&large, vec![b'x'; 17 << 20]).unwrap();
    broker.publish_with(&["-q", "1", "-t", "t", "-f", large.to_str().unwrap()]).await;
    broker.publish("t", "after").await;
    eventually("the message after it", || bodies(&gateway).contains(&"after".to_owned())).await;
    assert!(bodies(&gateway).iter().all(|body| body.len() < 100), "the broker keeps the large one to itself");
    assert!(*connector.connected.borrow());
    connector.stop().await;
}

#[rstest]
#[case(Version::V3)]
#[case(Version::V5)]
#[tokio::test]
async fn nothing_is_lost_while_gateway_broker_or_connector_are_away(#[case] version: Version) {
    let test = "nothing_is_lost_while_gateway_broker_or_connector_are_away";
    let Some(mut broker) = Mosquitto::start(test).await else { return };
    let mut gateway = FakeGateway::start().await;
    gateway.deploy("all", "openfaas-fn", &[("topic", "t/#")]);
    let state = tempfile::tempdir().unwrap();
    let mut connector = start(&gateway, config(&broker, state.path(), version));
    subscribed(&broker, &gateway, "t/0").await;

    gateway.stop().await;
    for count in 0..30 {
        broker.publish(&format!("t/{}", count % 3), &format!("gateway {count}")).await;
    }
    gateway.restart().await;
    eventually("after the gateway", || has_all(&gateway, "gateway", 30)).await;

    broker.stop().await;
    connector.connected.wait_for(|connected| !*connected).await.unwrap();
    broker.restart().await;
    // The session is the broker's: what comes before the connector is back waits in it.
    for count in 0..30 {
        broker.publish(&format!("t/{}", count % 3), &format!("broker {count}")).await;
    }
    connector.connected().await;
    eventually("after the broker", || has_all(&gateway, "broker", 30)).await;

    connector.stop().await;
    for count in 0..30 {
        broker.publish(&format!("t/{}", count % 3), &format!("connector {count}")).await;
    }
    let connector = start(&gateway, config(&broker, state.path(), version));
    eventually("after the connector", || has_all(&gateway, "connector", 30)).await;
    connector.stop().await;
}

fn has_all(gateway: &FakeGateway, what: &str, count: usize) -> bool {
    let bodies = bodies(gateway);
    (0..count).all(|count| bodies.contains(&format!("{what} {count}")))
}

#[rstest]
#[case(Version::V3)]
#[case(Version::V5)]
#[tokio::test]
async fn what_was_not_acknowledged_comes_again_and_what_was_does_not(#[case] version: Version) {
    let test = "what_was_not_acknowledged_comes_again_and_what_was_does_not";
    let Some(broker) = Mosquitto::start(test).await else { return };
    let gateway = FakeGateway::start().await;
    gateway.deploy("all", "openfaas-fn", &[("topic", "t")]);
    let state = tempfile::tempdir().unwrap();
    let connector = start(&gateway, config(&broker, state.path(), version));
    subscribed(&broker, &gateway, "t").await;
    broker.publish("t", "first").await;
    eventually("the first", || bodies(&gateway) == ["first"]).await;
    gateway.answer("all.openfaas-fn", 503);
    broker.publish("t", "second").await;
    let refused = || gateway.posted().iter().any(|post| post.status == 503);
    eventually("the refusal", refused).await;
    // Dropped without a goodbye, as a crash would.
    connector.task.abort();
    gateway.answer("all.openfaas-fn", 202);
    let connector = start(&gateway, config(&broker, state.path(), version));
    eventually("the second", || bodies(&gateway).contains(&"second".to_owned())).await;
    broker.publish("t", "third").await;
    eventually("the third", || bodies(&gateway).contains(&"third".to_owned())).await;
    let times = bodies(&gateway).iter().filter(|body| *body == "first").count();
    assert_eq!(times, 1, "acknowledged, and yet it came again");
    connector.stop().await;
}

#[tokio::test]
async fn messages_of_one_topic_keep_their_order() {
    let Some(broker) = Mosquitto::start("messages_of_one_topic_keep_their_order").await else { return };
    let gateway = FakeGateway::start().await;
    gateway.deploy("all", "openfaas-fn", &[("topic", "t")]);
    let state = tempfile::tempdir().unwrap();
    let connector = start(&gateway, config(&broker, state.path(), Version::V5));
    subscribed(&broker, &gateway, "t").await;
    for count in 0..100 {
        broker.publish_with(&["-q", "1", "-t", "t", "-m", &count.to_string()]).await;
    }
    eventually("all of them", || bodies(&gateway).len() == 100).await;
    let expected: Vec<String> = (0..100).map(|count: i32| count.to_string()).collect();
    assert_eq!(bodies(&gateway), expected);
    connector.stop().await;
}

#[tokio::test]
async fn a_message_refused_for_good_stands_in_no_ones_way() {
    let Some(broker) = Mosquitto::start("a_message_refused_for_good_stands_in_no_ones_way").await else { return };
    let gateway = FakeGateway::start().await;
    gateway.deploy("small", "openfaas-fn", &[("topic", "t")]);
    gateway.deploy("other", "openfaas-fn", &[("topic", "u")]);
    gateway.answer("small.openfaas-fn", 413);
    let state = tempfile::tempdir().unwrap();
    let connector = start(&gateway, config(&broker, state.path(), Version::V5));
    subscribed(&broker, &gateway, "u").await;
    broker.publish("t", "too large").await;
    broker.publish("u", "next").await;
    eventually("the next one", || bodies(&gateway) == ["next"]).await;
    connector.stop().await;
}
