//! `/system/logs`: lines as they come, for as long as someone reads them.

use crate::system::{PATIENCE, Running};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use wire::log::LogLine;

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
async fn a_followed_log_ends_with_its_function() {
    let gateway = Running::new().await;
    gateway.deploy("hello").await;
    let mut stream = gateway.follow("name=hello&follow=1").await;
    gateway.provider.log(line("last words")).unwrap();
    assert_eq!(next_text(&mut stream).await.as_deref(), Some("last words"));
    gateway.expect("DELETE", "/system/functions", r#"{"functionName":"hello"}"#, 202).await;
    assert_eq!(next_text(&mut stream).await, None);
}
