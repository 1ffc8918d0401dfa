//! `/system/*` over a real port, with the in-memory provider behind it: what is refused and how, and what streams.

use crate::stage::eventually;
use base64::Engine;
use daemon::{Stopper, SystemClock};
use gateway::{Config, Credentials, Gateway, Parts};
use provider::Provider;
use provider::memory::MemoryProvider;
use queue::Queue;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway that runs, and what is behind it.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) provider: Arc<MemoryProvider>,
    stopper: Stopper,
    task: JoinHandle<std::io::Result<()>>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Running {
    pub(crate) async fn new() -> Self {
        Self::with_auth(None).await
    }

    async fn with_auth(auth: Option<Credentials>) -> Self {
        Self::of(MemoryProvider::new(), auth).await
    }

    async fn of(provider: MemoryProvider, auth: Option<Credentials>) -> Self {
        Self::with_queue(provider, auth, None).await
    }

    pub(crate) async fn with_queue(
        provider: MemoryProvider,
        auth: Option<Credentials>,
        queue: Option<Arc<dyn Queue>>,
    ) -> Self {
        let provider = Arc::new(provider);
        let port = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let config = Config {
            listen: port(0),
            metrics: port(0),
            auth,
            workers: 1,
            read_timeout: Duration::from_secs(1),
            write_timeout: Duration::from_secs(1),
            ..Config::default()
        };
        let parts = Parts { provider: Arc::clone(&provider) as _, queue, clock: Arc::new(SystemClock) };
        let gateway = Gateway::build(config, parts).unwrap();
        let address = gateway.address();
        let (stopper, stop) = daemon::stop::pair();
        let task = tokio::spawn(gateway.run(stop));
        Self { address, provider, stopper, task }
    }

    /// Sends exactly these bytes and reads until the gateway closes.
    pub(crate) async fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        let reading = stream.read_to_end(&mut answer);
        tokio::time::timeout(PATIENCE, reading).await.unwrap().unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer but {answer:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        let length = body.len();
        self.raw(
            format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            )
            .as_bytes(),
        )
        .await
    }

    pub(crate) async fn expect(&self, method: &str, path: &str, body: &str, status: u16) -> Answer {
        let answer = self.send(method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path} {body:.200}: {answer:?}");
        answer
    }

    pub(crate) async fn deploy(&self, name: &str) {
        self.expect("POST", "/system/functions", &format!(r#"{{"service":"{name}","image":"owner/a:1"}}"#), 202).await;
    }

    /// Opens a log and gives its lines as they come.
    pub(crate) async fn follow(&self, query: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET /system/logs?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        BufReader::new(stream)
    }

    pub(crate) async fn stop(self) {
        self.stopper.stop();
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn nothing_is_told_without_the_password() {
    let credentials = Credentials { user: "admin".to_owned(), password: "secret".to_owned() };
    let gateway = Running::with_auth(Some(credentials)).await;
    let authorised = base64::engine::general_purpose::STANDARD.encode("admin:secret");
    let ask = async |method: &str, path: &str, headers: &str| {
        gateway
            .raw(
                format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n").as_bytes(),
            )
            .await
    };
    for (method, path) in [
        ("GET", "/system/functions"),
        ("PATCH", "/system/functions"),
        ("GET", "/system/info"),
        ("GET", "/system/nonsense"),
        ("GET", "/system/logs?name=hello"),
        ("POST", "/system/alert"),
        ("GET", "/system/calls/x"),
    ] {
        for header in ["", "Authorization: Bearer\r\n", "Authorization: Basic\r\n", "Authorization: Basic YWRtaW46\r\n"]
        {
            let answer = ask(method, path, header).await;
            assert_eq!((answer.status, answer.body.as_str()), (401, "invalid credentials"), "{method} {path} {header}");
            assert!(answer.head.contains(r#"www-authenticate: basic realm="restricted""#), "{}", answer.head);
        }
    }
    let answer = ask("GET", "/system/functions", &format!("Authorization: Basic {authorised}\r\n")).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "[]"));
    assert_eq!(ask("GET", "/healthz", "").await.status, 200);
}

#[tokio::test]
async fn a_function_lives_through_the_whole_api() {
    let gateway = Running::new().await;
    gateway.expect("POST", "/system/secrets", r#"{"name":"key","value":"text","rawValue":"Ynl0ZXMK"}"#, 202).await;
    assert_eq!(gateway.provider.secret("openfaas-fn", "key").unwrap(), b"bytes\n");
    let deployment = json!({
        "service": "hello", "image": "owner/hello:0.1.0", "envProcess": "./run", "envVars": {"A": "b"},
        "constraints": ["disk=ssd"], "secrets": ["key"], "labels": {"com.openfaas.scale.min": "2"},
        "annotations": {"topic": "orders"}, "limits": {"memory": "128Mi", "nvidia.com/gpu": "1"},
        "requests": {"cpu": "50m"}, "readOnlyRootFilesystem": true,
    });
    gateway.expect("POST", "/system/functions", &deployment.to_string(), 202).await;
    gateway.expect("POST", "/system/functions", &deployment.to_string(), 409).await;
    gateway.expect("PUT", "/system/functions", &deployment.to_string(), 202).await;
    let listed: Value = serde_json::from_str(&gateway.expect("GET", "/system/functions", "", 200).await.body).unwrap();
    let status: Value =
        serde_json::from_str(&gateway.expect("GET", "/system/function/hello", "", 200).await.body).unwrap();
    assert_eq!(listed, json!([status]));
    for (field, value) in deployment.as_object().unwrap() {
        assert_eq!(status[if field == "service" { "name" } else { field }], *value, "{field}");
    }
    assert_eq!((&status["replicas"], &status["availableReplicas"]), (&json!(2), &json!(2)));
    let scale = r#"{"serviceName":"another","replicas":0}"#;
    gateway.expect("POST", "/system/scale-function/hello?namespace=openfaas-fn", scale, 202).await;
    let answer = gateway.expect("GET", "/system/function/hello?usage=1", "", 200).await;
    assert!(!answer.body.contains("availableReplicas"), "{}", answer.body);
    gateway.expect("DELETE", "/system/secrets", r#"{"name":"key"}"#, 409).await;
    gateway.expect("DELETE", "/system/functions?purge=true", r#"{"functionName":"hello"}"#, 202).await;
    gateway.expect("DELETE", "/system/functions", r#"{"functionName":"hello"}"#, 404).await;
    gateway.expect("DELETE", "/system/secrets", r#"{"name":"key"}"#, 202).await;
    assert_eq!(gateway.expect("GET", "/system/functions", "", 200).await.body, "[]");
}

#[tokio::test]
async fn a_namespace_is_made_marked_used_and_removed() {
    let gateway = Running::new().await;
    let marked = r#"{"name":"shop","labels":{"openfaas":"1","tier":"dev"},"annotations":{"owner":"ops"}}"#;
    for bare in [r#"{"name":"shop"}"#, r#"{"name":"shop","labels":{"openfaas":"yes"}}"#] {
        let answer = gateway.expect("POST", "/system/namespace/", bare, 400).await;
        assert!(answer.body.contains("openfaas=1"), "{}", answer.body);
    }
    gateway.expect("POST", "/system/namespace/", marked, 201).await;
    gateway.expect("POST", "/system/namespace/", marked, 409).await;
    gateway.expect("POST", "/system/namespace/till", marked, 400).await;
    let answer = gateway.expect("GET", "/system/namespace/shop", "", 200).await;
    let expected: Value = serde_json::from_str(marked).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&answer.body).unwrap(), expected);
    let by_annotation = r#"{"annotations":{"openfaas":"1"}}"#;
    gateway.expect("PUT", "/system/namespace/shop", by_annotation, 202).await;
    gateway.expect("POST", "/system/functions", r#"{"service":"a","image":"b/c","namespace":"shop"}"#, 202).await;
    let answer = gateway.expect("GET", "/system/namespaces", "", 200).await;
    assert_eq!(answer.body, r#"["openfaas-fn","shop"]"#);
    gateway.expect("DELETE", "/system/namespace/shop", "", 409).await;
    gateway.expect("DELETE", "/system/namespace/openfaas-fn", "", 409).await;
    // The namespace of a delete stands in the body or in the query.
    gateway.expect("DELETE", "/system/functions?namespace=shop", r#"{"functionName":"a"}"#, 202).await;
    gateway.expect("DELETE", "/system/namespace/shop", r#"{"name":"till"}"#, 400).await;
    gateway.expect("DELETE", "/system/namespace/shop", r#"{"name":"shop","labels":{"openfaas":"1"}}"#, 202).await;
}

#[tokio::test]
async fn info_has_no_null_in_it() {
    let gateway = Running::new().await;
    let answer = gateway.expect("GET", "/system/info", "", 200).await;
    assert!(!answer.body.contains("null"), "{}", answer.body);
    let info: wire::info::Info = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(info.version.release, env!("CARGO_PKG_VERSION"));
    assert!(!info.arch.is_empty() && !info.provider.version.release.is_empty());
}

#[tokio::test]
async fn an_alert_scales_within_the_labels() {
    let gateway = Running::new().await;
    let labelled = r#"{"service":"hello","image":"a/b","labels":{"com.openfaas.scale.max":"3"}}"#;
    gateway.expect("POST", "/system/functions", labelled, 202).await;
    let alert = |status: &str, name: &str| {
        json!({"status": status, "receiver": "scale-up",
            "alerts": [{"status": status, "labels": {"alertname": "APIHighInvocationRate", "function_name": name}}]})
        .to_string()
    };
    let hello = "hello".parse().unwrap();
    for (status, wanted) in [("firing", 2), ("firing", 3), ("firing", 3), ("resolved", 1), ("resolved", 1)] {
        gateway.expect("POST", "/system/alert", &alert(status, "hello.openfaas-fn"), 200).await;
        assert_eq!(gateway.provider.replicas().get(&hello).unwrap().desired, wanted);
    }
    assert_eq!(gateway.provider.scalings(&hello), 3);
    let answer = gateway.expect("POST", "/system/alert", &alert("firing", "nope"), 500).await;
    assert!(answer.body.starts_with("[0] "), "{}", answer.body);
}

#[tokio::test]
async fn what_was_begun_is_finished_when_the_client_goes() {
    let gateway = Running::of(MemoryProvider::new().slowed(Duration::from_millis(200)), None).await;
    let body = r#"{"service":"hello","image":"owner/a:1"}"#;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!("POST /system/functions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    eventually("the provider has begun", async || gateway.provider.begun() == 1).await;
    drop(stream);
    eventually("what was begun is done", async || !gateway.provider.list("openfaas-fn").await.unwrap().is_empty())
        .await;
}
