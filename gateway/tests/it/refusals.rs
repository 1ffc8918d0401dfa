//! What `/system/*` refuses, route by route: malformed JSON, bad names, bad deployments, bodies over the limit.

use crate::system::Running;
use provider::Provider;
use serde_json::{Value, json};

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
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 4\r\n\r\n");
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
        ("GET", "/system/dead-letters/x"),
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
async fn bodies_have_a_limit_chunked_or_not() {
    let gateway = Running::new().await;
    let head = "POST /system/functions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
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
async fn a_body_that_does_not_come_is_not_waited_for() {
    let gateway = Running::new().await;
    let head = "POST /system/functions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{";
    let answer = gateway.raw(head.as_bytes()).await;
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!(answer.body.contains("read_timeout"), "{}", answer.body);
    assert!(gateway.provider.list("openfaas-fn").await.unwrap().is_empty());
}
