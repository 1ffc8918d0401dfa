//! Starting, stopping, and being a broker like any other.

use crate::{begin, clients, config, start, text};
use gateway_client::testing::FakeGateway;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

#[tokio::test]
async fn the_port_opens_after_the_first_topic_map() {
    let gateway = FakeGateway::start().await;
    gateway.answer_system(503);
    let (broker, mut opened) = begin(&gateway, config());
    for _ in 0..10 {
        assert!(TcpStream::connect(broker.address).await.is_err());
        tokio::task::yield_now().await;
    }
    gateway.answer_system(200);
    opened.wait_for(|open| *open).await.unwrap();
    TcpStream::connect(broker.address).await.unwrap();
    broker.stop().await;
}

#[tokio::test]
async fn a_broker_that_never_opened_stops() {
    let gateway = FakeGateway::start().await;
    gateway.answer_system(503);
    let (broker, _) = begin(&gateway, config());
    broker.stop().await;
}

#[tokio::test]
async fn stopping_cuts_clients_and_frees_the_port_at_once() {
    let gateway = FakeGateway::start().await;
    gateway.deploy("slow", "openfaas-fn", &[("topic", "t")]);
    let broker = start(&gateway, config()).await;
    let address = broker.address;
    let mut options = rumqttc::MqttOptions::new("sensor", "127.0.0.1", address.port());
    options.set_clean_session(false);
    let (client, mut events) = rumqttc::AsyncClient::new(options, 10);
    events.poll().await.unwrap();
    gateway.set_open(false);
    client.publish("t", rumqttc::QoS::AtLeastOnce, false, "1").await.unwrap();
    let cut = tokio::spawn(async move {
        loop {
            match events.poll().await {
                Err(_) => break,
                Ok(rumqttc::Event::Incoming(rumqttc::Packet::PubAck(_))) => panic!("acknowledged without a 202"),
                Ok(_) => {}
            }
        }
    });
    gateway.arrived(1).await;
    let begun = Instant::now();
    broker.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    cut.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    let again = start(&gateway, mqtt_broker::Config { listen: address, ..config() }).await;
    again.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let gateway = FakeGateway::start().await;
    let broker = start(&gateway, config()).await;
    let client = gateway_client::GatewayClient::new(&gateway_client::ClientConfig::new(&gateway.url(), None)).unwrap();
    let (_stopper, stop) = daemon::stop::pair();
    let list = gateway_client::FunctionList::follow(client.clone(), Duration::from_secs(1), stop);
    let config = mqtt_broker::Config { listen: broker.address, ..config() };
    let error = mqtt_broker::Broker::build(config, dispatch::Dispatcher::new(client, list)).err().unwrap();
    assert!(error.to_string().contains(&broker.address.to_string()), "{error}");
    broker.stop().await;
}

#[tokio::test]
async fn subscribers_get_messages_retained_ones_too() {
    if !clients("subscribers_get_messages_retained_ones_too") {
        return;
    }
    let gateway = FakeGateway::start().await;
    let broker = start(&gateway, config()).await;
    assert!(broker.published(&["-q", "1", "-r", "-t", "a/b", "-m", "kept"]).await.status.success());
    let kept = broker.command("mosquitto_sub", &["-q", "1", "-t", "a/b", "-C", "1"]).output().await.unwrap();
    assert_eq!(text(&kept.stdout), "kept\n");
    let subscriber = broker.command("mosquitto_sub", &["-q", "1", "-t", "a/c", "-C", "1"]).spawn().unwrap();
    let output = subscriber.wait_with_output();
    tokio::pin!(output);
    let output = loop {
        tokio::select! {
            output = &mut output => break output.unwrap(),
            sent = broker.published(&["-q", "1", "-t", "a/c", "-m", "live"]) => assert!(sent.status.success()),
        }
    };
    assert_eq!(text(&output.stdout), "live\n");
    broker.stop().await;
}

