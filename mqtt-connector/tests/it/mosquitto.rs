//! A real Mosquitto on a free port, with sessions on disk.

use std::path::PathBuf;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

pub(crate) struct Mosquitto {
    port: u16,
    program: PathBuf,
    directory: TempDir,
    child: Option<Child>,
}

impl Mosquitto {
    /// Starts one; None, and a word about it, when it is not installed.
    pub(crate) async fn start(test: &str) -> Option<Self> {
        let places = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/usr/bin/mosquitto"];
        let Some(program) = places.iter().map(PathBuf::from).find(|path| path.exists()) else {
            eprintln!("SKIPPED {test}: no mosquitto; install mosquitto and mosquitto-clients");
            return None;
        };
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().display();
        let user = if std::fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
        {
            "user root\n"
        } else {
            ""
        };
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {path}/\n\
             max_queued_messages 10000\n{user}"
        );
        std::fs::write(directory.path().join("mosquitto.conf"), text).unwrap();
        let mut broker = Self { port, program, directory, child: None };
        broker.restart().await;
        Some(broker)
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    pub(crate) async fn restart(&mut self) {
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(self.directory.path().join("mosquitto.conf"));
        command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        self.child = Some(command.spawn().unwrap());
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    /// Ends it as a service manager does: it writes its sessions.
    pub(crate) async fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let id = child.id().unwrap().to_string();
            Command::new("kill").arg(id).status().await.unwrap();
            child.wait().await.unwrap();
        }
    }

    pub(crate) async fn publish(&self, topic: &str, payload: &str) {
        self.publish_with(&["-q", "1", "-t", topic, "-m", payload]).await;
    }

    pub(crate) async fn publish_with(&self, arguments: &[&str]) {
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]).args(arguments);
        assert!(command.status().await.unwrap().success());
    }
}
