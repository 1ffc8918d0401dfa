//! WebSocket through the gateway, and what only looks like it.

use crate::stage::{Answer, Function, PATIENCE, Stage, build, eventually, ok, read_request};
use futures_util::{SinkExt, StreamExt};
use gateway::Config;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

const ASK: &str = "GET /function/f/chat?room=1 HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade, X-Private\r\n\
                   X-Private: 1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   Sec-WebSocket-Version: 13\r\nX-Call-Id: mine\r\n";
const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

/// A function that repeats what it is told, over WebSocket.
async fn echo() -> Function {
    Function::scripted(|stream| async move {
        let mut socket = accept_async(stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() || message.is_binary() {
                socket.send(message).await.unwrap();
            }
        }
    })
    .await
}

async fn open(address: SocketAddr) -> Result<WebSocketStream<TcpStream>, Error> {
    let stream = TcpStream::connect(address).await.unwrap();
    client_async(format!("ws://{address}/function/f"), stream).await.map(|(socket, _)| socket)
}

async fn said(socket: &mut WebSocketStream<TcpStream>) -> Message {
    tokio::time::timeout(PATIENCE, socket.next()).await.expect("there is an answer").unwrap().unwrap()
}

/// Reads up to the end of an answer's head; what follows stays where it is.
async fn head(stream: &mut TcpStream) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tokio::time::timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
    }
    Answer::read(&head)
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut text)).await.expect("it ends").unwrap();
    text
}

