//! `/function/NAME`: what reaches the function and what comes back.

use crate::stage::{Answer, Function, PATIENCE, Stage, eventually, ok, read_request};
use gateway::Config;
use provider::Provider;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn stage() -> (Stage, Function) {
    let (stage, function) = (Stage::new().await, Function::ok().await);
    stage.function("f", function.address).await;
    (stage, function)
}

#[tokio::test]
async fn raw_paths_and_queries_arrive_as_they_were_sent() {
    let (stage, function) = stage().await;
    for (sent, arrives) in [
        ("/function/f", "/"),
        ("/function/f/", "/"),
        ("/function/f.openfaas-fn/a%2Fb//c/./../d%3F%23?x=%20&y", "/a%2Fb//c/./../d%3F%23?x=%20&y"),
        ("/function/f?", "/?"),
        ("/function/f//", "//"),
        ("/function/f/%25", "/%25"),
    ] {
        assert_eq!(stage.get(sent).await.status, 200, "{sent}");
        let arrived = function.arrived.lock().unwrap().pop().unwrap();
        assert_eq!(arrived.line(), format!("GET {arrives} HTTP/1.1"), "{sent}");
    }
}

#[tokio::test]
async fn the_function_learns_who_asked_and_the_client_who_answered() {
    let (stage, function) = stage().await;
    let headers = "X-Forwarded-For: 1.2.3.4\r\nAuthorization: Basic abc\r\nX-Call-Id: mine\r\nX-Start-Time: 1\r\n\
                   Cookie: a=1\r\nCookie: b=2\r\n";
    let answer = stage.send("POST", "/function/f", headers, "hello").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "fine"));
    let arrived = function.only();
    assert_eq!(arrived.body, b"hello");
    for (name, value) in [
        ("content-length", "5"),
        ("x-forwarded-for", "1.2.3.4, 127.0.0.1"),
        ("x-forwarded-host", "localhost:1"),
        ("x-forwarded-proto", "http"),
        ("authorization", "Basic abc"),
        ("x-call-id", "mine"),
        ("host", &function.address.to_string()),
    ] {
        assert_eq!(arrived.header(name), [value], "{name}");
    }
    assert_eq!(arrived.header("cookie"), ["a=1", "b=2"]);
    assert!(arrived.header("user-agent")[0].starts_with("crema/"));
    assert_eq!(arrived.header("traceparent")[0].len(), 55);
    assert!(arrived.header("transfer-encoding").is_empty() && arrived.header("connection").is_empty());
    let start = arrived.header("x-start-time");
    assert!(start.len() == 1 && start[0].len() == 19, "{start:?}");
    assert_eq!(answer.header("x-start-time"), start);
    assert_eq!(answer.header("x-call-id"), ["mine"]);
    assert_eq!(answer.header("content-length"), ["4"]);
    assert!(answer.header("x-served-by")[0].starts_with("crema/"));
    assert_eq!(stage.get("/function/f").await.header("x-call-id")[0].len(), 36);
}

#[tokio::test]
async fn headers_of_one_connection_stay_on_it() {
    let function = Function::answering(|_| {
        "HTTP/1.1 200 OK\r\nConnection: x-secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=1\r\nX-Call-Id: theirs\r\n\
         X-Public: 1\r\nX-Public: 2\r\nContent-Length: 0\r\n\r\n"
            .to_owned()
    })
    .await;
    let stage = Stage::new().await;
    stage.function("f", function.address).await;
    let answer = stage
        .raw(
            b"GET /function/f HTTP/1.1\r\nHost: a\r\nConnection: close, X-Private\r\nX-Private: 1\r\nTE: trailers\r\n\
              Proxy-Authorization: Basic x\r\nUpgrade: h2c\r\nX-Call-Id: ours\r\n\r\n",
        )
        .await;
    let arrived = function.only();
    for gone in ["x-private", "te", "proxy-authorization", "upgrade", "connection"] {
        assert!(arrived.header(gone).is_empty(), "{gone}: {}", arrived.head);
    }
    for gone in ["x-secret", "keep-alive"] {
        assert!(answer.header(gone).is_empty(), "{gone}: {}", answer.head);
    }
    assert_eq!(
        (answer.header("x-public"), answer.header("x-call-id")),
        (vec!["1".into(), "2".into()], vec!["ours".into()])
    );
}

