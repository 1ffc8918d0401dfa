//! How a gateway stops, and what its listeners serve.

use crate::stage::{Answer, Function, PATIENCE, Stage, build, raw};
use gateway::Config;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_running_call_ends_and_may_call_other_functions_for_that() {
    let config = Config { functions: Some(SocketAddr::from(([127, 0, 0, 1], 0))), ..Config::default() };
    let (gateway, provider) = build(config, None);
    let inner = gateway.functions_address();
    assert_ne!(inner, gateway.address());
    let get = b"GET /function/other HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut outer = Function::held(move || async move { format!("other said {}", raw(inner, get).await.body) }).await;
    let other = Function::ok().await;
    let stage = Stage::run(gateway, provider).await;
    stage.function("f", outer.address()).await;
    stage.function("other", other.address).await;
    let mut client = stage.connect().await;
    client.write_all(b"GET /function/f HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    outer.arrives().await;
    stage.stopper.stop();
    let address = stage.address;
    crate::stage::eventually("the gateway takes no more clients", async || {
        tokio::net::TcpStream::connect(address).await.is_err()
    })
    .await;
    outer.release();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, client.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert_eq!(Answer::read(&answer).body, "other said fine");
    tokio::time::timeout(PATIENCE, stage.task).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn counts_of_invocations_outlive_the_gateway() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { counters: Some(dir.path().join("counters.json")), ..Config::default() };
    let function = Function::ok().await;
    for round in 1..=2 {
        let stage = Stage::with(config.clone(), None).await;
        stage.function("f", function.address).await;
        assert_eq!(stage.get("/function/f").await.status, 200);
        let wanted = format!("\"invocationCount\":{round}.0");
        crate::stage::eventually("the call is counted", async || {
            stage.get("/system/functions").await.body.contains(&wanted)
        })
        .await;
        stage.stopper.stop();
        tokio::time::timeout(PATIENCE, stage.task).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn an_idle_gateway_with_clients_connected_stops_at_once() {
    let (stage, function) = (Stage::new().await, Function::ok().await);
    stage.function("f", function.address).await;
    let mut client = stage.connect().await;
    client.write_all(b"GET /function/f HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"fine") {
        client.read_buf(&mut answer).await.unwrap();
    }
    stage.stopper.stop();
    tokio::time::timeout(Duration::from_secs(5), stage.task).await.expect("it stops within 5 s").unwrap().unwrap();
}