#[tokio::test]
async fn messages_go_both_ways_past_every_time_limit_and_are_counted() {
    let limit = Duration::from_secs(2);
    let config =
        Config { read_timeout: limit, write_timeout: limit, upstream_timeout: limit, workers: 1, ..Config::default() };
    let stage = Stage::with(config, None).await;
    let function = echo().await;
    stage.function("f", function.address).await;
    let mut socket = open(stage.address).await.unwrap();
    for text in ["one", &"x".repeat(300_000)] {
        socket.send(Message::text(text)).await.unwrap();
        assert_eq!(said(&mut socket).await, Message::text(text));
    }
    // Longer than each of the limits: what is not to happen has had its time.
    tokio::time::sleep(limit * 2).await;
    socket.send(Message::text("still there?")).await.unwrap();
    assert_eq!(said(&mut socket).await, Message::text("still there?"));
    let metrics = stage.scrape().await;
    assert!(metrics.contains(r#"gateway_function_invocation_started{function_name="f.openfaas-fn"} 1"#), "{metrics}");
    assert!(metrics.contains(r#"gateway_function_invocation_inflight{function_name="f.openfaas-fn"} 1"#), "{metrics}");
    assert!(!metrics.contains(r#"code="101""#), "{metrics}");
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
    drop(socket);
    let counted = r#"gateway_function_invocation_total{code="101",function_name="f.openfaas-fn"} 1"#;
    eventually("it is counted when it ends", async || stage.scrape().await.contains(counted)).await;
    let none = r#"gateway_function_invocation_inflight{function_name="f.openfaas-fn"} 0"#;
    assert!(stage.scrape().await.contains(none));
}

#[tokio::test]
async fn the_function_is_asked_as_the_client_asked_and_bytes_said_early_arrive() {
    let function = Function::scripted(|mut stream| async move {
        let asked = read_request(&mut stream).await.unwrap();
        assert_eq!(asked.line(), "GET /chat?room=1 HTTP/1.1");
        for (name, value) in [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("x-call-id", "mine"),
            ("x-forwarded-for", "127.0.0.1"),
        ] {
            assert_eq!(asked.header(name), [value], "{name}");
        }
        assert!(asked.header("x-private").is_empty() && asked.header("content-length").is_empty(), "{}", asked.head);
        stream.write_all(format!("{AGREED}X-Mine: 1\r\n\r\nfunction first").as_bytes()).await.unwrap();
        let mut heard = [0; 12];
        // The body that `read_request` may have taken along.
        let early = asked.body.len();
        heard[..early].copy_from_slice(&asked.body);
        stream.read_exact(&mut heard[early..]).await.unwrap();
        assert_eq!(&heard, b"client first");
    })
    .await;
    let stage = Stage::new().await;
    stage.function("f", function.address).await;
    let mut client = stage.connect().await;
    client.write_all(format!("{ASK}\r\nclient first").as_bytes()).await.unwrap();
    let agreed = head(&mut client).await;
    assert_eq!(agreed.status, 101, "{agreed:?}");
    for (name, value) in [("connection", "upgrade"), ("upgrade", "websocket"), ("x-mine", "1"), ("x-call-id", "mine")] {
        assert_eq!(agreed.header(name), [value], "{agreed:?}");
    }
    assert!(agreed.header("content-length").is_empty() && agreed.header("transfer-encoding").is_empty(), "{agreed:?}");
    assert_eq!(rest(&mut client).await, "function first");
}

#[tokio::test]
async fn either_side_may_end_first_and_still_hear_the_other_one() {
    let function = Function::scripted(|mut stream| async move {
        let asked = read_request(&mut stream).await.unwrap();
        stream.write_all(format!("{AGREED}\r\n").as_bytes()).await.unwrap();
        let function_first = asked.line().contains("room=1");
        if function_first {
            stream.write_all(b"bye").await.unwrap();
            stream.shutdown().await.unwrap();
        }
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "client's last word");
        if !function_first {
            stream.write_all(b"function's last word").await.unwrap();
        }
    })
    .await;
    let stage = Stage::new().await;
    stage.function("f", function.address).await;
    for (ask, heard) in [(ASK.to_owned(), "bye"), (ASK.replace("room=1", "room=2"), "function's last word")] {
        let mut client = stage.connect().await;
        client.write_all(format!("{ask}\r\n").as_bytes()).await.unwrap();
        assert_eq!(head(&mut client).await.status, 101);
        if heard == "bye" {
            assert_eq!(rest(&mut client).await, heard);
            client.write_all(b"client's last word").await.unwrap();
            client.shutdown().await.unwrap();
        } else {
            client.write_all(b"client's last word").await.unwrap();
            client.shutdown().await.unwrap();
            assert_eq!(rest(&mut client).await, heard);
        }
    }
    let both = r#"gateway_function_invocation_total{code="101",function_name="f.openfaas-fn"} 2"#;
    eventually("both have ended", async || stage.scrape().await.contains(both)).await;
}

#[tokio::test]
async fn what_is_no_upgrade_after_all_is_answered_in_http() {
    let function = Function::answering(|asked| match asked.line().split(' ').nth(1).unwrap() {
        "/chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n".to_owned(),
        _ if asked.header("upgrade").is_empty() => ok("fine"),
        _ => "HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nfine".to_owned(),
    })
    .await;
    let stage = Stage::new().await;
    stage.function("f", function.address).await;
    let line = |path: &str| ASK.replace("/function/f/chat?room=1", path);
    for (request, status, contains) in [
        (ASK.to_owned(), 403, "fine"),
        (line("/function/f/chunked"), 200, "fine"),
        (line("/function/none"), 404, "no function"),
        (line("/healthz"), 200, "OK"),
        (line("/nonsense"), 404, "404 page"),
        (line("/async-function/f"), 404, "no queue"),
        (ASK.replace("GET", "DELETE"), 200, "fine"),
        (ASK.replace("Upgrade, ", ""), 200, "fine"),
        (ASK.replace("HTTP/1.1", "HTTP/1.0"), 200, "fine"),
        (ASK.replace("GET", "POST") + "Content-Length: 3\r\n", 400, "with a body"),
        (ASK.replace("GET", "POST") + "Transfer-Encoding: chunked\r\n", 200, "fine"),
    ] {
        let chunked = request.contains("chunked\r\n");
        // The routes keep the connection of what they serve themselves.
        let request = if chunked { request.replace("keep-alive", "close") } else { request };
        let body = if chunked { "3\r\nabc\r\n0\r\n\r\n" } else { "" };
        let mut client = stage.connect().await;
        client.write_all(format!("{request}\r\n{body}").as_bytes()).await.unwrap();
        let answer = Answer::read(rest(&mut client).await.as_bytes());
        assert_eq!(answer.status, status, "{request} {answer:?}");
        assert!(answer.body.contains(contains), "{request} {answer:?}");
        assert!(answer.header("transfer-encoding").is_empty() || chunked, "{request} {answer:?}");
    }
    let seen = function.arrived.lock().unwrap();
    assert_eq!(seen.iter().filter(|asked| !asked.header("upgrade").is_empty()).count(), 2, "{seen:?}");
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_is_noticed_and_so_is_a_function_that_dies() {
    let (arrived, mut arrives) = tokio::sync::mpsc::channel::<()>(1);
    let (left, mut is_left) = tokio::sync::mpsc::channel::<()>(1);
    let function = Function::scripted(move |mut stream| {
        let (arrived, left) = (arrived.clone(), left.clone());
        async move {
            let asked = read_request(&mut stream).await.unwrap();
            if asked.line().contains("room=1") {
                arrived.send(()).await.unwrap();
                assert_eq!(stream.read(&mut [0; 9]).await.unwrap_or(0), 0);
                left.send(()).await.unwrap();
            } else {
                stream.write_all(format!("{AGREED}\r\nbefore").as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let stage = Stage::new().await;
    stage.function("f", function.address).await;
    let mut client = stage.connect().await;
    client.write_all(format!("{ASK}\r\n").as_bytes()).await.unwrap();
    arrives.recv().await.unwrap();
    drop(client);
    tokio::time::timeout(PATIENCE, is_left.recv()).await.expect("the function's connection is closed").unwrap();
    let gone = r#"gateway_function_invocation_total{code="499",function_name="f.openfaas-fn"} 1"#;
    eventually("it is counted", async || stage.scrape().await.contains(gone)).await;
    let mut client = stage.connect().await;
    client.write_all(format!("{}\r\n", ASK.replace("room=1", "room=2")).as_bytes()).await.unwrap();
    assert_eq!(head(&mut client).await.status, 101);
    assert_eq!(rest(&mut client).await, "before");
}

#[tokio::test]
async fn a_gateway_that_stops_ends_what_is_open_after_the_time_for_running_calls() {
    let drain = Duration::from_secs(5);
    let (gateway, provider) = build(Config { drain, ..Config::default() }, None);
    let door = gateway.door();
    let inner = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let inside = inner.local_addr().unwrap();
    let _guard = door.add(inner).unwrap();
    let (stage, function) = (Stage::run(gateway, provider).await, echo().await);
    stage.function("f", function.address).await;
    let (mut outer, mut inner) = (open(stage.address).await.unwrap(), open(inside).await.unwrap());
    stage.stopper.stop();
    let address = stage.address;
    eventually("the gateway takes no more clients", async || TcpStream::connect(address).await.is_err()).await;
    for socket in [&mut outer, &mut inner] {
        socket.send(Message::text("last words")).await.unwrap();
        assert_eq!(said(socket).await, Message::text("last words"));
    }
    tokio::time::timeout(PATIENCE, stage.task).await.expect("it stops").unwrap().unwrap();
    for mut socket in [outer, inner] {
        let end = tokio::time::timeout(PATIENCE, socket.next()).await.expect("it is closed");
        assert!(!matches!(end, Some(Ok(_))), "{end:?}");
    }
}
