//! Lines that pass one by one: server-sent events and NDJSON, in answers and in requests.

use crate::stage::{Function, PATIENCE, Stage, header};
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};

const LINES: usize = 5;

/// Reads a head, and gives it and what follows.
async fn head(stream: TcpStream) -> (String, BufReader<TcpStream>) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).await.unwrap(), 0, "{head}");
    }
    (head, reader)
}

/// The next chunk of a chunked body.
async fn chunk(reader: &mut BufReader<TcpStream>) -> String {
    let reading = async {
        let mut size = String::new();
        reader.read_line(&mut size).await.unwrap();
        let mut chunk = vec![0; usize::from_str_radix(size.trim(), 16).unwrap() + 2];
        reader.read_exact(&mut chunk).await.unwrap();
        String::from_utf8(chunk).unwrap().trim_end_matches("\r\n").to_owned()
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the line arrives")
}

fn framed(line: &str) -> String {
    format!("{:x}\r\n{line}\r\n", line.len())
}

#[tokio::test]
async fn every_line_of_an_answer_arrives_before_the_next_one_is_made() {
    for (kind, line) in [("text/event-stream", "data: {\"a\":1}\n\n"), ("application/x-ndjson", "{\"a\":1}\n")] {
        for chunked in [true, false] {
            let (next, asked) = mpsc::channel::<()>(1);
            let asked = Arc::new(Mutex::new(asked));
            let function = Function::scripted(move |stream| {
                let asked = Arc::clone(&asked);
                async move {
                    let (_, reader) = head(stream).await;
                    let mut stream = reader.into_inner();
                    let coding = if chunked { "Transfer-Encoding: chunked" } else { "Connection: close" };
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{coding}\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    for _ in 0..LINES {
                        asked.lock().await.recv().await.unwrap();
                        let sent = if chunked { framed(line) } else { line.to_owned() };
                        stream.write_all(sent.as_bytes()).await.unwrap();
                    }
                    if chunked {
                        stream.write_all(b"0\r\n\r\n").await.unwrap();
                    }
                }
            })
            .await;
            let stage = Stage::new().await;
            stage.function("f", function.address).await;
            let mut client = stage.connect().await;
            client.write_all(b"GET /function/f HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            let (answer, mut reader) = tokio::time::timeout(PATIENCE, head(client)).await.expect("the head arrives");
            assert_eq!(header(&answer, "transfer-encoding"), ["chunked"], "{answer}");
            assert_eq!(header(&answer, "content-type"), [kind], "{answer}");
            for _ in 0..LINES {
                // Made only now that all before it have arrived.
                next.send(()).await.unwrap();
                assert_eq!(chunk(&mut reader).await, line);
            }
            assert_eq!(chunk(&mut reader).await, "");
        }
    }
}

#[tokio::test]
async fn every_line_of_a_request_arrives_before_the_next_one_is_sent() {
    let line = "{\"a\":1}\n";
    let (arrived, mut arrives) = mpsc::channel::<String>(1);
    let function = Function::scripted(move |stream| {
        let arrived = arrived.clone();
        async move {
            let (asked, mut reader) = head(stream).await;
            assert_eq!(header(&asked, "transfer-encoding"), ["chunked"], "{asked}");
            loop {
                let line = chunk(&mut reader).await;
                let end = line.is_empty();
                arrived.send(line).await.unwrap();
                if end {
                    break;
                }
            }
            reader.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let stage = Stage::new().await;
    stage.function("f", function.address).await;
    let mut client = stage.connect().await;
    let asked = "POST /function/f HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-ndjson\r\n\
                 Transfer-Encoding: chunked\r\n\r\n";
    client.write_all(asked.as_bytes()).await.unwrap();
    for sent in [line; LINES].into_iter().chain([""]) {
        client.write_all(framed(sent).as_bytes()).await.unwrap();
        let heard = tokio::time::timeout(PATIENCE, arrives.recv()).await.expect("the line arrives").unwrap();
        assert_eq!(heard, sent);
    }
    let (answer, _) = tokio::time::timeout(PATIENCE, head(client)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
