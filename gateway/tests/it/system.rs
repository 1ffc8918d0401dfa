//! `/system/*` over a real port, with the in-memory provider behind it: what is refused and how, and what streams.

use base64::Engine;
use daemon::{Stopper, SystemClock};
use gateway::{Config, Credentials, Gateway, Parts};
use provider::Provider;
use provider::memory::MemoryProvider;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use wire::log::LogLine;

const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway that runs, and what is behind it.
struct Running {
    address: SocketAddr,
    provider: Arc<MemoryProvider>,
    stopper: Stopper,
    task: JoinHandle<std::io::Result<()>>,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Running {
    async fn new() -> Self {
        Self::with_auth(None).await
    }

    async fn with_auth(auth: Option<Credentials>) -> Self {
        Self::of(MemoryProvider::new(), auth).await
    }

    async fn of(provider: MemoryProvider, auth: Option<Credentials>) -> Self {
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
        let parts = Parts { provider: Arc::clone(&provider) as _, queue: None, clock: Arc::new(SystemClock) };
        let gateway = Gateway::build(config, parts).unwrap();
        let address = gateway.address();
        let (stopper, stop) = daemon::stop::pair();
        let task = tokio::spawn(gateway.run(stop));
        Self { address, provider, stopper, task }
    }

    /// Sends exactly these bytes and reads until the gateway closes.
    async fn raw(&self, request: &[u8]) -> Answer {
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
                "{method} {path} HTTP/1.1\r\nHost: crema\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            )
            .as_bytes(),
        )
        .await
    }

    async fn expect(&self, method: &str, path: &str, body: &str, status: u16) -> Answer {
        let answer = self.send(method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path} {body:.200}: {answer:?}");
        answer
    }

