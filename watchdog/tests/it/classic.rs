//! The classic watchdog.

use crate::under_test::{Watchdog, eventually, run, script};

/// An image's watchdog: called `fwatchdog`, told nothing but a command.
fn classic(text: &str, variables: &[(&str, &str)]) -> (tempfile::TempDir, Watchdog) {
    script("classic", text, variables)
}

#[test]
fn an_image_that_was_built_for_it_runs_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("fwatchdog");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_watchdog"), &program).unwrap();
    let program = [program.to_str().unwrap()];
    let watchdog = Watchdog::start_as(&program, &[("fprocess", "cat"), ("write_timeout", "5"), ("read_timeout", "5")]);
    let answer = watchdog.post("/", "content-type: application/json\r\n", "{}");
    assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
    assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
    assert!(answer.head.contains("x-duration-seconds: 0."), "{}", answer.head);
    assert_eq!(watchdog.raw("HEAD / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").status, 405);
    let of_watchdog = Watchdog::start_as(&program, &[("fprocess", "cat"), ("mode", "streaming")]);
    let answer = of_watchdog.post("/", "content-type: application/json\r\n", "{}");
    assert!(answer.head.contains("content-type: application/octet-stream"), "{}", answer.head);
    assert!(run(&["-version"], &[]).status.success());
}

#[test]
fn methods_are_those_that_functions_had() {
    let (_directory, watchdog) = classic("echo $Http_Method", &[]);
    let status = |method: &str| {
        let answer = watchdog.raw(&format!("{method} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"));
        (answer.status, answer.body)
    };
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        assert_eq!(status(method), (200, format!("{method}\n")));
    }
    for method in ["HEAD", "OPTIONS", "TRACE", "BREW"] {
        assert_eq!(status(method), (405, String::new()), "{method}");
    }
    for (path, status, body) in [("/_/health", 200, "OK"), ("/_/ready", 200, "")] {
        let answer = watchdog.get(path);
        assert_eq!((answer.status, answer.body.as_str()), (status, body));
    }
}

#[test]
fn the_process_sees_the_request_as_variables_unless_told_otherwise() {
    let text = "env | grep ^Http_ | sort";
    let (_directory, watchdog) = classic(text, &[]);
    let answer = watchdog.post("/a/b?x=1", "x-one: 1\r\nproxy: evil\r\ncontent-type: text/x\r\n", "abc");
    let variables: Vec<&str> = answer.body.lines().collect();
    for variable in [
        "Http_ContentLength=3",
        "Http_Content_Length=3",
        "Http_Content_Type=text/x",
        "Http_Host=a.test",
        "Http_Method=POST",
        "Http_Path=/a/b",
        "Http_Query=x=1",
        "Http_X_One=1",
    ] {
        assert!(variables.contains(&variable), "{variable} in {variables:?}");
    }
    assert!(!answer.body.to_lowercase().contains("http_proxy"), "{variables:?}");
    let chunked =
        "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n";
    let answer = watchdog.raw(chunked);
    for variable in ["Http_ContentLength=4", "Http_Transfer_Encoding=chunked"] {
        assert!(answer.body.contains(variable), "{}", answer.body);
    }
    let (_directory, watchdog) = classic(&format!("{text}; echo done"), &[("cgi_headers", "false")]);
    assert_eq!(watchdog.get("/").body, "done\n");
}

#[test]
fn both_outputs_are_the_answer_in_their_order_unless_told_otherwise() {
    let text = "echo one; echo two >&2; echo three";
    let (_directory, mut watchdog) = classic(text, &[]);
    assert_eq!(watchdog.get("/").body, "one\ntwo\nthree\n");
    watchdog.signal("-TERM");
    assert!(!watchdog.ended().2.contains("two"));
    let (_directory, mut watchdog) = classic(text, &[("combine_output", "false")]);
    assert_eq!(watchdog.get("/").body, "one\nthree\n");
    watchdog.signal("-TERM");
    let stderr = watchdog.ended().2;
    assert!(stderr.lines().any(|line| line.ends_with(" stderr: two")), "{stderr}");
}

#[test]
fn the_answers_type_is_given_or_the_requests_or_by_its_looks() {
    let content_type = |variables: &[(&str, &str)], headers: &str, body: &str| {
        let watchdog = Watchdog::start(&[&[("mode", "classic"), ("fprocess", "cat")], variables].concat());
        let answer = watchdog.post("/", headers, body);
        let head = answer.head.clone();
        head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap().to_owned()
    };
    let asked = "content-type: text/csv\r\n";
    assert_eq!(content_type(&[("content_type", "image/png")], asked, "x"), "image/png");
    assert_eq!(content_type(&[], asked, "x"), "text/csv");
    assert_eq!(content_type(&[], "", "<html>"), "text/html; charset=utf-8");
    assert_eq!(content_type(&[], "", "x"), "text/plain; charset=utf-8");
    assert_eq!(content_type(&[], "", "\0"), "application/octet-stream");
}

