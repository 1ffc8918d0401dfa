//! Mode http.
//!
//! The process is this test binary again, told by variables to serve.

use crate::under_test::{Watchdog, eventually, free_port, is_alive, listens, upstream, upstream_at};
use function_sdk::server::{CallInfo, Leave, Server, Service};
use function_sdk::settings::{Listen, Settings};
use function_sdk::testing;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::{Request, Response};
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

pub(crate) const PORT: &str = "TEST_UPSTREAM_PORT";

/// Not a test of its own: the process that the watchdog starts.
#[test]
#[expect(clippy::disallowed_methods, reason = "reads where to serve")]
fn the_process() {
    let Ok(port) = std::env::var(PORT) else { return };
    let settings = Settings::from_env(|_| None).unwrap();
    let listen = Listen::Tcp(([127, 0, 0, 1], port.parse().unwrap()).into());
    testing::block_on(async {
        if let Ok(millis) = std::env::var("TEST_START_AFTER") {
            tokio::time::sleep(Duration::from_millis(millis.parse().unwrap())).await;
        }
        let server = Server::bind(Settings { listen, metrics: None, ..settings }).unwrap();
        server.run(Rc::new(Process), std::future::pending::<Leave>()).await;
    });
}

struct Process;

type Boxed = Pin<Box<dyn Body<Data = bytes::Bytes, Error = hyper::Error>>>;

impl Service for Process {
    type Body = Boxed;

    #[expect(clippy::disallowed_methods, reason = "ends as a process does that is told to")]
    async fn call(self: Rc<Self>, request: Request<Incoming>, _: CallInfo) -> Response<Boxed> {
        let text =
            |text: String| -> Boxed { Box::pin(http_body_util::Full::from(text).map_err(|never| match never {})) };
        match request.uri().path() {
            "/echo" => Response::new(Box::pin(request.into_body())),
            "/slow" => {
                let millis = request.uri().query().map_or(700, |millis| millis.parse().unwrap());
                tokio::time::sleep(Duration::from_millis(millis)).await;
                Response::new(text("slow".to_owned()))
            }
            "/exit" => std::process::exit(request.uri().query().unwrap().parse().unwrap()),
            "/ready" => {
                let mut response = Response::new(text("warming up".to_owned()));
                *response.status_mut() = hyper::StatusCode::ACCEPTED;
                response
            }
            "/redirect" => {
                let mut response = Response::new(text(String::new()));
                *response.status_mut() = hyper::StatusCode::FOUND;
                response.headers_mut().insert("location", hyper::header::HeaderValue::from_static("/elsewhere"));
                response
            }
            _ => {
                let mut seen = format!("{} {}\n", request.method(), request.uri());
                for (name, value) in request.headers() {
                    writeln!(seen, "{name}: {}", value.to_str().unwrap()).unwrap();
                }
                let body = request.into_body().collect().await.unwrap().to_bytes();
                write!(seen, "body: {}", body.len()).unwrap();
                Response::new(text(seen))
            }
        }
    }
}

fn start(variables: &[(&str, &str)]) -> (u16, Watchdog) {
    let (port, watchdog) = upstream("http::the_process", PORT, "", variables);
    eventually(|| listens(port));
    (port, watchdog)
}

fn start_at(port: u16, base: &str, variables: &[(&str, &str)]) -> Watchdog {
    upstream_at(port, "http::the_process", PORT, base, variables)
}

#[test]
fn a_request_arrives_as_it_was_sent_with_its_length_kept() {
    let (_, watchdog) = start(&[]);
    for length in [0, 5, 200_000] {
        let body = "x".repeat(length);
        let answer = watchdog.post("/a%2Fb?x=1&y=%20", "x-one: 1\r\nx-call-id: c-1\r\n", &body);
        assert_eq!(answer.status, 200, "{answer:?}");
        let lines: Vec<&str> = answer.body.lines().collect();
        assert_eq!(lines[0], "POST /a%2Fb?x=1&y=%20");
        for line in [
            "host: a.test",
            "x-one: 1",
            "x-call-id: c-1",
            &format!("content-length: {length}"),
            &format!("body: {length}"),
        ] {
            assert!(lines.contains(&line), "{line} in {lines:?}");
        }
        assert!(!answer.body.contains("transfer-encoding") && !answer.body.contains("accept-encoding"), "{lines:?}");
        assert!(!answer.body.contains("connection: close"), "{lines:?}");
        assert!(answer.head.contains("x-duration-seconds: 0."), "{}", answer.head);
        assert!(answer.head.contains("x-call-id: c-1"), "{}", answer.head);
    }
    assert_eq!(watchdog.get("/redirect").status, 302);
}

