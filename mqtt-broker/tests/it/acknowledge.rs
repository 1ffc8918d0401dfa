//! When a sensor's event is acknowledged, and when it is not.

use crate::{clients, config, start, text};
use gateway_client::testing::FakeGateway;
use rstest::rstest;
use std::time::Duration;
use tokio::process::Child;

/// Whether the sensor goes on waiting for its acknowledgement; one that has it ends within milliseconds.
async fn waits(sensor: &mut Child) -> bool {
    tokio::time::timeout(Duration::from_millis(200), sensor.wait()).await.is_err()
}

#[rstest]
#[case::mqtt_311_qos_1("mqttv311", "1")]
#[case::mqtt_311_qos_2("mqttv311", "2")]
#[case::mqtt_5_qos_1("mqttv5", "1")]
#[case::mqtt_5_qos_2("mqttv5", "2")]
#[tokio::test]
async fn a_sensor_is_answered_after_the_202(#[case] version: &str, #[case] qos: &str) {
    if !clients("a_sensor_is_answered_after_the_202") {
        return;
    }
    let gateway = FakeGateway::start().await;
    gateway.deploy("fridge", "openfaas-fn", &[("topic", "+/fridge/temp,/+/fridge/temp")]);
    let broker = start(&gateway, config()).await;
    gateway.set_open(false);
    let mut sensor = broker.publish(&["-V", version, "-q", qos, "-t", "store104/fridge/temp", "-m", "38.2"]);
    gateway.arrived(1).await;
    assert!(waits(&mut sensor).await, "acknowledged before the 202");
    gateway.set_open(true);
    let output = sensor.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let posted = &gateway.posted()[0];
    assert_eq!(posted.path, "/async-function/fridge.openfaas-fn");
    assert_eq!(posted.headers["x-topic"], "store104/fridge/temp");
    assert_eq!(posted.headers["x-connector"], "crema/mqtt-broker");
    assert_eq!(&posted.body[..], b"38.2");
    broker.stop().await;
}

#[tokio::test]
async fn mqtt_5_brings_a_media_type_and_a_trace() {
    if !clients("mqtt_5_brings_a_media_type_and_a_trace") {
        return;
    }
    let gateway = FakeGateway::start().await;
    gateway.deploy("fridge", "openfaas-fn", &[("topic", "#")]);
    let broker = start(&gateway, config()).await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let output = broker
        .published(&[
            "-V",
            "mqttv5",
            "-q",
            "1",
            "-t",
            "/a",
            "-m",
            "{}",
            "-D",
            "publish",
            "content-type",
            "application/json",
            "-D",
            "publish",
            "user-property",
            "traceparent",
            parent,
            "-D",
            "publish",
            "user-property",
            "tracestate",
            "v=1",
        ])
        .await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let posted = &gateway.posted()[0];
    assert_eq!(posted.headers["content-type"], "application/json");
    assert_eq!(posted.headers["traceparent"], parent);
    assert_eq!(posted.headers["tracestate"], "v=1");
    broker.stop().await;
}

#[tokio::test]
async fn a_sensor_whose_event_cannot_be_kept_for_now_sends_it_again() {
    if !clients("a_sensor_whose_event_cannot_be_kept_for_now_sends_it_again") {
        return;
    }
    let gateway = FakeGateway::start().await;
    gateway.deploy("fridge", "openfaas-fn", &[("topic", "t")]);
    gateway.answer("fridge.openfaas-fn", 503);
    let broker = start(&gateway, config()).await;
    let mut sensor = broker.publish(&["-q", "1", "-t", "t", "-m", "1"]);
    gateway.arrived(2).await;
    assert!(waits(&mut sensor).await, "acknowledged without a 202");
    gateway.answer("fridge.openfaas-fn", 202);
    let output = sensor.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(gateway.accepted(1).await.len(), 1);
    broker.stop().await;
}

