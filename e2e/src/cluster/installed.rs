//! The platform as helm installs it from `chart/`, and its REST API.

use super::images::{self, tag};
use super::kubectl::{delete_namespaces, get, helm, kubectl, run, seen_within};
use super::{branch::Branch, is_kept};
use crate::binaries::root;
use crate::http::{Answer, Http};
use crate::report;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::process::Command;

/// The platform's namespace.
pub const PLATFORM: &str = "openfaas";
/// Where functions are when no namespace is named.
pub const FUNCTIONS: &str = "openfaas-fn";
/// The name of the release.
pub const RELEASE: &str = "crema";
/// A platform on a machine that builds at the same time is not quick.
const STARTS: Duration = Duration::from_secs(180);

/// A publisher that is not answered gives up after so long.
const UNANSWERED: Duration = Duration::from_secs(15);

/// An installed platform.
#[derive(Debug)]
pub struct Installed {
    gateway: String,
    broker: String,
    password: String,
    /// The client to talk to it with.
    pub http: Http,
}

/// What the chart is told: everything as it ships, but for waits that would make tests long, functions in every
/// namespace, and secrets that the tests bring themselves.
#[must_use]
pub fn values() -> Value {
    json!({
        "clusterRole": true,
        "image": {"tag": tag(), "pullPolicy": "IfNotPresent"},
        "base": {"generateSecrets": []},
        // Of the whole cluster, where others may have theirs.
        "priorityClass": {"name": "crema-e2e"},
        "queueWorker": {"initialRetryWait": "1s", "maxRetryWait": "5s", "maxRetryAttempts": 100},
        "functions": {"readinessProbe": {"periodSeconds": 1}},
    })
}

impl Installed {
    /// Builds, loads and installs the platform; one that an earlier run has kept is taken as it is.
    pub async fn install() -> Self {
        let kept = is_kept() && helm(&["status", RELEASE, "-n", PLATFORM]).await.is_ok();
        if !kept {
            images::build_and_load().await;
            return Self::anew(&values()).await;
        }
        Self::find().await
    }

    /// Installs the platform from images that are loaded, in the place of one that is there.
    pub async fn anew(values: &Value) -> Self {
        uninstall().await;
        let begun = Instant::now();
        upgrade(values).await.unwrap();
        await_ready().await;
        report(format_args!("the chart installed and the platform ready in {:?}", begun.elapsed()));
        Self::find().await
    }

    /// Looks up where it is.
    pub async fn find() -> Self {
        let secret = get(&["secret", "basic-auth", "-n", PLATFORM]).await.unwrap();
        let password = secret["data"]["basic-auth-password"].as_str().unwrap();
        let password = String::from_utf8(STANDARD.decode(password).unwrap()).unwrap();
        Self {
            gateway: format!("http://{}:8080", service("gateway").await),
            broker: service("mqtt-broker").await,
            password: password.trim().to_owned(),
            http: Http::default(),
        }
    }

