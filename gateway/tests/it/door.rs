//! Listeners that come and go while the gateway runs.

use crate::stage::{Answer, Function, PATIENCE, Stage, build, eventually, raw};
use gateway::{Config, Door, DoorGuard};
use provider::Address;
use provider::memory::Script;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const GET: &[u8] = b"GET /function/f HTTP/1.1\r\nHost: gateway:8080\r\n\r\n";

/// A gateway that runs, its door, and a function `f`.
async fn stage() -> (Stage, Door, Function) {
    let (gateway, provider) = build(Config::default(), None);
    let door = gateway.door();
    let (stage, function) = (Stage::run(gateway, provider).await, Function::ok().await);
    stage.function("f", function.address).await;
    (stage, door, function)
}

fn open(door: &Door) -> (SocketAddr, DoorGuard) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    (listener.local_addr().unwrap(), door.add(listener).unwrap())
}

/// One call over a connection that stays.
async fn call(client: &mut TcpStream) -> Answer {
    client.write_all(GET).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"fine") {
        let read = tokio::time::timeout(PATIENCE, client.read_buf(&mut answer)).await.unwrap().unwrap();
        assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&answer));
    }
    Answer::read(&answer)
}

async fn ends(client: &mut TcpStream) {
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, client.read_to_end(&mut rest)).await.expect("it ends").unwrap_or_default();
    assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
}

#[tokio::test]
async fn what_is_added_before_and_while_the_gateway_runs_serves_the_same_routes() {
    let (gateway, provider) = build(Config::default(), None);
    let door = gateway.door();
    let (before, _first) = open(&door);
    let (stage, function) = (Stage::run(gateway, provider).await, Function::ok().await);
    stage.function("f", function.address).await;
    let (meanwhile, _second) = open(&door);
    for address in [before, meanwhile, stage.address] {
        for (path, status) in
            [("/function/f", 200), ("/function/none", 404), ("/healthz", 200), ("/system/functions", 200), ("/x", 404)]
        {
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            let answer = raw(address, request.as_bytes()).await;
            assert_eq!(answer.status, status, "{address} {path}");
        }
    }
    let arrived = function.arrived.lock().unwrap();
    assert_eq!(arrived.len(), 3);
    for request in arrived.iter() {
        assert_eq!(request.header("x-forwarded-proto"), ["http"]);
        assert_eq!(request.header("x-forwarded-for"), ["127.0.0.1"]);
    }
}

#[tokio::test]
async fn two_hundred_listeners_cost_no_thread_and_close_when_dropped() {
    let (_stage, door, _function) = stage().await;
    let (address, first) = open(&door);
    assert_eq!(raw(address, b"GET /healthz HTTP/1.0\r\n\r\n").await.status, 200);
    let before = threads();
    let listeners: Vec<_> = (0..200).map(|_| open(&door)).collect();
    for (address, _) in &listeners {
        let mut client = TcpStream::connect(address).await.unwrap();
        assert_eq!(call(&mut client).await.status, 200);
    }
    // Other tests of this process start and stop gateways meanwhile, so this is not exact.
    assert!(threads() < before + 150, "{before} -> {}", threads());
    drop(first);
    let addresses: Vec<_> = listeners.iter().map(|(address, _)| *address).collect();
    drop(listeners);
    for address in addresses {
        eventually("a dropped listener is closed", async || TcpStream::connect(address).await.is_err()).await;
    }
}

/// How many this process has.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[tokio::test]
async fn a_dropped_listener_lets_its_calls_end_and_leaves_others_alone() {
    let (stage, door, _function) = stage().await;
    let mut slow = Function::held(|| async { "at last".to_owned() }).await;
    stage.function("slow", slow.address()).await;
    let ((address, guard), (other, _stays)) = (open(&door), open(&door));
    let mut idle = TcpStream::connect(address).await.unwrap();
    call(&mut idle).await;
    call(&mut idle).await;
    let mut another = TcpStream::connect(other).await.unwrap();
    call(&mut another).await;
    let mut busy = TcpStream::connect(address).await.unwrap();
    busy.write_all(b"GET /function/slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    slow.arrives().await;
    drop(guard);
    ends(&mut idle).await;
    eventually("it is closed", async || TcpStream::connect(address).await.is_err()).await;
    slow.release();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, busy.read_to_end(&mut answer)).await.unwrap().unwrap();
    let answer = Answer::read(&answer);
    assert_eq!(
        (answer.status, answer.body.as_str(), answer.header("connection")),
        (200, "at last", vec!["close".into()])
    );
    assert_eq!(call(&mut another).await.status, 200);
}

#[tokio::test]
async fn the_door_stays_open_while_calls_end_and_closes_then() {
    let (gateway, provider) = build(Config::default(), None);
    let door = gateway.door();
    let (inner, _guard) = open(&door);
    let get = b"GET /function/f HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut outer = Function::held(move || async move { format!("f said {}", raw(inner, get).await.body) }).await;
    let (stage, function) = (Stage::run(gateway, provider).await, Function::ok().await);
    stage.function("f", function.address).await;
    stage.function("outer", outer.address()).await;
    let mut idle = TcpStream::connect(inner).await.unwrap();
    call(&mut idle).await;
    let mut client = stage.connect().await;
    client.write_all(b"GET /function/outer HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    outer.arrives().await;
    stage.stopper.stop();
    let address = stage.address;
    eventually("the gateway takes no more clients", async || TcpStream::connect(address).await.is_err()).await;
    outer.release();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, client.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert_eq!(Answer::read(&answer).body, "f said fine");
    ends(&mut idle).await;
    tokio::time::timeout(Duration::from_secs(5), stage.task).await.expect("it stops at once").unwrap().unwrap();
    assert!(TcpStream::connect(inner).await.is_err());
    let late = door.add(std::net::TcpListener::bind("127.0.0.1:0").unwrap()).unwrap_err();
    assert!(late.to_string().contains("the gateway has stopped"), "{late}");
}

#[tokio::test]
async fn a_provider_knows_a_door_without_knowing_the_gateway() {
    let (stage, door, function) = stage().await;
    let door: std::sync::Arc<dyn provider::Door> = std::sync::Arc::new(door);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let guard = door.add(listener).unwrap();
    stage.script("f", Script::at(Address::Tcp(function.address)));
    assert_eq!(call(&mut TcpStream::connect(address).await.unwrap()).await.status, 200);
    drop(guard);
    eventually("it is closed", async || TcpStream::connect(address).await.is_err()).await;
}
