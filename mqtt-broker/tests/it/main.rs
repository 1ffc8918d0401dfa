//! The broker between real MQTT clients and a gateway made of paper.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod acknowledge;
mod permission;
mod running;

use daemon::Stopper;
use dispatch::Dispatcher;
use gateway_client::testing::FakeGateway;
use gateway_client::{ClientConfig, FunctionList, GatewayClient};
use mqtt_broker::{Broker, BrokerError, Config};
use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// A broker that runs.
struct Running {
    address: SocketAddr,
    stopper: Stopper,
    task: JoinHandle<Result<(), BrokerError>>,
}

fn config() -> Config {
    Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Config::default() }
}

async fn start(gateway: &FakeGateway, config: Config) -> Running {
    let (running, mut opened) = begin(gateway, config);
    opened.wait_for(|open| *open).await.unwrap();
    running
}

fn begin(gateway: &FakeGateway, config: Config) -> (Running, tokio::sync::watch::Receiver<bool>) {
    let client = GatewayClient::new(&ClientConfig::new(&gateway.url(), None)).unwrap();
    let (stopper, stop) = daemon::stop::pair();
    let list = FunctionList::follow(client.clone(), Duration::from_millis(10), stop.clone());
    let broker = Broker::build(config, Dispatcher::new(client, list)).unwrap();
    let (address, opened) = (broker.address(), broker.opened());
    (Running { address, stopper, task: tokio::spawn(broker.run(stop)) }, opened)
}

impl Running {
    /// `mosquitto_pub` or `mosquitto_sub` against this broker.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(["-h", "127.0.0.1", "-p", &self.address.port().to_string()]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    fn publish(&self, arguments: &[&str]) -> Child {
        self.command("mosquitto_pub", arguments).spawn().unwrap()
    }

    async fn published(&self, arguments: &[&str]) -> Output {
        self.publish(arguments).wait_with_output().await.unwrap()
    }

    async fn stop(self) {
        self.stopper.stop();
        self.task.await.unwrap().unwrap();
    }
}

/// Whether Mosquitto's clients are here; says so when they are not.
fn clients(test: &str) -> bool {
    let found = std::process::Command::new("mosquitto_pub").arg("--help").output().is_ok();
    if !found {
        eprintln!("SKIPPED {test}: no mosquitto_pub on PATH; install mosquitto-clients");
    }
    found
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
