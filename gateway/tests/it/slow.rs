//! Clients that take their time, on connections that are kept.

use crate::stage::{Function, PATIENCE, Stage, build, read_request};
use gateway::Config;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

const LIMIT: Duration = Duration::from_secs(2);
const GET: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
/// How it is answered.
const OK: &str = "\r\n\r\nOK";

async fn stage() -> Stage {
    Stage::with(Config { read_timeout: LIMIT, ..Config::default() }, None).await
}

/// Sends a request and reads until the answer has this in it.
async fn ask(client: &mut TcpStream, request: &[u8], wanted: &str) {
    client.write_all(request).await.unwrap();
    hear(client, wanted).await;
}

async fn hear(client: &mut TcpStream, wanted: &str) {
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains(wanted) {
        let read = tokio::time::timeout(PATIENCE, client.read_buf(&mut answer)).await.unwrap().unwrap();
        assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&answer));
    }
}

/// Says something, then a little more again and again, until the connection is closed.
async fn trickle(client: &mut TcpStream, begin: &[u8], more: &[u8]) {
    let began = Instant::now();
    let mut said = client.write_all(begin).await;
    while said.is_ok() {
        assert!(began.elapsed() < PATIENCE, "it is not cut off");
        match tokio::time::timeout(LIMIT / 50, client.read(&mut [0; 1024])).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(_)) => panic!("it is answered"),
            Err(_) => said = client.write_all(more).await,
        }
    }
    assert!(began.elapsed() >= LIMIT, "{:?}", began.elapsed());
}

/// Takes longer than a head may.
async fn dawdle(gateway: SocketAddr) {
    let mut client = TcpStream::connect(gateway).await.unwrap();
    ask(&mut client, GET, OK).await;
    trickle(&mut client, b"G", b"G").await;
}

#[tokio::test]
async fn a_kept_connection_is_cut_off_when_its_next_request_does_not_arrive() {
    let (gateway, provider) = build(Config { read_timeout: LIMIT, ..Config::default() }, None);
    let (door, inner) = (gateway.door(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let inside = inner.local_addr().unwrap();
    let _guard = door.add(inner).unwrap();
    let stage = Stage::run(gateway, provider).await;
    let refused = b"GET /system/x HTTP/1.1\r\nHost: a\r\n\r\n";
    let chunked = b"GET /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (head, chunk): (&[u8], &[u8]) = (b"GET /healthz HTTP/1.1\r\nX-Slow: ", b"1\r\nx\r\n");
    let cases: [(&[u8], _, _, &[u8]); 3] = [
        (GET, OK, head, b"x"),
        (refused, "is no browser", head, b"x"),
        // The rest of a body that the route has left unread.
        (chunked, OK, chunk, chunk),
    ];
    let slow = [stage.address, inside].into_iter().flat_map(|address| {
        cases.iter().map(move |(first, answer, begin, more)| async move {
            let mut client = TcpStream::connect(address).await.unwrap();
            ask(&mut client, GET, OK).await;
            ask(&mut client, first, answer).await;
            trickle(&mut client, begin, more).await;
        })
    });
    futures_util::future::join_all(slow).await;
}

#[tokio::test]
async fn an_idle_connection_and_a_next_request_in_pieces_are_served() {
    let stage = stage().await;
    let mut idle = stage.connect().await;
    let (begin, end) = GET.split_at(9);
    for _ in 0..2 {
        ask(&mut idle, GET, OK).await;
        idle.write_all(begin).await.unwrap();
        ask(&mut stage.connect().await, GET, OK).await;
        ask(&mut idle, end, OK).await;
        // Whatever was begun for the last head harms no idle connection.
        dawdle(stage.address).await;
    }
    ask(&mut idle, GET, OK).await;
}

#[tokio::test]
async fn a_slow_answer_is_not_cut_off_and_requests_behind_it_are_answered() {
    let stage = stage().await;
    let (release, released) = watch::channel(false);
    let function = Function::scripted(move |mut stream| {
        let mut released = released.clone();
        async move {
            read_request(&mut stream).await.unwrap();
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
            stream.write_all(head).await.unwrap();
            released.wait_for(|released| *released).await.unwrap();
            stream.write_all(b"4\r\nlast\r\n0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    stage.function("f", function.address).await;
    let mut client = stage.connect().await;
    ask(&mut client, GET, OK).await;
    ask(&mut client, b"GET /function/f HTTP/1.1\r\nHost: a\r\n\r\n", "first").await;
    let (begin, end) = GET.split_at(9);
    client.write_all(&[GET, begin].concat()).await.unwrap();
    dawdle(stage.address).await;
    release.send(true).unwrap();
    hear(&mut client, OK).await;
    ask(&mut client, end, OK).await;
}

#[tokio::test]
async fn a_connection_that_is_upgraded_after_other_requests_stays() {
    let stage = stage().await;
    let function = Function::scripted(|mut stream| async move {
        read_request(&mut stream).await.unwrap();
        let agreed = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(agreed).await.unwrap();
        let (mut reading, mut writing) = stream.split();
        tokio::io::copy(&mut reading, &mut writing).await.unwrap();
    })
    .await;
    stage.function("f", function.address).await;
    let mut client = stage.connect().await;
    ask(&mut client, GET, OK).await;
    let upgrade = b"GET /function/f HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let (begin, end) = upgrade.split_at(9);
    client.write_all(begin).await.unwrap();
    ask(&mut stage.connect().await, GET, OK).await;
    ask(&mut client, end, "\r\n\r\n").await;
    ask(&mut client, b"one", "one").await;
    dawdle(stage.address).await;
    ask(&mut client, b"two", "two").await;
}
