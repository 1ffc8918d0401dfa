//! Calls that find no replica: one wish however many wait, bounded waiting, and the reason when there is none.

use crate::stage::{Answer, Function, PATIENCE, Stage, eventually};
use gateway::Config;
use provider::memory::Script;
use provider::{Address, Provider};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

#[tokio::test]
async fn two_hundred_callers_start_one_replica() {
    let stage = Stage::new().await;
    let function = Function::ok().await;
    let name = "f".parse().unwrap();
    stage.script("f", Script { at_most: 0, ..Script::at(Address::Tcp(function.address)) });
    stage.deploy("f", [].into()).await;
    stage.provider.scale(&name, 0).await.unwrap();
    let before = stage.provider.scalings(&name);
    let mut callers = JoinSet::new();
    for _ in 0..200 {
        let address = stage.address;
        callers.spawn(async move {
            let get = b"GET /function/f HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            crate::stage::raw(address, get).await.status
        });
    }
    eventually("all wait", async || stage.scrape().await.contains("gateway_cold_waiting 200")).await;
    stage.script("f", Script::at(Address::Tcp(function.address)));
    while let Some(status) = callers.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    assert_eq!((stage.provider.scalings(&name) - before, function.count()), (1, 200));
    let metrics = stage.scrape().await;
    for line in [
        r#"gateway_cold_starts_total{function_name="f.openfaas-fn"} 1"#,
        r#"gateway_cold_wait_seconds_count{function_name="f.openfaas-fn"} 200"#,
        r#"gateway_cold_wait_seconds_bucket{function_name="f.openfaas-fn",le="0.008"}"#,
        "gateway_cold_waiting 0",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn a_call_goes_on_when_the_replica_is_ready_and_not_when_the_wish_is_on_disk() {
    let stage = Stage::new().await;
    let function = Function::ok().await;
    let slow_to_keep = Duration::from_secs(3600);
    stage.script("f", Script { slow_to_keep, ..Script::at(Address::Tcp(function.address)) });
    stage.deploy("f", [].into()).await;
    let name = "f".parse().unwrap();
    drop(tokio::time::timeout(Duration::from_millis(1), stage.provider.scale(&name, 0)).await);
    assert_eq!(stage.get("/function/f").await.status, 200);
    assert_eq!(stage.provider.replicas().get(&name).unwrap().desired, 1);
}

#[tokio::test]
async fn what_is_scaled_to_zero_under_a_waiting_call_is_started_again() {
    let stage = Stage::new().await;
    let function = Function::ok().await;
    let name = "f".parse().unwrap();
    stage.script("f", Script { at_most: 0, ..Script::at(Address::Tcp(function.address)) });
    stage.deploy("f", [].into()).await;
    let address = stage.address;
    let get = b"GET /function/f HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let call = tokio::spawn(async move { crate::stage::raw(address, get).await.status });
    eventually("it waits", async || stage.scrape().await.contains("gateway_cold_waiting 1")).await;
    stage.provider.scale(&name, 0).await.unwrap();
    eventually("it is wished for again", async || {
        stage.provider.replicas().get(&name).is_some_and(|known| known.desired == 1)
    })
    .await;
    stage.script("f", Script::at(Address::Tcp(function.address)));
    assert_eq!(call.await.unwrap(), 200);
}

#[tokio::test]
async fn waiting_is_bounded_and_says_why() {
    let config = Config { scale_max_waiting: 1, scale_wait: Duration::from_secs(3), ..Config::default() };
    let stage = Stage::with(config, None).await;
    stage.script("f", Script { at_most: 0, ..Script::default() });
    stage.deploy("f", [].into()).await;
    let address = stage.address;
    let get = b"GET /function/f HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let first = tokio::spawn(async move { crate::stage::raw(address, get).await });
    eventually("one waits", async || stage.scrape().await.contains("gateway_cold_waiting 1")).await;
    let second = stage.get("/function/f").await;
    assert_eq!((second.status, second.header("retry-after")), (503, vec!["1".into()]));
    assert!(second.body.contains("scale_max_waiting"), "{second:?}");
    let first = first.await.unwrap();
    assert_eq!(first.status, 504, "{first:?}");
    stage.script("f", Script { at_most: 0, trouble: Some("exits with code 3".to_owned()), ..Script::default() });
    let third = stage.get("/function/f").await;
    assert_eq!(third.status, 503);
    assert!(third.body.contains("exits with code 3"), "{third:?}");
    let refused = Script { at_most: 0, refuses_to_scale: Some("no room".to_owned()), ..Script::default() };
    stage.provider.scale(&"f".parse().unwrap(), 0).await.unwrap();
    stage.script("f", refused);
    let fourth = stage.get("/function/f").await;
    assert_eq!(fourth.status, 503);
    assert!(fourth.body.contains("no room"), "{fourth:?}");
}

#[tokio::test]
async fn a_replica_that_is_not_there_is_waited_for_a_moment() {
    let stage = Stage::new().await;
    let (gone, function) = (closed_port().await, Function::ok().await);
    stage.function("f", gone).await;
    let address = stage.address;
    let call = tokio::spawn(async move {
        crate::stage::raw(address, b"GET /function/f HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await
    });
    eventually("the call began", async || {
        stage.scrape().await.contains(r#"invocation_started{function_name="f.openfaas-fn"} 1"#)
    })
    .await;
    stage.script("f", Script::at(Address::Tcp(function.address)));
    assert_eq!(call.await.unwrap().status, 200);
    stage.script("f", Script::at(Address::Tcp(gone)));
    let answer = stage.get("/function/f").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, vec!["1".into()]), "{answer:?}");
}

#[tokio::test]
async fn a_call_that_a_leaving_replica_did_not_read_goes_to_the_next_one() {
    let stage = Stage::new().await;
    let (dir, function) = (tempfile::tempdir().unwrap(), Function::ok().await);
    let path = dir.path().join("s");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    stage.script("f", Script::at(Address::Unix(path.into())));
    stage.deploy("f", [].into()).await;
    let address = stage.address;
    let call = tokio::spawn(async move {
        let post = b"POST /function/f HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\norder";
        crate::stage::raw(address, post).await.status
    });
    let (unread, _) = listener.accept().await.unwrap();
    unread.readable().await.unwrap();
    stage.script("f", Script::at(Address::Tcp(function.address)));
    drop((listener, unread));
    assert_eq!(call.await.unwrap(), 200);
    assert_eq!(function.only().body, b"order");
}

#[tokio::test]
async fn a_slow_body_goes_to_the_replica_that_is_there_when_it_has_come() {
    let stage = Stage::new().await;
    let (old, new) = (Function::ok().await, Function::ok().await);
    stage.function("f", old.address).await;
    let mut client = stage.connect().await;
    let head = b"POST /function/f HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\n";
    client.write_all(head).await.unwrap();
    eventually("the call began", async || {
        stage.scrape().await.contains(r#"invocation_started{function_name="f.openfaas-fn"} 1"#)
    })
    .await;
    stage.script("f", Script::at(Address::Tcp(new.address)));
    client.write_all(b"order").await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, client.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert_eq!((Answer::read(&answer).status, old.count(), new.count()), (200, 0, 1));
}

async fn closed_port() -> std::net::SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}
