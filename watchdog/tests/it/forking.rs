//! Modes streaming and serializing.

use crate::under_test::{PROGRAM, Watchdog, eventually, is_alive, pid, script, script_as};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

#[test]
fn a_body_goes_through_the_process_whole() {
    for mode in ["streaming", "serializing"] {
        let watchdog = Watchdog::start(&[("mode", mode), ("fprocess", "cat"), ("content_type", "text/plain")]);
        let body = "0123456789".repeat(30_000);
        let answer = watchdog.post("/", "", &body);
        assert_eq!(answer.status, 200);
        assert!(answer.head.contains("content-type: text/plain"), "{}", answer.head);
        let digits = answer.body.matches("0123456789").count();
        // In chunks a few digits are torn apart.
        assert!(digits > 29_000, "{mode}: {digits}");
        assert_eq!(watchdog.get("/").status, 200);
        assert_eq!(watchdog.get("/_/ready").status, 200);
    }
}

#[test]
fn the_process_sees_the_request_as_variables() {
    let (_directory, watchdog) = script("serializing", "env | grep ^Http_ | sort", &[]);
    let answer = watchdog.post("/a%2Fb?x=1&y=2", "x-one: first\r\nx-one: second\r\nx-call-id: c-1\r\n", "abc");
    let variables: Vec<&str> = answer.body.lines().collect();
    for variable in [
        "Http_Method=POST",
        "Http_Path=/a%2Fb",
        "Http_Query=x=1&y=2",
        "Http_X_One=first",
        "Http_X_Call_Id=c-1",
        "Http_Content_Length=3",
    ] {
        assert!(variables.contains(&variable), "{variable} in {variables:?}");
    }
    assert!(!answer.body.contains("Http_Host"));
    assert!(answer.head.contains("x-duration-seconds: "), "{}", answer.head);
}

#[test]
fn the_watchdogs_own_socket_is_not_the_processs() {
    let (_directory, watchdog) = script("serializing", "echo socket=$CREMA_SOCKET", &[]);
    assert_eq!(watchdog.get("/").body, "socket=\n");
}

