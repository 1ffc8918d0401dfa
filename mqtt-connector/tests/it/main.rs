//! The connector between a real Mosquitto and a gateway made of paper.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod delivery;
mod mosquitto;
mod subscribing;

use daemon::Stopper;
use dispatch::Dispatcher;
use gateway_client::testing::FakeGateway;
use gateway_client::{ClientConfig, FunctionList, GatewayClient};
use mosquitto::Mosquitto;
use mqtt_connector::{Config, ConnectorError, MqttConnector, Version};
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A connector that runs.
struct Running {
    stopper: Stopper,
    connected: watch::Receiver<bool>,
    task: JoinHandle<Result<(), ConnectorError>>,
}

fn config(broker: &Mosquitto, state: &Path, version: Version) -> Config {
    Config { state: Some(state.to_owned()), version, ..Config::new(&broker.url()).unwrap() }
}

fn start(gateway: &FakeGateway, config: Config) -> Running {
    let client = GatewayClient::new(&ClientConfig::new(&gateway.url(), None)).unwrap();
    let (stopper, stop) = daemon::stop::pair();
    let list = FunctionList::follow(client.clone(), Duration::from_millis(10), stop.clone());
    let connector = MqttConnector::build(config, Dispatcher::new(client, list)).unwrap();
    let connected = connector.connected();
    Running { stopper, connected, task: tokio::spawn(connector.run(stop)) }
}

impl Running {
    async fn connected(&mut self) {
        self.connected.wait_for(|connected| *connected).await.unwrap();
    }

    async fn stop(self) {
        self.stopper.stop();
        self.task.await.unwrap().unwrap();
    }
}

/// Publishes `probe` messages until one arrives: then the subscription is in force.
async fn subscribed(broker: &Mosquitto, gateway: &FakeGateway, topic: &str) {
    for count in 1.. {
        broker.publish(topic, "probe").await;
        let arrived = tokio::time::timeout(Duration::from_millis(200), gateway.arrived(1));
        if arrived.await.is_ok() {
            break;
        }
        assert!(count < 100, "not subscribed to {topic}");
    }
}

/// The bodies of what was accepted, probes left out.
fn bodies(gateway: &FakeGateway) -> Vec<String> {
    let accepted = gateway.posted().into_iter().filter(|post| post.status == 202);
    let bodies = accepted.map(|post| String::from_utf8_lossy(&post.body).into_owned());
    bodies.filter(|body| body != "probe").collect()
}

/// Polls until the condition is true.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}: not within 30 s");
}
