//! Events from a broker that is not ours: Mosquitto, cut off and brought back.

use crate::shop_with;
use e2e::eventually;
use e2e::platform::{Options, State};
use e2e::skipped;
use e2e::system::program;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

struct Mosquitto {
    child: Child,
    port: u16,
    folder: PathBuf,
}

impl Mosquitto {
    fn start(folder: &Path, port: Option<u16>) -> Self {
        let port = port.unwrap_or_else(|| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
        let config = folder.join("mosquitto.conf");
        let persistence = folder.display();
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {persistence}/\n\
             user {}\n",
            if e2e::system::is_root() { "root" } else { "nobody" }
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new(program("mosquitto").unwrap())
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, port, folder: folder.to_owned() }
    }

    /// Stops it as its service manager would, and starts it again on the same port.
    fn restart(mut self) -> Self {
        e2e::platform::signal(self.child.id(), rustix::process::Signal::TERM);
        self.child.wait().unwrap();
        let (folder, port) = (self.folder.clone(), self.port);
        Self::start(&folder, Some(port))
    }

    fn publish(&self, topic: &str, message: &str) -> bool {
        let port = self.port.to_string();
        Command::new("mosquitto_pub")
            .args(["-h", "127.0.0.1", "-p", &port, "-q", "1", "-t", topic, "-m", message])
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_an_external_broker_survive_its_restart_and_ours() {
    let name = "events_of_an_external_broker_survive_its_restart_and_ours";
    if program("mosquitto").is_none() || program("mosquitto_pub").is_none() {
        return skipped(name, "install mosquitto and mosquitto-clients");
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Mosquitto::start(folder.path(), None);
    let state = State::default();
    let url = format!("mqtt://127.0.0.1:{}", broker.port);
    let options = Options::default().with(&["--broker", &url]);
    let platform = shop_with(&state, options.clone()).await;
    // The subscription is there once a first message comes through.
    eventually("a first event comes through", || async {
        assert!(broker.publish("first/fridge/temp", "99.5"));
        platform.logs("fridge-temp").await.iter().any(|line| line.contains("first/")).then_some(()).ok_or("not yet")
    })
    .await;

    let broker = broker.restart();
    eventually("the broker is back", || async {
        broker.publish("second/fridge/temp", "99.5").then_some(()).ok_or("no")
    })
    .await;
    platform.logged("fridge-temp", "second/fridge/temp").await;

    platform.kill();
    // Nobody is there: the broker's persistent session keeps it.
    assert!(broker.publish("third/fridge/temp", "99.5"));
    let platform = shop_with(&state, options).await;
    platform.logged("fridge-temp", "third/fridge/temp").await;
}