#[test]
fn streaming_shows_output_as_it_comes_and_takes_input_as_it_comes() {
    let (_directory, watchdog) = script("streaming", "while read line; do echo got $line; done", &[]);
    let mut stream = watchdog.connect();
    stream
        .write_all(
            b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n4\r\none\n\r\n",
        )
        .unwrap();
    let mut seen = String::new();
    // The request has not ended.
    let mut buffer = [0; 1024];
    while !seen.contains("got one") {
        let read = stream.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    stream.write_all(b"4\r\ntwo\n\r\n0\r\n\r\n").unwrap();
    stream.read_to_string(&mut seen).unwrap();
    assert!(seen.contains("got two") && seen.ends_with("0\r\n\r\n"), "{seen}");
}

#[test]
fn a_bad_end_is_a_500_and_one_in_the_middle_cuts_the_answer_short() {
    let (_directory, watchdog) = script("streaming", "exit 7", &[]);
    let answer = watchdog.get("/");
    assert_eq!((answer.status, answer.body.as_str()), (500, "exit status 7"));
    let (_directory, watchdog) = script("streaming", "echo partial; exit 7", &[]);
    let answer = watchdog.get("/");
    assert!(answer.body.contains("partial") && !answer.body.ends_with("0\r\n\r\n"), "{answer:?}");
    let (_directory, watchdog) = script("serializing", "echo partial; exit 7", &[]);
    let answer = watchdog.get("/");
    assert_eq!((answer.status, answer.body.as_str()), (500, "exit status 7"));
    assert!(answer.head.contains("x-openfaas-internal: of-watchdog"), "{}", answer.head);
}

#[test]
fn a_missing_command_is_a_500_that_names_it() {
    for mode in ["streaming", "serializing"] {
        let watchdog = Watchdog::start(&[("mode", mode), ("fprocess", "/no/such/thing")]);
        let answer = watchdog.get("/");
        assert_eq!((answer.status, answer.body.as_str()), (500, "fork/exec /no/such/thing: no such file or directory"));
    }
}

#[test]
fn a_process_that_takes_too_long_is_killed_with_all_it_started() {
    for (mode, status) in [("streaming", 504), ("serializing", 500)] {
        let text = "sleep 100 & echo $! >$HERE/grandchild; wait";
        let (_directory, watchdog) = script(mode, text, &[("exec_timeout", "2s")]);
        let begun = Instant::now();
        let answer = watchdog.get("/");
        assert_eq!((answer.status, answer.body.as_str()), (status, "signal: killed"));
        assert!(begun.elapsed() < Duration::from_secs(30));
        let grandchild = pid(&watchdog.here().join("grandchild"));
        eventually(|| !is_alive(grandchild));
    }
}

#[test]
fn a_request_may_shorten_its_time() {
    let (_directory, watchdog) = script("serializing", "sleep 100", &[]);
    let answer = watchdog.post("/", "x-timeout: 200ms\r\n", "");
    assert_eq!((answer.status, answer.body.as_str()), (500, "signal: killed"));
}

#[test]
fn what_a_process_leaves_behind_does_not_delay_the_answer() {
    for mode in ["streaming", "serializing"] {
        // One stays in the group, one leaves it; both hold stdout.
        let text = "sleep 100 & setsid sleep 3 & echo done";
        let (_directory, watchdog) = script(mode, text, &[]);
        let begun = Instant::now();
        let answer = watchdog.get("/");
        assert!(answer.status == 200 && answer.body.contains("done"), "{answer:?}");
        assert!(begun.elapsed() < Duration::from_millis(2500), "{:?}", begun.elapsed());
    }
}

/// The children of a process, with those that have ended and were not reaped.
fn children(pid: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

#[test]
fn as_the_first_process_of_its_namespace_it_reaps_what_is_left_behind() {
    let unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let works = std::process::Command::new(unshare[0]).args(&unshare[1..]).arg("true").output();
    if !works.is_ok_and(|output| output.status.success()) {
        let test = "as_the_first_process_of_its_namespace_it_reaps_what_is_left_behind";
        eprintln!("SKIPPED {test}: no user namespaces; run the tests as root");
        return;
    }
    // One that is killed with its group, one that has left the group and lives on a little.
    let text = "sleep 100 & setsid sleep 0.3 & echo done";
    let program = [&unshare[..], &[PROGRAM]].concat();
    let (_directory, watchdog) = script_as(&program, "serializing", text, &[]);
    let first = children(watchdog.pid())[0];
    for _ in 0..5 {
        let answer = watchdog.get("/");
        assert_eq!((answer.status, answer.body.as_str()), (200, "done\n"));
    }
    assert_eq!(std::fs::read_to_string(format!("/proc/{first}/comm")).unwrap(), "watchdog\n");
    eventually(|| children(first).is_empty());
}

#[test]
fn a_caller_that_leaves_takes_the_process_along() {
    for mode in ["streaming", "serializing"] {
        let (_directory, watchdog) = script(mode, "echo $$ >$HERE/pid; exec sleep 100", &[]);
        let mut stream = watchdog.connect();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        let process = pid(&watchdog.here().join("pid"));
        assert!(is_alive(process));
        drop(stream);
        eventually(|| !is_alive(process));
    }
}

#[test]
fn a_stderr_line_of_any_length_stalls_nothing() {
    let text = "head -c 300000 /dev/zero | tr '\\0' x >&2; echo >&2; echo last >&2; echo done";
    let (_directory, mut watchdog) =
        script("serializing", text, &[("prefix_logs", "false"), ("log_buffer_size", "1000")]);
    let answer = watchdog.get("/");
    assert_eq!((answer.status, answer.body.as_str()), (200, "done\n"));
    watchdog.signal("-TERM");
    let (code, _, stderr) = watchdog.ended();
    assert_eq!(code, Some(0));
    assert_eq!(stderr.matches('x').count(), 300_000);
    assert!(stderr.lines().any(|line| line == "last"));
    assert!(stderr.lines().all(|line| line.len() <= 1000));
}

#[test]
fn lines_carry_time_and_stream() {
    let (_directory, mut watchdog) = script("streaming", "echo oops >&2", &[]);
    assert_eq!(watchdog.get("/").status, 200);
    watchdog.signal("-TERM");
    let (_, _, stderr) = watchdog.ended();
    let line = stderr.lines().find(|line| line.ends_with("oops")).unwrap();
    assert!(line.len() == "2026/11/23 01:02:03 stderr: oops".len() && line.contains(" stderr: oops"), "{line}");
    let access = stderr.lines().find(|line| line.starts_with("GET / - 200 - ContentLength: 0B (")).unwrap();
    assert!(access.ends_with("s)"), "{access}");
}

#[test]
fn a_body_over_the_limit_is_refused_where_it_would_be_held() {
    let watchdog = Watchdog::start(&[("mode", "serializing"), ("fprocess", "cat"), ("body_limit", "10")]);
    assert_eq!(watchdog.post("/", "", "0123456789").status, 200);
    assert_eq!(watchdog.post("/", "", "0123456789x").status, 413);
}

#[test]
fn one_call_too_many_is_refused() {
    let (_directory, watchdog) = script("streaming", "echo $$ >$HERE/pid; exec sleep 100", &[("max_inflight", "1")]);
    let mut stream = watchdog.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    pid(&watchdog.here().join("pid"));
    let answer = watchdog.get("/");
    assert_eq!(answer.status, 429);
    assert_eq!(answer.body, "Concurrent request limit exceeded. Max concurrent requests: 1\n");
    assert_eq!(watchdog.get("/_/ready").status, 429);
}