#[tokio::test]
async fn a_chunked_body_stays_chunked_and_two_lengths_are_never_passed_on() {
    let (stage, function) = stage().await;
    let chunked = b"POST /function/f HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                    3\r\nabc\r\n0\r\n\r\n";
    assert_eq!(stage.raw(chunked).await.status, 200);
    let arrived = function.only();
    assert_eq!(arrived.header("transfer-encoding"), ["chunked"]);
    assert!(arrived.header("content-length").is_empty());
    assert_eq!(arrived.body, b"3\r\nabc\r\n0\r\n\r\n");
    function.arrived.lock().unwrap().clear();
    let both = b"POST /function/f HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\
                 Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let answer = stage.raw(both).await;
    for arrived in function.arrived.lock().unwrap().iter() {
        let lengths = arrived.header("content-length").len() + arrived.header("transfer-encoding").len();
        assert_eq!(lengths, 1, "{answer:?} {}", arrived.head);
    }
    let two = b"POST /function/f HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd";
    assert_eq!(stage.raw(two).await.status, 400);
}

#[tokio::test]
async fn methods_and_answers_without_a_body() {
    let function = Function::answering(|request| {
        match request.line().split(' ').nth(1).unwrap() {
            "/none" => "HTTP/1.1 204 No Content\r\n\r\n",
            "/same" => "HTTP/1.1 304 Not Modified\r\nETag: a\r\nContent-Length: 7\r\n\r\n",
            "/moved" => "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
        }
        .to_owned()
    })
    .await;
    let stage = Stage::new().await;
    stage.function("f", function.address).await;
    let head = stage.raw(b"HEAD /function/f HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!((head.status, head.header("content-length"), head.body.as_str()), (200, vec!["1234".into()], ""));
    let none = stage.get("/function/f/none").await;
    assert_eq!((none.status, none.header("content-length"), none.body.as_str()), (204, vec![], ""));
    let same = stage.get("/function/f/same").await;
    assert_eq!((same.status, same.header("etag"), same.body.as_str()), (304, vec!["a".into()], ""));
    let moved = stage.get("/function/f/moved").await;
    assert_eq!((moved.status, moved.header("location")), (302, vec!["/x".into()]));
    assert_eq!(stage.send("PROPFIND", "/function/f", "", "").await.status, 405);
    for method in ["PUT", "PATCH", "DELETE", "OPTIONS"] {
        assert_eq!(stage.send(method, "/function/f/moved", "", "x").await.status, 302, "{method}");
    }
    assert_eq!(function.count(), 8);
}

#[tokio::test]
async fn unknown_functions_are_told_and_leave_no_trace_in_the_metrics() {
    let (stage, _function) = stage().await;
    let long = "x".repeat(300);
    for name in ["none", "f.other", "../f", "F", "%2e%2e", &long] {
        let answer = stage.get(&format!("/function/{name}")).await;
        assert_eq!(answer.status, 404, "{name}");
        assert!(answer.body.contains("faas-cli") && answer.body.len() < 400, "{answer:?}");
        assert_eq!(answer.header("x-openfaas-internal"), ["gateway"]);
        assert_eq!(answer.header("x-content-type-options"), ["nosniff"]);
    }
    stage.get("/function/f").await;
    let wanted = r#"gateway_function_invocation_total{code="200",function_name="f.openfaas-fn"} 1"#;
    eventually("the call is counted", async || stage.scrape().await.contains(wanted)).await;
    let metrics = stage.scrape().await;
    assert!(metrics.contains(r#"gateway_function_invocation_started{function_name="f.openfaas-fn"} 1"#), "{metrics}");
    assert!(metrics.contains(r#"gateway_service_count{function_name="f.openfaas-fn"} 1"#), "{metrics}");
    assert!(!metrics.contains("none") && !metrics.contains("f.other"), "{metrics}");
    stage.provider.delete(&"f".parse().unwrap(), false).await.unwrap();
    eventually("a deleted function is forgotten", async || !stage.scrape().await.contains("f.openfaas-fn")).await;
}

#[tokio::test]
async fn an_answer_streams_as_it_is_made() {
    let (release, mut released) = tokio::sync::mpsc::channel::<()>(1);
    let released = std::sync::Arc::new(tokio::sync::Mutex::new(async move || released.recv().await));
    let function = Function::scripted(move |mut stream| {
        let released = std::sync::Arc::clone(&released);
        async move {
            read_request(&mut stream).await;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(format!("{head}9\r\ndata: 1\n\n\r\n").as_bytes()).await.unwrap();
            (released.lock().await)().await;
            stream.write_all(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let stage = Stage::new().await;
    stage.function("f", function.address).await;
    let mut client = stage.connect().await;
    client.write_all(b"GET /function/f HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains("data: 1") {
        tokio::time::timeout(PATIENCE, client.read_buf(&mut answer)).await.unwrap().unwrap();
    }
    assert!(!String::from_utf8_lossy(&answer).contains("data: 2"));
    release.send(()).await.unwrap();
    client.read_to_end(&mut answer).await.unwrap();
    let answer = Answer::read(&answer);
    assert!(answer.body.contains("data: 2") && answer.body.ends_with("0\r\n\r\n"), "{answer:?}");
    assert_eq!(answer.header("content-type"), ["text/event-stream"]);
}

#[tokio::test]
async fn big_bodies_stream_both_ways_in_bounded_memory() {
    const SIZE: usize = 100 << 20;
    let function = Function::scripted(|stream| async move {
        let (mut reading, mut writing) = stream.into_split();
        let mut head = Vec::new();
        while !head.windows(4).any(|window| window == b"\r\n\r\n") {
            reading.read_buf(&mut head).await.unwrap();
        }
        let end = head.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
        writing.write_all(answer.as_bytes()).await.unwrap();
        writing.write_all(&head[end..]).await.unwrap();
        tokio::io::copy(&mut reading.take((SIZE - (head.len() - end)) as u64), &mut writing).await.unwrap();
    })
    .await;
    let stage = Stage::new().await;
    stage.function("f", function.address).await;
    let before = peak_memory();
    let (mut reading, mut writing) = stage.connect().await.into_split();
    let sending = tokio::spawn(async move {
        let head =
            format!("POST /function/f HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {SIZE}\r\n\r\n");
        writing.write_all(head.as_bytes()).await.unwrap();
        let chunk = vec![b'x'; 1 << 20];
        for _ in 0..SIZE >> 20 {
            writing.write_all(&chunk).await.unwrap();
        }
        writing
    });
    let mut buffer = vec![0; 1 << 20];
    let mut read = 0;
    loop {
        match tokio::time::timeout(PATIENCE, reading.read(&mut buffer)).await.unwrap().unwrap() {
            0 => break,
            count => read += count,
        }
    }
    drop(sending.await.unwrap());
    assert!(read > SIZE && read < SIZE + 2000, "{read}");
    // Of 100 MiB each way; what other tests of this process take meanwhile is in it.
    assert!(peak_memory() - before < 80 << 10, "{} KiB more at the peak", peak_memory() - before);
}

/// The process's peak resident memory so far, in KiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_function_that_breaks_off_ends_the_clients_answer_early() {
    let function = Function::scripted(|mut stream| async move {
        let request = read_request(&mut stream).await.unwrap();
        let answer = if request.line().contains("/late") {
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"
        } else if request.line().contains("/garbage") {
            "what?\r\n\r\n"
        } else {
            ""
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let stage = Stage::new().await;
    stage.function("f", function.address).await;
    let late = stage.get("/function/f/late").await;
    assert_eq!((late.status, late.header("content-length"), late.body.as_str()), (200, vec!["10".into()], "abc"));
    for path in ["/function/f/early", "/function/f/garbage"] {
        let answer = stage.get(path).await;
        assert_eq!(answer.status, 502, "{answer:?}");
        assert!(answer.body.contains("f.openfaas-fn") && answer.body.contains("faas-cli logs f"), "{answer:?}");
        assert_eq!(answer.header("x-openfaas-internal"), ["gateway"]);
    }
}

#[tokio::test]
async fn a_slow_function_is_answered_504_and_a_slow_client_408() {
    let limit = Duration::from_millis(200);
    let config = Config { upstream_timeout: limit, read_timeout: limit, ..Config::default() };
    let stage = Stage::with(config, None).await;
    let function = Function::scripted(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    stage.function("f", function.address).await;
    let slow = stage.get("/function/f").await;
    assert_eq!((slow.status, slow.header("x-openfaas-internal")), (504, vec!["gateway".into()]));
    assert!(slow.body.contains("upstream_timeout"), "{slow:?}");
    for half in
        ["GET /function/f HTTP/1.1\r\nHost:", "POST /function/f HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"]
    {
        let answer = stage.raw(half.as_bytes()).await;
        assert_eq!(answer.status, 408, "{half}");
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_off() {
    let config = Config { write_timeout: Duration::from_millis(500), ..Config::default() };
    let stage = Stage::with(config, None).await;
    let (cut, mut is_cut) = tokio::sync::mpsc::channel::<()>(1);
    let function = Function::scripted(move |mut stream| {
        let cut = cut.clone();
        async move {
            read_request(&mut stream).await.unwrap();
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n";
            stream.write_all(head).await.unwrap();
            while stream.write_all(&[b'x'; 65536]).await.is_ok() {}
            cut.send(()).await.unwrap();
        }
    })
    .await;
    stage.function("f", function.address).await;
    let mut client = stage.connect().await;
    client.write_all(b"GET /function/f HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    tokio::time::timeout(PATIENCE, is_cut.recv()).await.expect("the function's connection is let go").unwrap();
    drop(client);
}

#[tokio::test]
async fn a_request_that_stops_halfway_harms_no_other() {
    let (stage, function) = stage().await;
    for half in ["GET /func", "POST /function/f HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"] {
        let mut client = stage.connect().await;
        client.write_all(half.as_bytes()).await.unwrap();
        drop(client);
    }
    assert_eq!(stage.get("/function/f").await.status, 200);
    assert_eq!(function.count(), 1);
}

#[tokio::test]
async fn a_kept_connection_that_the_function_closed_is_not_noticed_by_the_client() {
    // Answers one request, then closes as soon as the next one is there, unread.
    let function = Function::scripted(|mut stream| async move {
        read_request(&mut stream).await.unwrap();
        stream.write_all(ok("once").as_bytes()).await.unwrap();
        stream.readable().await.unwrap();
    })
    .await;
    let stage = Stage::with(Config::default(), None).await;
    stage.function("f", function.address).await;
    let mut client = stage.connect().await;
    for _ in 0..20 {
        // A POST is not sent again: that nobody read it cannot be told of TCP.
        let get = b"GET /function/f HTTP/1.1\r\nHost: a\r\n\r\n";
        client.write_all(get).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"once") {
            assert_ne!(tokio::time::timeout(PATIENCE, client.read_buf(&mut answer)).await.unwrap().unwrap(), 0);
            assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        }
    }
}

#[tokio::test]
async fn a_call_that_may_have_run_is_not_sent_again() {
    for reset in [false, true] {
        // Reads the second request of a connection whole and closes or resets: it may have run.
        let function = Function::scripted(move |mut stream| async move {
            read_request(&mut stream).await.unwrap();
            stream.write_all(ok("once").as_bytes()).await.unwrap();
            read_request(&mut stream).await;
            if reset {
                stream.set_zero_linger().unwrap();
            }
        })
        .await;
        let stage = Stage::with(Config::default(), None).await;
        stage.function("f", function.address).await;
        let mut client = stage.connect().await;
        let post = b"POST /function/f HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
        client.write_all(post).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"once") {
            client.read_buf(&mut answer).await.unwrap();
        }
        answer.clear();
        client.write_all(post).await.unwrap();
        while !String::from_utf8_lossy(&answer).contains("\r\n\r\n") {
            assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0);
        }
        assert_eq!(Answer::read(&answer).status, 502, "{reset}");
    }
}