    /// The gateway's URL, with a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.gateway)
    }

    /// The administrator's password.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Host and port of the gateway.
    #[must_use]
    pub fn address(&self) -> &str {
        self.gateway.trim_start_matches("http://")
    }

    /// The shop in a namespace.
    #[must_use]
    pub fn branch(&self, namespace: &str) -> Branch {
        Branch::new(namespace, &self.gateway)
    }

    /// A call of `/system`, with the password.
    pub async fn try_system(&self, method: &str, path: &str, body: &Value) -> Result<Answer, String> {
        let token = STANDARD.encode(format!("admin:{}", self.password));
        let headers = [("Authorization", &*format!("Basic {token}")), ("Content-Type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.http.send(method, &self.url(path), &headers, body).await
    }

    /// The same where there is an answer.
    pub async fn system(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.try_system(method, path, body).await.unwrap()
    }

    /// The same, which must go well.
    pub async fn done(&self, method: &str, path: &str, body: &Value) -> Answer {
        let answer = self.system(method, path, body).await;
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
        answer
    }

    /// What the REST API tells of a function.
    pub async fn status(&self, function: &str, namespace: &str) -> Result<Value, String> {
        let path = format!("/system/function/{function}?namespace={namespace}");
        let answer = self.try_system("GET", &path, &Value::Null).await?;
        if answer.status == 200 { Ok(answer.json()) } else { Err(format!("{} {}", answer.status, answer.text())) }
    }

    /// Waits until a function has so many replicas that can be called.
    pub async fn has_replicas(&self, function: &str, namespace: &str, count: u64) -> Value {
        seen_within(STARTS, &format!("{function}.{namespace} has {count} replicas"), || async {
            let status = self.status(function, namespace).await?;
            let is_so = status["availableReplicas"].as_u64().unwrap_or(0) == count;
            if is_so { Ok(status) } else { Err(status.to_string()) }
        })
        .await
    }

    /// A function's log lines so far.
    pub async fn logs(&self, function: &str, namespace: &str) -> Result<Vec<Value>, String> {
        let path = format!("/system/logs?name={function}&namespace={namespace}&follow=false");
        let answer = self.try_system("GET", &path, &Value::Null).await?;
        if answer.status != 200 {
            return Err(format!("{} {}", answer.status, answer.text()));
        }
        answer
            .text()
            .lines()
            .map(|line| serde_json::from_str(line).map_err(|error| format!("{error}: {line}")))
            .collect()
    }

    /// Waits until a function's log holds `text`.
    pub async fn logged(&self, function: &str, namespace: &str, text: &str, patience: Duration) {
        seen_within(patience, &format!("{function}.{namespace} logs {text:?}"), || async {
            let lines = self.logs(function, namespace).await?;
            let says = |line: &Value| line["text"].as_str().is_some_and(|said| said.contains(text));
            if lines.iter().any(says) { Ok(()) } else { Err(json!(lines).to_string()) }
        })
        .await;
    }

    /// Publishes with the real `mosquitto_pub` and QoS 1; whether the broker acknowledged.
    pub async fn publish(&self, topic: &str, message: &str) -> bool {
        publish(&self.broker, topic, message).await
    }

    /// The broker's host.
    #[must_use]
    pub fn broker(&self) -> &str {
        &self.broker
    }
}

/// Publishes to a broker with the real `mosquitto_pub` and QoS 1; whether it was acknowledged in time.
pub async fn publish(broker: &str, topic: &str, message: &str) -> bool {
    let mut publisher = Command::new("mosquitto_pub");
    let publishing = run(publisher.args(["-h", broker, "-q", "1", "-t", topic, "-m", message]), "");
    matches!(tokio::time::timeout(UNANSWERED, publishing).await, Ok(Ok(_)))
}

/// Installs the chart or another version of it, with values.
pub async fn upgrade(values: &Value) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.json");
    std::fs::write(&file, values.to_string()).unwrap();
    let mut command = Command::new("helm");
    command.args(["upgrade", "--install", RELEASE]).arg(root().join("chart"));
    command.args(["-n", PLATFORM, "--create-namespace", "-f"]).arg(&file);
    run(&mut command, "").await
}

/// Waits until every part of the platform is ready.
pub async fn await_ready() {
    for kind in ["deployment", "statefulset"] {
        let parts = kubectl(&["get", kind, "-n", PLATFORM, "-o", "name"]).await.unwrap();
        for part in parts.lines() {
            let waited = kubectl(&["rollout", "status", part, "-n", PLATFORM, "--timeout=180s"]).await;
            if let Err(why) = waited {
                let pods = kubectl(&["describe", "pods", "-n", PLATFORM]).await.unwrap_or_default();
                panic!("{part}: {why}\n{pods}");
            }
        }
    }
}

/// Removes the platform and its namespaces, with all data.
pub async fn uninstall() {
    if helm(&["status", RELEASE, "-n", PLATFORM]).await.is_ok() {
        helm(&["uninstall", RELEASE, "-n", PLATFORM, "--wait"]).await.unwrap();
    }
    delete_namespaces(&[FUNCTIONS, PLATFORM]).await;
}

async fn service(name: &str) -> String {
    let service = get(&["service", name, "-n", PLATFORM]).await.unwrap();
    service["spec"]["clusterIP"].as_str().unwrap().to_owned()
}
