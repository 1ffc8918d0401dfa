//! Flags, bad settings, the lock file, signals.

use crate::under_test::{Watchdog, eventually, free_port, listens, run};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

#[test]
fn flags_answer_and_end() {
    let version = run(&["-version"], &[]);
    assert!(version.status.success());
    assert!(String::from_utf8_lossy(&version.stdout).contains(env!("CARGO_PKG_VERSION")));
    let empty = tempfile::tempdir().unwrap();
    let tmp = [("TMPDIR", empty.path().to_str().unwrap())];
    let check = run(&["-run-healthcheck"], &tmp);
    assert_eq!(check.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&check.stdout), "unable to find lock file.\n");
    std::fs::write(empty.path().join(".lock"), "").unwrap();
    assert!(run(&["-run-healthcheck"], &tmp).status.success());
    assert_eq!(run(&["-nonsense"], &[]).status.code(), Some(64));
}

#[test]
fn bad_settings_end_with_64_and_are_named() {
    for (variables, says) in [
        (&[][..], "fprocess"),
        (&[("fprocess", "cat"), ("mode", "afterburn")], "mode=afterburn"),
        (&[("fprocess", "cat"), ("mode", "http")], "upstream_url"),
        (&[("fprocess", "cat"), ("write_timeout", "0")], "write_timeout"),
        (&[("fprocess", "cat"), ("exec_timeout", "soon")], "exec_timeout=soon"),
    ] {
        let output = run(&[], variables);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{text}");
        assert!(text.contains(says), "{text}");
    }
}

/// One exchange over TCP; its status.
fn status(port: u16, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.split(' ').nth(1)?.parse().ok()
}

#[test]
fn on_tcp_there_is_a_lock_file_and_sigterm_is_announced_by_health() {
    let tmp = tempfile::tempdir().unwrap();
    let lock = tmp.path().join(".lock");
    let port = free_port();
    let mut watchdog = Command::new(env!("CARGO_BIN_EXE_watchdog"))
        .env("TMPDIR", tmp.path())
        .env("port", port.to_string())
        .env("fprocess", "cat")
        .env("healthcheck_interval", "3s")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually(|| status(port, "/_/health") == Some(200));
    assert!(lock.exists());
    assert_eq!(status(port, "/_/ready"), Some(200));
    crate::under_test::signal(watchdog.id(), "-TERM");
    eventually(|| status(port, "/_/health") == Some(503));
    assert!(!lock.exists());
    // Health is bad, and who calls all the same is served.
    assert_eq!(status(port, "/"), Some(200));
    eventually(|| !listens(port));
    assert_eq!(watchdog.wait().unwrap().code(), Some(0));
}

#[test]
fn health_is_bad_when_the_lock_file_is_taken_away_and_good_when_there_is_to_be_none() {
    let tmp = tempfile::tempdir().unwrap();
    for suppressed in [false, true] {
        let port = free_port();
        let mut watchdog = Command::new(env!("CARGO_BIN_EXE_watchdog"))
            .env("TMPDIR", tmp.path())
            .env("port", port.to_string())
            .env("fprocess", "cat")
            .env("suppress_lock", suppressed.to_string())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually(|| status(port, "/_/health") == Some(200));
        assert_eq!(tmp.path().join(".lock").exists(), !suppressed);
        if !suppressed {
            std::fs::remove_file(tmp.path().join(".lock")).unwrap();
            assert_eq!((status(port, "/_/health"), status(port, "/_/ready")), (Some(503), Some(503)));
        }
        watchdog.kill().unwrap();
        watchdog.wait().unwrap();
    }
}

#[test]
fn an_interrupt_drains_as_well() {
    let mut watchdog = Watchdog::start(&[("fprocess", "cat")]);
    assert_eq!(watchdog.get("/").status, 200);
    watchdog.signal("-INT");
    assert_eq!(watchdog.ended().0, Some(0));
}
