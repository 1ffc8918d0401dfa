//! Connections that leave HTTP.

use crate::peers::exchange;
use crate::{settings, tcp};
use bytes::Bytes;
use function_sdk::server::{CallInfo, Leave, Server, Service};
use function_sdk::settings::Settings;
use function_sdk::testing;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends back what comes after the 101.
struct Mirror;

impl Service for Mirror {
    type Body = Full<Bytes>;

    async fn call(self: Rc<Self>, request: Request<Incoming>, call: CallInfo) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::from("plain"));
        if request.headers().contains_key("upgrade") {
            call.upgrade.then(async |raw| {
                let (mut from, mut to) = tokio::io::split(raw);
                // Whoever goes away ends it.
                tokio::io::copy(&mut from, &mut to).await.map(drop).unwrap_or_default();
            });
        }
        if request.uri().path() == "/mirror" {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        }
        response
    }
}

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
const SWITCH: &str = "GET /mirror HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: mirror\r\n\r\n";

/// A connection that has switched; `early` was sent right behind the request, and has come back.
async fn switched(address: SocketAddr, early: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{SWITCH}{early}").as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 101 ") && !head.contains("content-length"), "{head}");
    echo(&mut stream, "", early).await;
    stream
}

async fn echo(stream: &mut TcpStream, sent: &str, expected: &str) {
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut back = vec![0; expected.len()];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(String::from_utf8(back).unwrap(), expected);
}

#[test]
fn a_connection_that_has_switched_is_in_flight_and_no_time_limit_ends_it() {
    testing::block_on(async {
        let short = Duration::from_millis(50);
        let times =
            Settings { read_timeout: Some(short), write_timeout: short, exec_timeout: Some(short), ..settings() };
        let server = Server::bind(Settings { max_inflight: 1, ..times }).unwrap();
        let address = tcp(&server.address());
        let run = tokio::task::spawn_local(server.run(Rc::new(Mirror), std::future::pending::<Leave>()));
        let mut stream = switched(address, "early").await;
        let begun = Instant::now();
        // Longer than any of the times, the one that HTTP's answers are allowed more included.
        crate::eventually(async || begun.elapsed() > Duration::from_millis(900)).await;
        assert!(exchange(address, GET).await.starts_with("HTTP/1.1 429"));
        echo(&mut stream, "late", "late").await;
        drop(stream);
        crate::eventually(async || exchange(address, GET).await.ends_with("plain")).await;
        run.abort();
    });
}

#[test]
fn what_was_offered_for_another_answer_than_101_is_forgotten() {
    testing::block_on(async {
        let server = Server::bind(settings()).unwrap();
        let address = tcp(&server.address());
        let run = tokio::task::spawn_local(server.run(Rc::new(Mirror), std::future::pending::<Leave>()));
        let refused = SWITCH.replace("/mirror", "/");
        let answer = exchange(address, &format!("{refused}{GET}")).await;
        assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "{answer}");
        assert_eq!(answer.matches("plain").count(), 2, "{answer}");
        run.abort();
    });
}

#[test]
fn a_drain_waits_for_it_and_not_for_ever() {
    testing::block_on(async {
        for is_closed in [true, false] {
            let write_timeout = Duration::from_millis(if is_closed { 10_000 } else { 100 });
            let server = Server::bind(Settings { write_timeout, ..settings() }).unwrap();
            let address = tcp(&server.address());
            let (stop, stopped) = tokio::sync::oneshot::channel();
            let run = tokio::task::spawn_local(server.run(Rc::new(Mirror), async { stopped.await.unwrap() }));
            let mut stream = switched(address, "").await;
            stop.send(Leave::AtOnce).unwrap();
            crate::eventually(async || TcpStream::connect(address).await.is_err()).await;
            if is_closed {
                echo(&mut stream, "still there", "still there").await;
                drop(stream);
                tokio::time::timeout(Duration::from_secs(5), run).await.unwrap().unwrap();
            } else {
                tokio::time::timeout(Duration::from_secs(5), run).await.unwrap().unwrap();
                assert_eq!(stream.read(&mut [0; 8]).await.unwrap_or(0), 0);
            }
        }
    });
}
