//! One running `crema up`.

use crate::binaries::{binary, root};
use crate::http::{Answer, Http};
use crate::system::STATE_PREFIX;
use crate::{PATIENCE, eventually};
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A free port of this machine.
const FREE: &str = "127.0.0.1:0";

/// The last line that is said of a start.
const READY: &str = "Ready. Ctrl-C stops.";

/// A port nobody listens on now, for what has to come back on the same one.
#[must_use]
pub fn free_port() -> u16 {
    std::net::TcpListener::bind(FREE).unwrap().local_addr().unwrap().port()
}

/// How to start it.
#[derive(Clone, Debug)]
pub struct Options {
    /// The stack file.
    pub stack: PathBuf,
    /// The folder to run in.
    pub folder: PathBuf,
    /// More arguments.
    pub arguments: Vec<String>,
    /// More environment.
    pub environment: Vec<(String, String)>,
    /// A program that becomes `crema`, with its arguments.
    pub before: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        let (stack, folder) = (root().join("stack.yml"), root());
        Self { stack, folder, arguments: Vec::new(), environment: Vec::new(), before: Vec::new() }
    }
}

impl Options {
    /// With another argument.
    #[must_use]
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }
}

/// A state directory that goes with the test.
#[derive(Debug)]
pub struct State {
    folder: TempDir,
    path: PathBuf,
}

impl Default for State {
    fn default() -> Self {
        let folder = tempfile::Builder::new().prefix(STATE_PREFIX).tempdir().unwrap();
        let path = folder.path().join("state");
        Self { folder, path }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        crate::leftovers::remove_control_groups(self);
    }
}

impl State {
    /// A state directory on a disk of its own, which it leaves to that disk; the platform's output goes elsewhere.
    #[must_use]
    pub fn below(disk: &Path) -> Self {
        let mut state = Self::default();
        state.path = disk.join("state");
        state
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// Gives it the images of a store, once.
    pub fn copy_images(&self, store: &Path) {
        std::fs::create_dir_all(self.path()).unwrap();
        let images = self.path().join("images");
        if !images.exists() {
            let status = Command::new("cp").arg("-r").arg(store.join("images")).arg(&images).status().unwrap();
            assert!(status.success());
            // The store's folder is a state directory: take its format along.
            std::fs::copy(store.join("format"), self.path().join("format")).unwrap();
        }
    }

    /// Where the platform's output goes.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("crema.log")
    }
}

/// A running platform. Dropping it kills it.
#[derive(Debug)]
pub struct Platform {
    child: Child,
    addresses: Value,
    state: PathBuf,
    log: PathBuf,
    password: String,
    /// The client to talk to it with.
    pub http: Http,
}

impl Platform {
    /// Starts one on free ports and waits until it has said all that it says when it is ready.
    pub async fn start(state: &State, options: &Options) -> Self {
        let output = || std::fs::read_to_string(state.log()).unwrap_or_default();
        let said_before = output().len();
        let mut child = spawn(state, options);
        let ready = state.path().join("run/crema.json");
        let pid = child.id();
        let begun = Instant::now();
        let addresses = loop {
            let said: Option<Value> = std::fs::read(&ready).ok().and_then(|text| serde_json::from_slice(&text).ok());
            let is_told = || output().get(said_before..).is_some_and(|said| said.lines().any(|line| line == READY));
            if let Some(addresses) = said.filter(|addresses| addresses["pid"] == pid && is_told()) {
                break addresses;
            }
            if let Some(status) = child.try_wait().unwrap() {
                panic!("crema up ended with {status}:\n{}", output());
            }
            // The first start builds the functions.
            assert!(begun.elapsed() < PATIENCE * 15, "crema up is not ready:\n{}", output());
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let password = std::fs::read_to_string(state.path().join("auth/basic-auth-password")).unwrap();
        Self { child, addresses, state: state.path(), log: state.log(), password, http: Http::default() }
    }

    /// The gateway's URL, with a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.addresses["gateway"].as_str().unwrap())
    }

    /// The metrics server's URL, with a path.
    #[must_use]
    pub fn metrics_url(&self, path: &str) -> String {
        format!("{}{path}", self.addresses["metrics"].as_str().unwrap())
    }

    /// The MQTT broker's port.
    #[must_use]
    pub fn mqtt_port(&self) -> String {
        let address = self.addresses["mqtt"].as_str().unwrap();
        address.rsplit(':').next().unwrap().to_owned()
    }

    /// The administrator's password.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The state directory.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// A call of `/system`, with the password.
    pub async fn system(&self, method: &str, path: &str, body: &str) -> Answer {
        self.try_system(method, path, body).await.unwrap()
    }

    /// The same while the platform may be dying.
    pub async fn try_system(&self, method: &str, path: &str, body: &str) -> Result<Answer, String> {
        use base64::Engine;
        let token = base64::engine::general_purpose::STANDARD.encode(format!("admin:{}", self.password));
        let headers = [("Authorization", format!("Basic {token}")), ("Content-Type", "application/json".to_owned())];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.http.send(method, &self.url(path), &headers, body.to_owned()).await
    }

    /// A function's log lines so far.
    pub async fn logs(&self, function: &str) -> Vec<String> {
        let answer = self.system("GET", &format!("/system/logs?name={function}&follow=false"), "").await;
        answer
            .text()
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter_map(|line| line["text"].as_str().map(str::to_owned))
            .collect()
    }

    /// Waits until a function's log holds `text`.
    pub async fn logged(&self, function: &str, text: &str) -> String {
        eventually(&format!("{function} logs {text:?}"), || async {
            let lines = self.logs(function).await;
            lines.iter().find(|line| line.contains(text)).cloned().ok_or(lines)
        })
        .await
    }

    /// Publishes with the real `mosquitto_pub`; returns whether the broker acknowledged.
    #[must_use]
    pub fn publish(&self, topic: &str, message: &str, more: &[&str]) -> bool {
        Command::new("mosquitto_pub")
            .args(["-h", "127.0.0.1", "-p", &self.mqtt_port(), "-q", "1", "-t", topic, "-m", message])
            .args(more)
            .status()
            .unwrap()
            .success()
    }

    /// Stops it as Ctrl-C does, and says how it ended and how long it took.
    pub async fn stop(mut self) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        signal(self.child.id(), rustix::process::Signal::TERM);
        let status = eventually("crema stops", || {
            let status = self.child.try_wait().unwrap().ok_or("still running");
            async move { status }
        })
        .await;
        (status, begun.elapsed())
    }

    /// Kills it as a crash would, and waits until it is gone.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
        if std::thread::panicking() {
            eprintln!("--- what crema printed ---\n{}", self.output());
        }
    }
}

/// Starts `crema up` without waiting for anything.
pub fn spawn(state: &State, options: &Options) -> Child {
    let log = File::options().create(true).append(true).open(state.log()).unwrap();
    let words: Vec<PathBuf> = options.before.iter().map(PathBuf::from).chain([binary("crema")]).collect();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(["up", "--state"]).arg(state.path());
    for (flag, value) in [
        ("-f", options.stack.as_os_str()),
        ("--listen", FREE.as_ref()),
        ("--metrics", FREE.as_ref()),
        ("--mqtt", FREE.as_ref()),
    ] {
        if !options.arguments.iter().any(|argument| argument == flag) {
            command.arg(flag).arg(value);
        }
    }
    command
        .args(&options.arguments)
        .envs(options.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&options.folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Sends a signal to a process; one that has ended meanwhile needs none.
pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    match rustix::process::kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => panic!("{pid:?}: {error}"),
    }
}