#[tokio::test]
async fn an_offline_session_gets_what_came_meanwhile() {
    if !clients("an_offline_session_gets_what_came_meanwhile") {
        return;
    }
    let gateway = FakeGateway::start().await;
    let broker = start(&gateway, config()).await;
    let session = ["-i", "reader", "-c", "-q", "1", "-t", "news"];
    // -E ends after the subscription is acknowledged.
    let subscribed = broker.command("mosquitto_sub", &[&session[..], &["-E"]].concat()).output().await.unwrap();
    assert!(subscribed.status.success(), "{}", text(&subscribed.stderr));
    assert!(broker.published(&["-q", "1", "-t", "news", "-m", "while away"]).await.status.success());
    let output = broker.command("mosquitto_sub", &[&session[..], &["-C", "1"]].concat()).output().await.unwrap();
    assert_eq!(text(&output.stdout), "while away\n");
    broker.stop().await;
}

#[tokio::test]
async fn many_sensors_at_once_lose_nothing() {
    let gateway = FakeGateway::start().await;
    gateway.deploy("all", "openfaas-fn", &[("topic", "s/#")]);
    let broker = start(&gateway, config()).await;
    let mut sensors = tokio::task::JoinSet::new();
    for sensor in 0..20 {
        let port = broker.address.port();
        sensors.spawn(async move {
            let mut options = rumqttc::MqttOptions::new(format!("s{sensor}"), "127.0.0.1", port);
            options.set_inflight(10);
            let (client, mut events) = rumqttc::AsyncClient::new(options, 50);
            for count in 0..25 {
                client
                    .publish(format!("s/{sensor}"), rumqttc::QoS::AtLeastOnce, false, count.to_string())
                    .await
                    .unwrap();
            }
            let mut acknowledged = 0;
            while acknowledged < 25 {
                if let rumqttc::Event::Incoming(rumqttc::Packet::PubAck(_)) = events.poll().await.unwrap() {
                    acknowledged += 1;
                }
            }
        });
    }
    while let Some(ended) = sensors.join_next().await {
        ended.unwrap();
    }
    assert_eq!(gateway.accepted(500).await.len(), 500);
    broker.stop().await;
}

#[tokio::test]
async fn retained_messages_outlive_the_broker_where_there_is_a_place_for_them() {
    if !clients("retained_messages_outlive_the_broker_where_there_is_a_place_for_them") {
        return;
    }
    let (gateway, directory) = (FakeGateway::start().await, tempfile::tempdir().unwrap());
    let kept = || mqtt_broker::Config { state: Some(directory.path().join("state")), ..config() };
    let broker = start(&gateway, kept()).await;
    let sent =
        ["-V", "mqttv5", "-q", "1", "-r", "-t", "fridge/limit", "-m", "5", "-D", "publish", "content-type", "a/b"];
    assert!(broker.published(&sent).await.status.success());
    broker.stop().await;
    let broker = start(&gateway, kept()).await;
    let asked = ["-V", "mqttv5", "-q", "1", "-t", "fridge/+", "-C", "1", "-W", "20", "-F", "%t %p %C"];
    let output = broker.command("mosquitto_sub", &asked).output().await.unwrap();
    assert_eq!(text(&output.stdout), "fridge/limit 5 a/b\n");
    broker.stop().await;
}

#[tokio::test]
async fn a_broker_says_whether_clients_can_connect() {
    use daemon::health::Report;
    let gateway = FakeGateway::start().await;
    gateway.answer_system(503);
    let client = gateway_client::GatewayClient::new(&gateway_client::ClientConfig::new(&gateway.url(), None)).unwrap();
    let (stopper, stop) = daemon::stop::pair();
    let list = gateway_client::FunctionList::follow(client.clone(), Duration::from_millis(10), stop.clone());
    let broker = mqtt_broker::Broker::build(config(), dispatch::Dispatcher::new(client, list)).unwrap();
    let (report, mut opened) = (broker.report(), broker.opened());
    let task = tokio::spawn(broker.run(stop));
    assert!(report.not_ready().is_some());
    gateway.answer_system(200);
    opened.wait_for(|open| *open).await.unwrap();
    assert_eq!(report.not_ready(), None);
    stopper.stop();
    task.await.unwrap().unwrap();
    assert!(report.not_ready().is_some());
}
