//! Mosquitto, the broker that is not ours, and its client.

use crate::platform::{free_port, signal};
use crate::system::{is_root, program};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A publisher that is not answered gives up after so long.
const UNANSWERED: Duration = Duration::from_secs(10);

/// A running Mosquitto. Dropping it kills it.
#[derive(Debug)]
pub struct Mosquitto {
    child: Child,
    port: u16,
    folder: PathBuf,
}

impl Mosquitto {
    /// Starts one that keeps its messages in `folder`; on a free port unless there is one given.
    #[must_use]
    pub fn start(folder: &Path, port: Option<u16>) -> Self {
        let port = port.unwrap_or_else(free_port);
        let config = folder.join("mosquitto.conf");
        let user = if is_root() { "root" } else { "nobody" };
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {}/\n\
             max_queued_messages 0\nuser {user}\n",
            folder.display(),
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
    #[must_use]
    pub fn restart(mut self) -> Self {
        signal(self.child.id(), Signal::TERM);
        self.child.wait().unwrap();
        let (folder, port) = (self.folder.clone(), self.port);
        Self::start(&folder, Some(port))
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Publishes with QoS 1; whether it was acknowledged.
    #[must_use]
    pub fn publish(&self, topic: &str, message: &str) -> bool {
        publish(self.port, topic, message)
    }
}

/// Publishes with QoS 1 and the real `mosquitto_pub` to the broker at a port; whether it was acknowledged in time.
#[must_use]
pub fn publish(port: u16, topic: &str, message: &str) -> bool {
    let mut publisher = Command::new(program("mosquitto_pub").unwrap())
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1", "-t", topic, "-m", message])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    loop {
        match publisher.try_wait().unwrap() {
            Some(status) => return status.success(),
            None if begun.elapsed() > UNANSWERED => {
                publisher.kill().unwrap();
                publisher.wait().unwrap();
                return false;
            }
            None => std::thread::park_timeout(Duration::from_millis(2)),
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}