#[test]
fn a_chunked_body_stays_chunked_unless_it_is_to_be_held() {
    let chunked =
        "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let (_, watchdog) = start(&[]);
    let answer = watchdog.raw(chunked);
    assert!(answer.body.contains("transfer-encoding: chunked") && answer.body.contains("body: 3"), "{answer:?}");
    let (_, watchdog) = start(&[("http_buffer_req_body", "true"), ("body_limit", "3")]);
    let answer = watchdog.raw(chunked);
    assert!(answer.body.contains("content-length: 3") && answer.body.contains("body: 3"), "{answer:?}");
    assert_eq!(watchdog.raw(&chunked.replace("3\r\nabc", "4\r\nabcd")).status, 413);
}

#[test]
fn bodies_stream_both_ways() {
    let (_, watchdog) = start(&[]);
    let mut stream = watchdog.connect();
    stream
        .write_all(
            b"POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n",
        )
        .unwrap();
    let mut seen = String::new();
    let mut buffer = [0; 1024];
    while !seen.contains("one") {
        let read = stream.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    stream.write_all(b"3\r\ntwo\r\n0\r\n\r\n").unwrap();
    stream.read_to_string(&mut seen).unwrap();
    assert!(seen.contains("two"), "{seen}");
}

#[test]
fn the_upstreams_path_stands_before_each_requests() {
    let port = free_port();
    let watchdog = start_at(port, "/base/", &[]);
    eventually(|| listens(port));
    assert!(watchdog.get("/x?y").body.starts_with("GET /base/x?y\n"));
}

#[test]
fn it_is_ready_when_the_process_listens() {
    let port = free_port();
    let watchdog = start_at(port, "", &[("TEST_START_AFTER", "3000")]);
    assert_eq!(watchdog.get("/_/ready").status, 503);
    assert_eq!(watchdog.get("/_/health").status, 200);
    let early = watchdog.get("/");
    assert_eq!((early.status, early.body.as_str()), (500, ""));
    assert!(early.head.contains("x-openfaas-internal: of-watchdog"), "{}", early.head);
    eventually(|| watchdog.get("/_/ready").status == 200);
    assert_eq!(watchdog.get("/").status, 200);
}

#[test]
fn the_function_may_say_itself_whether_it_is_ready() {
    let (_, watchdog) = start(&[("ready_path", "/ready"), ("max_inflight", "1")]);
    let answer = watchdog.get("/_/ready");
    assert_eq!((answer.status, answer.body.as_str()), (202, "warming up"));
}

#[test]
fn a_call_that_takes_too_long_is_504_and_the_process_lives_on() {
    let (_, watchdog) = start(&[("exec_timeout", "2s")]);
    let answer = watchdog.get("/slow?20000");
    assert_eq!((answer.status, answer.body.as_str()), (504, ""));
    assert!(answer.head.contains("x-openfaas-internal: of-watchdog"), "{}", answer.head);
    assert_eq!(watchdog.get("/").status, 200);
    let (_, watchdog) = start(&[("exec_timeout", "0")]);
    assert_eq!(watchdog.post("/slow", "x-timeout: 100ms\r\n", "").status, 504);
    // Readers of events are not bound by it.
    let (_, watchdog) = start(&[("exec_timeout", "100ms")]);
    assert_eq!(watchdog.post("/slow", "accept: text/event-stream\r\n", "").status, 200);
}

#[test]
fn when_the_process_ends_the_watchdog_does_however_it_ended() {
    for code in [0, 7] {
        let (_, mut watchdog) = start(&[]);
        assert_ne!(watchdog.get(&format!("/exit?{code}")).status, 200);
        let (exit, _, stderr) = watchdog.ended();
        assert_eq!(exit, Some(1));
        assert!(stderr.contains(&format!("exit status {code}")), "{stderr}");
    }
}

#[test]
fn a_command_that_is_missing_ends_the_watchdog() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("w.sock");
    let variables = [
        ("mode", "http"),
        ("fprocess", "/no/such/thing"),
        ("upstream_url", "http://127.0.0.1:1"),
        ("CREMA_SOCKET", socket.to_str().unwrap()),
    ];
    let output = crate::under_test::run(&[], &variables);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("fork/exec /no/such/thing: no such file or directory"), "{text}");
}

#[test]
fn sigterm_reaches_the_process_only_after_the_calls_are_done() {
    let (port, mut watchdog) = start(&[]);
    let mut stream = watchdog.connect();
    stream.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let begun = Instant::now();
    eventually(|| begun.elapsed() > Duration::from_millis(200));
    watchdog.signal("-TERM");
    let answer = crate::under_test::read(stream);
    assert_eq!((answer.status, answer.body.as_str()), (200, "slow"));
    assert_eq!(watchdog.ended().0, Some(0));
    assert!(!listens(port));
}

#[test]
fn the_process_dies_with_the_watchdog_however_that_dies() {
    let (port, mut watchdog) = start(&[]);
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", watchdog.pid())).unwrap();
    let child: u32 = children.split_whitespace().next().unwrap().parse().unwrap();
    assert!(is_alive(child));
    watchdog.signal("-KILL");
    assert_eq!(watchdog.ended().0, None);
    eventually(|| !is_alive(child) && !listens(port));
}