    async fn deploy(&self, name: &str) {
        self.expect("POST", "/system/functions", &format!(r#"{{"service":"{name}","image":"owner/a:1"}}"#), 202).await;
    }

    /// Opens a log and gives its lines as they come.
    async fn follow(&self, query: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET /system/logs?{query} HTTP/1.1\r\nHost: crema\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        BufReader::new(stream)
    }

    async fn stop(self) {
        self.stopper.stop();
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap().unwrap();
    }
}

/// The next line with a JSON object in it; `None` at the end.
async fn next_text(stream: &mut BufReader<TcpStream>) -> Option<String> {
    loop {
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_line(&mut line)).await.unwrap().unwrap_or(0);
        if read == 0 || line == "0\r\n" {
            return None;
        }
        if line.starts_with('{') {
            let line: LogLine = serde_json::from_str(&line).unwrap();
            return Some(line.text);
        }
    }
}

fn line(text: &str) -> LogLine {
    LogLine {
        name: "hello".to_owned(),
        namespace: String::new(),
        instance: "hello-1".to_owned(),
        timestamp: "2026-01-02T03:04:05Z".to_owned(),
        text: text.to_owned(),
    }
}

/// Every route that reads a body: method and path.
const WITH_BODY: [(&str, &str); 10] = [
    ("POST", "/system/functions"),
    ("PUT", "/system/functions"),
    ("DELETE", "/system/functions"),
    ("POST", "/system/scale-function/hello"),
    ("POST", "/system/secrets"),
    ("PUT", "/system/secrets"),
    ("DELETE", "/system/secrets"),
    ("POST", "/system/namespace/"),
    ("PUT", "/system/namespace/shop"),
    ("POST", "/system/alert"),
];

#[tokio::test]
async fn malformed_json_is_refused_with_its_place_on_every_route() {
    let gateway = Running::new().await;
    gateway.deploy("hello").await;
    let deep = "[".repeat(5000);
    let bodies = [
        ("{", "line 1 column 1"),
        ("{\n  \"name\": }", "line 2 column 11"),
        (" \n\n  []", "line 3 column 3"),
        ("[\"hello\",\"owner/a:1\"]", "line 1 column 1"),
        ("\"text\"", "line 1 column"),
        ("null", "line 1 column"),
        ("{\"a\":1}}", "line 1 column"),
        ("\u{feff}{}", "line 1 column"),
        (deep.as_str(), "line 1 column"),
        ("not json", "line 1 column"),
    ];
    for (method, path) in WITH_BODY {
        for (body, place) in bodies {
            let answer = gateway.expect(method, path, body, 400).await;
            assert!(answer.body.contains(place), "{method} {path} {body:.40}: {}", answer.body);
            assert!(answer.head.contains("content-type: text/plain"), "{}", answer.head);
        }
        let answer = gateway.expect(method, path, "", 400).await;
        assert!(answer.body.contains("no body"), "{method} {path}: {}", answer.body);
        let invalid = [b"\xff\xfe{}".as_slice()].concat();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\n");
        assert_eq!(gateway.raw(&[head.as_bytes(), &invalid].concat()).await.status, 400, "{method} {path}");
    }
    // The one route whose body may be left out still reads it.
    gateway.expect("DELETE", "/system/namespace/shop", "{", 400).await;
    gateway.expect("DELETE", "/system/namespace/shop", "", 404).await;
    assert_eq!(gateway.provider.list("openfaas-fn").await.unwrap().len(), 1, "something was deployed or removed");
}

#[tokio::test]
async fn bad_names_are_refused_wherever_they_are_given() {
    let gateway = Running::new().await;
    let long = "x".repeat(300);
    for bad in ["../x", "..", "UPPER", "a.b", "-a", "a/b", "a b", "ä", "%00", long.as_str()] {
        let in_path: String = bad.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let named = |field: &str| json!({field: bad, "image": "owner/a:1", "replicas": 1, "value": "v"}).to_string();
        let spaced =
            |field: &str| json!({field: "a", "image": "owner/a:1", "value": "v", "namespace": bad}).to_string();
        for method in ["POST", "PUT"] {
            gateway.expect(method, "/system/functions", &named("service"), 400).await;
            gateway.expect(method, "/system/functions", &spaced("service"), 400).await;
        }
        gateway.expect("DELETE", "/system/functions", &named("functionName"), 400).await;
        gateway.expect("DELETE", "/system/functions", &spaced("functionName"), 400).await;
        gateway.expect("GET", &format!("/system/functions?namespace={in_path}"), "", 400).await;
        gateway.expect("GET", &format!("/system/function/{in_path}"), "", 400).await;
        gateway.expect("GET", &format!("/system/function/a?namespace={in_path}"), "", 400).await;
        gateway.expect("POST", &format!("/system/scale-function/{in_path}"), r#"{"replicas":1}"#, 400).await;
        gateway.expect("GET", &format!("/system/logs?name={in_path}"), "", 400).await;
        gateway.expect("GET", &format!("/system/namespace/{in_path}"), "", 400).await;
        gateway.expect("DELETE", &format!("/system/namespace/{in_path}"), "", 400).await;
        let marked = json!({"name": bad, "labels": {"openfaas": "1"}}).to_string();
        gateway.expect("POST", "/system/namespace/", &marked, 400).await;
        gateway.expect("PUT", &format!("/system/namespace/{in_path}"), &marked, 400).await;
        for method in ["POST", "PUT", "DELETE"] {
            gateway.expect(method, "/system/secrets", &spaced("name"), 400).await;
            // A secret's name may have dots in it.
            if bad != "a.b" {
                gateway.expect(method, "/system/secrets", &named("name"), 400).await;
            }
        }
    }
    assert!(gateway.provider.list("openfaas-fn").await.unwrap().is_empty());
    assert!(gateway.provider.secrets("openfaas-fn").await.unwrap().is_empty());
}

#[tokio::test]
async fn bad_deployments_are_refused_with_a_word_on_what_is_wrong() {
    let gateway = Running::new().await;
    gateway.deploy("hello").await;
    let full = |extra: Value| {
        let mut body = json!({"service": "hello", "image": "owner/hello:2"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body.to_string()
    };
    for (extra, named) in [
        (json!({"service": ""}), "service"),
        (json!({"service": null}), "service"),
        (json!({"image": ""}), "image"),
        (json!({"image": "owner/echo:0.1.0-fatal: not a git repository"}), "not a git repository"),
        (json!({"image": "Owner/Echo"}), "Owner/Echo"),
        (json!({"limits": {"memory": "12XB"}}), "12XB"),
        (json!({"requests": {"cpu": "fast"}}), "requests.cpu"),
        (json!({"limits": {"memory": 128}}), "line 1"),
        (json!({"labels": {"com.openfaas.scale.min": "few"}}), "com.openfaas.scale.min"),
        (json!({"labels": {"a": 1}}), "line 1"),
        (json!({"secrets": ["nope"]}), "faas-cli secret create nope"),
        (json!({"secrets": ["../../etc/passwd"]}), "../../etc/passwd"),
        (json!({"secrets": "nope"}), "line 1"),
        (json!({"envVars": {"A=B": "c"}}), "A=B"),
        (json!({"annotations": {"com.crema.data.path": "../x"}}), "com.crema.data.path"),
    ] {
        for method in ["PUT", "POST"] {
            let answer = gateway.expect(method, "/system/functions", &full(extra.clone()), 400).await;
            assert!(answer.body.contains(named), "{method} {extra}: {}", answer.body);
        }
    }
    let answer = gateway.expect("GET", "/system/function/hello", "", 200).await;
    assert!(answer.body.contains("owner/a:1"), "the update harmed it: {}", answer.body);
    for replicas in ["-1", "1001", "4294967296", "1.5", "\"2\"", "null"] {
        let body = format!(r#"{{"replicas":{replicas}}}"#);
        gateway.expect("POST", "/system/scale-function/hello", &body, 400).await;
    }
}

#[tokio::test]
async fn queries_that_make_no_sense_are_refused() {
    let gateway = Running::new().await;
    gateway.deploy("hello").await;
    for path in [
        "/system/logs",
        "/system/logs?name=",
        "/system/logs?name=hello&since=yesterday",
        "/system/logs?name=hello&tail=many",
        "/system/logs?name=hello&tail=99999999999999999999",
        "/system/logs?name=hello&follow=perhaps",
        "/system/function/hello?usage=perhaps",
        "/system/dead-letters?limit=0",
        "/system/dead-letters?limit=x",
        "/system/dead-letters?limit=999999",
    ] {
        gateway.expect("GET", path, "", 400).await;
    }
    gateway.expect("DELETE", "/system/functions?purge=perhaps", r#"{"functionName":"hello"}"#, 400).await;
    gateway.expect("GET", "/system/function/hello", "", 200).await;
}

#[tokio::test]
async fn what_is_not_there_is_404_and_never_a_redirect() {
    let gateway = Running::new().await;
    for (method, path, body) in [
        ("GET", "/system", ""),
        ("GET", "/system/", ""),
        ("GET", "/system/functions/", ""),
        ("POST", "/system/functions/", "{}"),
        ("GET", "/system//functions", ""),
        ("GET", "/system/./functions", ""),
        ("GET", "/system/function/", ""),
        ("GET", "/system/nonsense", ""),
        ("GET", "/system/telemetry", ""),
        ("POST", "/system/namespace", "{}"),
        ("GET", "/system/functions?namespace=nope", ""),
        ("GET", "/system/function/nope", ""),
        ("GET", "/system/function/nope?namespace=nope", ""),
        ("PUT", "/system/functions", r#"{"service":"nope","image":"a/b:1"}"#),
        ("POST", "/system/functions", r#"{"service":"a","image":"a/b:1","namespace":"nope"}"#),
        ("DELETE", "/system/functions", r#"{"functionName":"nope"}"#),
        ("POST", "/system/scale-function/nope", r#"{"replicas":1}"#),
        ("GET", "/system/logs?name=nope", ""),
        ("GET", "/system/secrets?namespace=nope", ""),
        ("PUT", "/system/secrets", r#"{"name":"nope","value":"v"}"#),
        ("DELETE", "/system/secrets", r#"{"name":"nope"}"#),
        ("GET", "/system/namespace/nope", ""),
        ("PUT", "/system/namespace/nope", r#"{"labels":{"openfaas":"1"}}"#),
        ("DELETE", "/system/namespace/nope", ""),
        ("GET", "/system/calls/nope", ""),
    ] {
        let answer = gateway.expect(method, path, body, 404).await;
        assert!(!answer.body.is_empty() && answer.body.len() < 200, "{method} {path}: {answer:?}");
    }
}

#[tokio::test]
async fn a_method_that_a_route_does_not_have_is_405() {
    let gateway = Running::new().await;
    for (method, path) in [
        ("PATCH", "/system/functions"),
        ("OPTIONS", "/system/functions"),
        ("POST", "/system/function/hello"),
        ("GET", "/system/scale-function/hello"),
        ("DELETE", "/system/info"),
        ("PATCH", "/system/secrets"),
        ("POST", "/system/namespaces"),
        ("PATCH", "/system/namespace/shop"),
        ("POST", "/system/logs"),
        ("GET", "/system/alert"),
        ("DELETE", "/system/calls/x"),
        ("POST", "/system/dead-letters"),
    ] {
        let answer = gateway.expect(method, path, "", 405).await;
        assert!(answer.head.contains("\r\nallow: "), "{}", answer.head);
    }
    for path in ["/system/functions", "/system/info", "/system/secrets", "/system/namespaces"] {
        let answer = gateway.expect("HEAD", path, "", 200).await;
        assert!(answer.body.is_empty(), "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn nothing_is_told_without_the_password() {
    let credentials = Credentials { user: "admin".to_owned(), password: "secret".to_owned() };
    let gateway = Running::with_auth(Some(credentials)).await;
    let authorised = base64::engine::general_purpose::STANDARD.encode("admin:secret");
    let ask = async |method: &str, path: &str, headers: &str| {
        gateway
            .raw(format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n").as_bytes())
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
async fn bodies_have_a_limit_chunked_or_not() {
    let gateway = Running::new().await;
    let head = "POST /system/functions HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
    let body = r#"{"service":"chunked","image":"owner/a:1"}"#;
    let (one, two) = body.split_at(10);
    let chunked =
        format!("{head}Transfer-Encoding: chunked\r\n\r\na\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n", two.len());
    assert_eq!(gateway.raw(chunked.as_bytes()).await.status, 202);
    let large = json!({"service": "large", "image": "a/b:1", "envProcess": "x".repeat(3 << 20)}).to_string();
    gateway.expect("POST", "/system/functions", &large, 413).await;
    let value = "x".repeat(1 << 20);
    gateway.expect("POST", "/system/secrets", &json!({"name": "large", "value": value}).to_string(), 202).await;
    assert_eq!(gateway.provider.secret("openfaas-fn", "large").unwrap().len(), 1 << 20);
}

#[tokio::test]
async fn an_error_repeats_nothing_of_a_secret() {
    let gateway = Running::new().await;
    for body in [
        r#"{"name":"a","value":{"hunter2":1}}"#,
        r#"{"name":"a","value":"hunter2"#,
        r#"{"name":["hunter2"],"value":"hunter2"}"#,
        r#"{"name":"a","rawValue":"hunter2!"}"#,
        r#""hunter2""#,
    ] {
        for method in ["POST", "PUT"] {
            let answer = gateway.expect(method, "/system/secrets", body, 400).await;
            assert!(!answer.body.contains("hunter2"), "{}", answer.body);
        }
    }
    gateway.expect("POST", "/system/secrets", r#"{"name":"a","value":"hunter2"}"#, 202).await;
    gateway.expect("POST", "/system/secrets", r#"{"name":"a","value":"hunter2"}"#, 409).await;
    let answer = gateway.expect("GET", "/system/secrets", "", 200).await;
    assert_eq!(answer.body, r#"[{"name":"a","namespace":"openfaas-fn"}]"#);
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
async fn a_log_is_lines_of_json() {
    let gateway = Running::new().await;
    gateway.deploy("hello").await;
    for text in ["one", "two \"quoted\"", "three\n\n"] {
        gateway.provider.log(line(text)).unwrap();
    }
    let answer = gateway.expect("GET", "/system/logs?name=hello&tail=-1&follow=false", "", 200).await;
    assert!(answer.head.contains("content-type: application/x-ndjson"), "{}", answer.head);
    for (query, wanted) in [
        ("tail=2", vec!["two \"quoted\"", "three\n\n"]),
        ("tail=0", vec!["one", "two \"quoted\"", "three\n\n"]),
        ("since=2026-01-02T03:04:06Z", vec![]),
        ("instance=hello-1&tail=1", vec!["three\n\n"]),
        ("instance=hello-2", vec![]),
    ] {
        let mut stream = gateway.follow(&format!("name=hello&{query}")).await;
        for text in wanted {
            assert_eq!(next_text(&mut stream).await.as_deref(), Some(text), "{query}");
        }
        assert_eq!(next_text(&mut stream).await, None, "{query}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_followed_log_goes_on_past_the_write_timeout_and_ends_with_the_gateway() {
    let gateway = Running::new().await;
    gateway.deploy("hello").await;
    gateway.provider.log(line("before")).unwrap();
    let mut stream = gateway.follow("name=hello&follow=true").await;
    assert_eq!(next_text(&mut stream).await.as_deref(), Some("before"));
    // Past the write timeout of this gateway, 1 s: there is no condition to wait for but time.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    gateway.provider.log(line("after")).unwrap();
    assert_eq!(next_text(&mut stream).await.as_deref(), Some("after"));
    gateway.stop().await;
    assert_eq!(next_text(&mut stream).await, None);
}

#[tokio::test]
async fn a_followed_log_is_let_go_when_its_reader_goes() {
    let gateway = Running::new().await;
    gateway.deploy("hello").await;
    gateway.provider.log(line("one")).unwrap();
    let hello = "hello".parse().unwrap();
    let mut stream = gateway.follow("name=hello&follow=true").await;
    assert_eq!(next_text(&mut stream).await.as_deref(), Some("one"));
    assert_eq!(gateway.provider.followers(&hello), 1);
    drop(stream);
    let begun = std::time::Instant::now();
    while gateway.provider.followers(&hello) > 0 {
        assert!(begun.elapsed() < PATIENCE, "the stream is still open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_was_begun_is_finished_when_the_client_goes() {
    let gateway = Running::of(MemoryProvider::new().slowed(Duration::from_millis(200)), None).await;
    let body = r#"{"service":"hello","image":"owner/a:1"}"#;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!("POST /system/functions HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    // The gateway has begun when it has read the request; the provider needs longer than that.
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(stream);
    let begun = std::time::Instant::now();
    while gateway.provider.list("openfaas-fn").await.unwrap().is_empty() {
        assert!(begun.elapsed() < PATIENCE, "the deployment was dropped with its client");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let gateway = Running::new().await;
    let head = "POST /system/functions HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{";
    let answer = gateway.raw(head.as_bytes()).await;
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!(answer.body.contains("read_timeout"), "{}", answer.body);
    assert!(gateway.provider.list("openfaas-fn").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_followed_log_ends_with_its_function() {
    let gateway = Running::new().await;
    gateway.deploy("hello").await;
    let mut stream = gateway.follow("name=hello&follow=1").await;
    gateway.provider.log(line("last words")).unwrap();
    assert_eq!(next_text(&mut stream).await.as_deref(), Some("last words"));
    gateway.expect("DELETE", "/system/functions", r#"{"functionName":"hello"}"#, 202).await;
    assert_eq!(next_text(&mut stream).await, None);
}