#[test]
fn a_bad_end_is_a_500_with_how_it_ended_and_what_was_written() {
    let (_directory, watchdog) = classic("echo one; echo two >&2; exit 7", &[]);
    let answer = watchdog.get("/");
    assert_eq!((answer.status, answer.body.as_str()), (500, "exit status 7\none\ntwo\n"));
    let watchdog = Watchdog::start(&[("mode", "classic"), ("fprocess", "/no/such/thing")]);
    let answer = watchdog.get("/");
    let text = "fork/exec /no/such/thing: no such file or directory\n";
    assert_eq!((answer.status, answer.body.as_str()), (500, text));
}

#[test]
fn a_process_that_takes_too_long_is_killed_with_all_it_started_and_the_answer_is_408() {
    let text = "sleep 100 & echo $! >$HERE/grandchild; echo partial; wait";
    let (_directory, watchdog) = classic(text, &[("exec_timeout", "2s")]);
    let answer = watchdog.get("/");
    assert_eq!((answer.status, answer.body.as_str()), (408, "Killed process.\n"));
    let grandchild = std::fs::read_to_string(watchdog.here().join("grandchild")).unwrap();
    eventually(|| !crate::under_test::is_alive(grandchild.trim().parse().unwrap()));
    let (_directory, watchdog) = classic("sleep 100", &[]);
    assert_eq!(watchdog.post("/", "x-timeout: 200ms\r\n", "").status, 408);
}

#[test]
fn a_request_can_be_marshalled() {
    let watchdog = Watchdog::start(&[("mode", "classic"), ("fprocess", "cat"), ("marshal_request", "true")]);
    let answer = watchdog.post("/", "x-one: 1\r\nx-one: 2\r\nx-call-id: c\r\n", "hello");
    let body = r#"{"header":{"Connection":["close"],"Content-Length":["5"],"X-Call-Id":["c"],"X-One":["1","2"]},"body":{"raw":"aGVsbG8="}}"#;
    assert_eq!((answer.status, answer.body.as_str()), (200, body));
}

#[test]
fn the_log_has_answers_and_headers_when_asked_for() {
    let (_directory, mut watchdog) = classic("echo visible", &[]);
    assert_eq!(watchdog.post("/", "x-one: shown\r\n", "").status, 200);
    watchdog.signal("-TERM");
    let (_, stdout, stderr) = watchdog.ended();
    assert!(!stdout.contains("visible") && !stderr.contains("shown"), "{stdout} {stderr}");
    let (_directory, mut watchdog) = classic("echo visible", &[("write_debug", "true"), ("debug_headers", "true")]);
    assert_eq!(watchdog.post("/", "x-one: shown\r\n", "").status, 200);
    watchdog.signal("-TERM");
    let (_, stdout, stderr) = watchdog.ended();
    assert!(stdout.ends_with(" stdout: visible\n"), "{stdout}");
    assert!(stderr.contains("X-One: shown [") && stderr.contains("8 bytes of output in "), "{stderr}");
}

#[test]
fn one_call_too_many_is_refused_and_a_caller_that_leaves_takes_the_process_along() {
    use std::io::Write;
    let (_directory, watchdog) = classic("echo $$ >$HERE/pid; exec sleep 100", &[("max_inflight", "1")]);
    let mut stream = watchdog.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let process = crate::under_test::pid(&watchdog.here().join("pid"));
    assert_eq!(watchdog.get("/").status, 429);
    drop(stream);
    eventually(|| !crate::under_test::is_alive(process));
    eventually(|| watchdog.get("/_/ready").status == 200);
}

#[test]
fn a_body_over_the_limit_is_refused_and_much_output_is_not() {
    let watchdog = Watchdog::start(&[("mode", "classic"), ("fprocess", "cat"), ("body_limit", "10")]);
    assert_eq!(watchdog.post("/", "", "0123456789").status, 200);
    assert_eq!(watchdog.post("/", "", "0123456789x").status, 413);
    let (_directory, watchdog) = classic("head -c 3000000 /dev/zero | tr '\\0' x; echo >&2", &[]);
    let answer = watchdog.get("/");
    assert_eq!((answer.status, answer.body.len()), (200, 3_000_001));
}