#[tokio::test]
async fn a_sensor_is_cut_off_when_the_queue_goes_on_refusing() {
    let gateway = FakeGateway::start().await;
    gateway.deploy("fridge", "openfaas-fn", &[("topic", "t")]);
    gateway.answer("fridge.openfaas-fn", 503);
    let broker = start(&gateway, config()).await;
    let mut options = rumqttc::MqttOptions::new("sensor", "127.0.0.1", broker.address.port());
    options.set_clean_session(false);
    let (client, mut events) = rumqttc::AsyncClient::new(options, 10);
    client.publish("t", rumqttc::QoS::AtLeastOnce, false, "1").await.unwrap();
    loop {
        match events.poll().await {
            Err(_) => break,
            Ok(rumqttc::Event::Incoming(rumqttc::Packet::PubAck(_))) => panic!("acknowledged without a 202"),
            Ok(_) => {}
        }
    }
    gateway.answer("fridge.openfaas-fn", 202);
    loop {
        if let Ok(rumqttc::Event::Incoming(rumqttc::Packet::PubAck(_))) = events.poll().await {
            break;
        }
    }
    assert_eq!(gateway.accepted(1).await.len(), 1);
    broker.stop().await;
}

#[tokio::test]
async fn what_is_too_large_is_said_to_be() {
    if !clients("what_is_too_large_is_said_to_be") {
        return;
    }
    let gateway = FakeGateway::start().await;
    gateway.deploy("fridge", "openfaas-fn", &[("topic", "#")]);
    let broker = start(&gateway, mqtt_broker::Config { body_limit: 10, ..config() }).await;
    let output = broker.published(&["-V", "mqttv5", "-q", "1", "-t", "t", "-m", "12345678901"]).await;
    assert!(text(&output.stderr).contains("Quota exceeded"), "{}", text(&output.stderr));
    let output = broker.published(&["-V", "mqttv5", "-q", "1", "-t", "t", "-m", "1234567890"]).await;
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
    assert_eq!(gateway.posted().len(), 1);
    broker.stop().await;
}

#[tokio::test]
async fn qos_0_and_topics_nobody_wants_are_taken() {
    if !clients("qos_0_and_topics_nobody_wants_are_taken") {
        return;
    }
    let gateway = FakeGateway::start().await;
    gateway.deploy("fridge", "openfaas-fn", &[("topic", "t")]);
    let broker = start(&gateway, config()).await;
    assert!(broker.published(&["-q", "1", "-t", "other", "-m", "1"]).await.status.success());
    assert!(broker.published(&["-q", "0", "-t", "t", "-m", "2"]).await.status.success());
    assert_eq!(&gateway.accepted(1).await[0].body[..], b"2");
    broker.stop().await;
}

#[tokio::test]
async fn a_will_reaches_functions_too() {
    if !clients("a_will_reaches_functions_too") {
        return;
    }
    let gateway = FakeGateway::start().await;
    gateway.deploy("watch", "openfaas-fn", &[("topic", "gone")]);
    gateway.deploy("hello", "openfaas-fn", &[("topic", "here")]);
    let broker = start(&gateway, config()).await;
    let arguments = ["-t", "x", "--will-topic", "gone", "--will-payload", "bye"];
    let mut sensor = broker.command("mosquitto_sub", &arguments).spawn().unwrap();
    // Connected when another client's message reaches it.
    use tokio::io::{AsyncBufReadExt, BufReader};
    let mut lines = BufReader::new(sensor.stdout.take().unwrap()).lines();
    let heard = lines.next_line();
    tokio::pin!(heard);
    loop {
        assert!(broker.published(&["-q", "1", "-t", "x", "-m", "hi"]).await.status.success());
        if tokio::time::timeout(Duration::from_millis(20), &mut heard).await.is_ok() {
            break;
        }
    }
    sensor.kill().await.unwrap();
    assert_eq!(&gateway.accepted(1).await[0].body[..], b"bye");
    broker.stop().await;
}
