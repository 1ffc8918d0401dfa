//! WebSockets, in mode http.
//!
//! The process is this test binary again, told by a variable to serve them.

use crate::under_test::{Watchdog, eventually, listens, upstream};
use futures_util::{SinkExt, StreamExt};
use hyper::StatusCode;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};

const PORT: &str = "TEST_WEBSOCKET_PORT";

/// Not a test of its own: the process that the watchdog starts.
#[test]
#[expect(clippy::disallowed_methods, reason = "reads where to serve")]
fn the_process() {
    let Ok(port) = std::env::var(PORT) else { return };
    function_sdk::testing::block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", port.parse().unwrap())).await.unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Whoever only looks whether someone listens gets no further.
            drop(tokio::task::spawn_local(async { serve(stream).await.unwrap_or_default() }));
        }
    });
}

/// Tells what it was asked for, then gives back what comes; "bye" makes it leave.
async fn serve(stream: TcpStream) -> Result<(), Error> {
    let mut seen = String::new();
    #[expect(clippy::result_large_err, reason = "the crate's own type")]
    let look = |request: &Request, mut response: Response| {
        let header = |name| request.headers().get(name).map_or("none", |value| value.to_str().unwrap()).to_owned();
        seen = format!("{} {} {} {}", request.uri(), header("host"), header("x-call-id"), header("connection"));
        if request.uri().path().ends_with("/forbidden") {
            *response.status_mut() = StatusCode::FORBIDDEN;
            return Err(response.map(|()| Some("not you".to_owned())));
        }
        response.headers_mut().insert("x-from", "process".parse().unwrap());
        Ok(response)
    };
    let mut socket = accept_hdr_async(stream, look).await?;
    socket.send(Message::text(seen)).await?;
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() && message.to_text()? == "bye" {
            return socket.close(None).await;
        }
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

fn start(variables: &[(&str, &str)]) -> Watchdog {
    let (port, watchdog) = upstream("websocket::the_process", PORT, "/base", variables);
    eventually(|| listens(port));
    watchdog
}

type Socket = WebSocketStream<UnixStream>;

/// A WebSocket through the watchdog; what the process said first.
async fn open(watchdog: &Watchdog) -> (Socket, String) {
    let stream = UnixStream::connect(watchdog.socket()).await.unwrap();
    let (mut socket, response) = client_async("ws://a.test/chat?room=1", stream).await.unwrap();
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["x-from"], "process");
    assert!(response.headers().contains_key("x-call-id"));
    let first = socket.next().await.unwrap().unwrap().into_text().unwrap();
    (socket, first.as_str().to_owned())
}

async fn echo(socket: &mut Socket, message: Message) {
    socket.send(message.clone()).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), message);
}

#[test]
fn messages_go_both_ways_and_the_request_arrives_as_it_was_sent() {
    let mut watchdog = start(&[]);
    function_sdk::testing::block_on(async {
        let (mut socket, first) = open(&watchdog).await;
        let words: Vec<&str> = first.split(' ').collect();
        assert_eq!((words[0], words[1], words[3]), ("/base/chat?room=1", "a.test", "upgrade"));
        assert_eq!(words[2].len(), 36, "{first}");
        for length in [0, 1, 70_000, 1_000_000] {
            echo(&mut socket, Message::binary(vec![7; length])).await;
        }
        socket.send(Message::text("bye")).await.unwrap();
        assert!(socket.next().await.unwrap().unwrap().is_close());
        assert!(socket.next().await.is_none());
    });
    watchdog.signal("-TERM");
    let (code, _, stderr) = watchdog.ended();
    assert_eq!(code, Some(0));
    let line = stderr.lines().find(|line| line.starts_with("GET /chat?room=1 - 101 - ")).unwrap();
    let bytes: usize = line.split_once("ContentLength: ").unwrap().1.split_once("B ").unwrap().0.parse().unwrap();
    assert!(bytes > 1_070_000, "{line}");
}

#[test]
fn a_silent_one_stays_open_beyond_every_time_limit_and_counts_as_in_flight() {
    let times = [("read_timeout", "1s"), ("write_timeout", "1s"), ("exec_timeout", "1s"), ("max_inflight", "1")];
    let watchdog = start(&times);
    function_sdk::testing::block_on(async {
        let (mut socket, _) = open(&watchdog).await;
        let begun = Instant::now();
        eventually(|| begun.elapsed() > Duration::from_millis(2_500));
        assert_eq!(watchdog.get("/").status, 429);
        assert_eq!(watchdog.get("/_/ready").status, 429);
        echo(&mut socket, Message::text("still there")).await;
        drop(socket);
        eventually(|| watchdog.get("/_/ready").status == 200);
    });
}

#[test]
fn sigterm_leaves_it_open_up_to_write_timeout() {
    let mut watchdog = start(&[("write_timeout", "1s")]);
    function_sdk::testing::block_on(async {
        let (mut socket, _) = open(&watchdog).await;
        watchdog.signal("-TERM");
        eventually(|| !watchdog.socket().exists());
        echo(&mut socket, Message::text("still there")).await;
        // Then it is cut.
        assert!(socket.next().await.is_none_or(|message| message.is_err()));
    });
    let (code, _, stderr) = watchdog.ended();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("1 calls did not end within write_timeout"), "{stderr}");
    assert!(stderr.contains("GET /chat?room=1 - 101 - "), "{stderr}");
}

#[test]
fn a_drain_ends_when_the_last_one_is_closed() {
    let mut watchdog = start(&[("write_timeout", "60s")]);
    function_sdk::testing::block_on(async {
        let (mut socket, _) = open(&watchdog).await;
        watchdog.signal("-TERM");
        eventually(|| !watchdog.socket().exists());
        socket.send(Message::text("bye")).await.unwrap();
        while socket.next().await.is_some() {}
    });
    assert_eq!(watchdog.ended().0, Some(0));
}

#[test]
fn one_that_the_process_refuses_is_answered_as_it_says_and_other_protocols_are_not_passed_on() {
    let watchdog = start(&[]);
    let bad = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\r\n";
    function_sdk::testing::block_on(async {
        let stream = UnixStream::connect(watchdog.socket()).await.unwrap();
        let Err(Error::Http(answer)) = client_async("ws://a.test/forbidden", stream).await else { panic!() };
        assert_eq!(answer.status(), 403);
        let body = String::from_utf8_lossy(answer.body().as_deref().unwrap_or_default());
        assert!(body.contains("not you"), "{body}");
    });
    let (_, watchdog) = upstream("http::the_process", crate::http::PORT, "", &[]);
    eventually(|| watchdog.get("/_/ready").status == 200);
    for request in [bad.to_owned(), bad.replace("websocket", "h2c"), bad.replace("upgrade, close", "close")] {
        let answer = watchdog.raw(&request);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.body.contains("upgrade: websocket"), request == bad, "{answer:?}");
        assert!(!answer.body.contains("h2c"), "{answer:?}");
    }
}

#[test]
fn one_for_a_process_that_is_not_there_is_500() {
    let (_, watchdog) = upstream("http::the_process", crate::http::PORT, "", &[("TEST_START_AFTER", "20000")]);
    let request = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let answer = watchdog.raw(&request.replace("upgrade\r\nupgrade", "upgrade, close\r\nupgrade"));
    assert_eq!(answer.status, 500, "{answer:?}");
    assert!(answer.head.contains("x-openfaas-internal: of-watchdog"), "{}", answer.head);
}
