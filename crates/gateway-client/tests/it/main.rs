//! The client and the list of functions against a gateway made of paper.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use bytes::Bytes;
use gateway_client::testing::FakeGateway;
use gateway_client::{ClientConfig, ClientError, Credentials, FunctionList, GatewayClient, HeaderMap};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

const SOON: Duration = Duration::from_millis(10);

fn client(gateway: &FakeGateway) -> GatewayClient {
    GatewayClient::new(&ClientConfig::new(&gateway.url(), Some(Credentials::new("admin", "secret")))).unwrap()
}

fn names(functions: &[wire::function::FunctionStatus]) -> Vec<String> {
    functions.iter().map(|function| format!("{}.{}", function.name, function.namespace)).collect()
}

#[tokio::test]
async fn a_list_holds_every_function_of_every_namespace_once() {
    let gateway = FakeGateway::start().await;
    gateway.set_namespaces(&["shop", "openfaas-fn", "shop"]);
    gateway.deploy("b", "shop", &[("topic", "x")]);
    gateway.deploy("a", "openfaas-fn", &[]);
    let (_stopper, stop) = daemon::stop::pair();
    let list = FunctionList::follow(client(&gateway), SOON, stop);
    assert_eq!(names(&list.first().await.unwrap()), ["a.openfaas-fn", "b.shop"]);
}

#[tokio::test]
async fn a_list_of_some_namespaces_holds_no_other_and_waits_for_none() {
    let gateway = FakeGateway::start().await;
    gateway.set_namespaces(&["shop", "till"]);
    gateway.deploy("a", "shop", &[]);
    gateway.deploy("b", "till", &[]);
    let (_stopper, stop) = daemon::stop::pair();
    let env = [("CREMA_NAMESPACES", "till, later"), ("rebuild_interval", "10ms")];
    let list = FunctionList::from_env(client(&gateway), &env, stop.clone()).unwrap();
    assert_eq!(names(&list.first().await.unwrap()), ["b.till"]);
    gateway.set_namespaces(&["shop", "till", "later"]);
    gateway.deploy("c", "later", &[]);
    let mut watch = list.watch();
    let both = watch.wait_for(|list| list.as_ref().is_some_and(|list| list.len() == 2)).await.unwrap();
    assert_eq!(names(both.as_ref().unwrap()), ["c.later", "b.till"]);
    let error = FunctionList::from_env(client(&gateway), &[("CREMA_NAMESPACES", "a,B")], stop).unwrap_err();
    assert!(error.to_string().contains("CREMA_NAMESPACES=B"), "{error}");
}

#[tokio::test]
async fn without_namespaces_the_default_one_is_listed() {
    let gateway = FakeGateway::start().await;
    gateway.set_namespaces(&[]);
    gateway.deploy("a", "openfaas-fn", &[]);
    let (_stopper, stop) = daemon::stop::pair();
    let list = FunctionList::follow(client(&gateway), SOON, stop);
    assert_eq!(names(&list.first().await.unwrap()), ["a.openfaas-fn"]);
}

#[tokio::test]
async fn a_list_outlives_a_gateway_that_fails_and_restarts() {
    let mut gateway = FakeGateway::start().await;
    gateway.answer_system(503);
    let (_stopper, stop) = daemon::stop::pair();
    let list = FunctionList::follow(client(&gateway), SOON, stop);
    assert!(list.current().is_none());
    gateway.deploy("a", "openfaas-fn", &[]);
    gateway.answer_system(200);
    assert_eq!(names(&list.first().await.unwrap()), ["a.openfaas-fn"]);
    gateway.stop().await;
    gateway.deploy("b", "openfaas-fn", &[]);
    assert_eq!(names(&list.current().unwrap()), ["a.openfaas-fn"]);
    gateway.restart().await;
    let mut watch = list.watch();
    watch.wait_for(|list| list.as_ref().is_some_and(|list| list.len() == 2)).await.unwrap();
}

