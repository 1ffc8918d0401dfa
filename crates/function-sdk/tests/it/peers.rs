//! Peers that send slowly, half, nonsense, or nothing.

use crate::{settings, tcp};
use function_sdk::settings::Settings;
use function_sdk::{Bytes, Call, Request, Response, testing};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends `request` and reads until the other end closes or ten seconds have passed.
pub(crate) async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    read(&mut stream).await
}

async fn read(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let reading = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut text));
    // A reset is an end as well.
    if reading.await.is_err() {
        text.extend_from_slice(b"(and the connection stays open)");
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn short() -> Settings {
    let short = Duration::from_millis(50);
    Settings { read_timeout: Some(short), ..settings() }
}

#[test]
fn a_head_that_never_ends_is_cut_off_and_others_are_served_meanwhile() {
    testing::block_on(async {
        let function = testing::start_with(short(), async |_: Request| Response::ok());
        let address = tcp(function.address());
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nx-a: ").await.unwrap();
        let mut silent = TcpStream::connect(address).await.unwrap();
        assert_eq!(function.call(Call::get("/")).await.unwrap().status(), 200);
        let begun = Instant::now();
        assert_eq!(read(&mut slow).await, "");
        assert_eq!(read(&mut silent).await, "");
        assert!(begun.elapsed() < Duration::from_secs(5));
    });
}

#[test]
fn a_body_that_does_not_come_is_408() {
    testing::block_on(async {
        let function = testing::start_with(short(), async |_: Request| Response::ok());
        let request = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf";
        let answer = exchange(tcp(function.address()), request).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.contains("read_timeout"), "{answer}");
    });
}

#[test]
fn nonsense_is_400_and_too_much_of_a_head_431() {
    testing::block_on(async {
        let function = testing::start_with(settings(), async |_: Request| Response::ok());
        let address = tcp(function.address());
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x-a: b\r\n".repeat(500));
        let long = format!("GET / HTTP/1.1\r\nx-a: {}\r\n\r\n", "b".repeat(1_000_000));
        for (request, status) in [
            ("nonsense\r\n\r\n", "400"),
            ("GET / HTTP/9.9\r\n\r\n", "400"),
            ("POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n", "400"),
            ("POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", "400"),
            ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "400"),
            (many.as_str(), "431"),
            (long.as_str(), "431"),
        ] {
            let answer = exchange(address, request).await;
            let shown: String = request.chars().take(60).collect();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{shown:?}: {answer}");
            assert!(!answer.contains("stays open"), "{shown:?}: {answer}");
        }
        assert_eq!(function.call(Call::get("/")).await.unwrap().status(), 200);
    });
}

/// A body that tells when it is let go.
struct Body(Arc<AtomicBool>, Vec<u8>);

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.1
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
#[test]
fn a_caller_that_does_not_read_does_not_hold_its_answer() {
    testing::block_on(async {
        let write_timeout = Duration::from_millis(50);
        let gone = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&gone);
        let function = testing::start_with(Settings { write_timeout, ..settings() }, async move |_: Request| {
            let body = Body(Arc::clone(&seen), vec![b'x'; 64 * 1024 * 1024]);
            Response::ok().bytes(Bytes::from_owner(body))
        });
        let mut stream = TcpStream::connect(tcp(function.address())).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        stream.readable().await.unwrap();
        assert!(!gone.load(Ordering::Relaxed));
        crate::eventually(async || gone.load(Ordering::Relaxed)).await;
    });
}