#[tokio::test]
async fn a_stopped_list_says_so_to_those_who_wait() {
    let gateway = FakeGateway::start().await;
    gateway.answer_system(500);
    let (stopper, stop) = daemon::stop::pair();
    let list = FunctionList::follow(client(&gateway), SOON, stop);
    stopper.stop();
    assert!(list.first().await.is_none());
}

#[tokio::test]
async fn an_asynchronous_post_carries_headers_and_no_credentials() {
    let gateway = FakeGateway::start().await;
    let mut headers = HeaderMap::new();
    headers.insert("x-topic", "a/b".parse().unwrap());
    let name = "order.shop".parse().unwrap();
    let id = client(&gateway).post_async(&name, headers, Bytes::from_static(b"\0\xff")).await.unwrap();
    assert_eq!(id.to_string(), "call-1");
    let posted = &gateway.posted()[0];
    assert_eq!(posted.path, "/async-function/order.shop");
    assert_eq!(posted.headers["x-topic"], "a/b");
    assert!(!posted.headers.contains_key("authorization"));
    assert_eq!(&posted.body[..], b"\0\xff");
}

#[tokio::test]
async fn a_refusal_names_url_status_and_reason() {
    let gateway = FakeGateway::start().await;
    gateway.answer("order.openfaas-fn", 413);
    let name = "order".parse().unwrap();
    let error = client(&gateway).post_async(&name, HeaderMap::new(), Bytes::new()).await.unwrap_err();
    assert_eq!(error.status(), Some(413));
    assert!(!error.is_temporary());
    let text = error.to_string();
    assert!(text.contains("/async-function/order.openfaas-fn: 413: as the test asked"), "{text}");
    gateway.answer("order.openfaas-fn", 200);
    let error = client(&gateway).post_async(&name, HeaderMap::new(), Bytes::new()).await.unwrap_err();
    assert!(error.is_temporary(), "a 200 is not the 202 that says it is on disk: {error}");
}

#[tokio::test]
async fn no_call_waits_longer_than_its_limit() {
    let gateway = FakeGateway::start().await;
    gateway.set_open(false);
    let mut config = ClientConfig::new(&gateway.url(), None);
    config.time_limit = Duration::from_millis(50);
    let client = GatewayClient::new(&config).unwrap();
    let error = client.post_async(&"order".parse().unwrap(), HeaderMap::new(), Bytes::new()).await.unwrap_err();
    assert!(matches!(error, ClientError::TimeLimit { .. }), "{error}");
}

#[tokio::test]
async fn a_gateway_that_is_away_is_told_apart() {
    let mut gateway = FakeGateway::start().await;
    let client = client(&gateway);
    client.wait_ready(Duration::ZERO).await.unwrap();
    gateway.stop().await;
    let error = client.wait_ready(Duration::from_millis(100)).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    assert!(error.is_temporary());
}

#[test]
fn urls_that_cannot_be_used_are_refused_without_their_password() {
    for bad in ["", "localhost:8080", "ftp://x", "http://", "http://admin:hush@host", "http://h/?q"] {
        let error = GatewayClient::new(&ClientConfig::new(bad, None)).unwrap_err().to_string();
        assert!(error.starts_with("gateway URL") && !error.contains("hush"), "{error}");
    }
}

/// Whoever has the address of a gateway that went may answer as well, on a connection that leads to him for ever.
#[tokio::test]
async fn a_connection_that_leads_elsewhere_is_left() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let answers = [
            "HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nwho?",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]",
        ];
        for answer in answers {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while stream.read_line(&mut line).await.is_ok_and(|count| count > 0) {
                    if line == "\r\n" {
                        stream.get_mut().write_all(answer.as_bytes()).await.unwrap();
                    }
                    line.clear();
                }
            });
        }
    });
    let client = GatewayClient::new(&ClientConfig::new(&format!("http://{address}"), None)).unwrap();
    assert!(client.functions("").await.is_err_and(|error| error.is_not_found()));
    // The question that shows it is the last one there.
    let asked = [client.functions("").await, client.functions("").await];
    assert!(asked.iter().any(Result::is_ok), "{asked:?}");
}
