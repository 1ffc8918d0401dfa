//! Bad input: each gets a clear error and loses nothing.

use crate::shop;
use e2e::binaries::binary;
use e2e::platform::{Options, State, spawn};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

/// Runs `crema up` that must fail, and returns the line it said.
fn refused(state: &State, arguments: &[&str]) -> String {
    let options = Options::default().with(&["--no-build"]).with(arguments);
    let status = spawn(state, &options).wait().unwrap();
    let said = std::fs::read_to_string(state.log()).unwrap();
    assert!(!status.success(), "it started:\n{said}");
    assert!(!said.contains("panicked"), "{said}");
    said.lines().find(|line| line.starts_with("crema: ")).unwrap_or_else(|| panic!("{said}")).to_owned()
}

fn run(arguments: &[&str]) -> Output {
    Command::new(binary("crema")).args(arguments).output().unwrap()
}

#[test]
fn a_broken_stack_file_is_named_with_the_place() {
    for (text, says) in [
        ("version: 2.0\nprovider: {name: openfaas}\nfunctions: {}\n", "version"),
        ("provider: {name: other}\nfunctions: {}\n", "openfaas"),
        ("provider: {name: openfaas\n", "line"),
        ("functions: [1, 2]\n", "line"),
    ] {
        let state = State::default();
        let file = state.path().with_file_name("stack.yml");
        std::fs::write(&file, text).unwrap();
        let said = refused(&state, &["-f", file.to_str().unwrap()]);
        assert!(said.contains("stack.yml") && said.contains(says), "{text:?}: {said}");
    }
    let state = State::default();
    let said = refused(&state, &["-f", "/nowhere/stack.yml"]);
    assert!(said.contains("/nowhere/stack.yml"), "{said}");
}

#[test]
fn an_address_that_is_taken_is_named_with_its_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--metrics", "--mqtt"] {
        let state = State::default();
        let said = refused(&state, &[flag, &address]);
        assert!(said.contains(&address) && said.contains(flag), "{said}");
    }
}

#[tokio::test]
async fn a_state_directory_in_use_is_refused_and_left_alone() {
    let state = State::default();
    let platform = shop(&state).await;
    let second = Command::new(binary("crema"))
        .args([
            "up",
            "--no-build",
            "--listen",
            "127.0.0.1:0",
            "--metrics",
            "127.0.0.1:0",
            "--mqtt",
            "127.0.0.1:0",
            "--state",
        ])
        .arg(state.path())
        .current_dir(e2e::binaries::root())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        !second.status.success() && said.contains("in use") && said.contains(&platform.pid().to_string()),
        "{said}"
    );
    assert_eq!(platform.http.get(&platform.url("/healthz")).await.unwrap().status, 200);
}

#[test]
fn what_is_open_to_the_network_must_be_asked_for() {
    for (arguments, says) in [
        (&["--listen", "0.0.0.0:0"][..], "--tls-cert"),
        (&["--mqtt", "0.0.0.0:0"], "--mqtt-anonymous"),
        (&["--listen", "0.0.0.0:0", "--plain-http", "--no-auth"], "--no-auth"),
    ] {
        let said = refused(&State::default(), arguments);
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}

#[test]
fn an_archive_that_would_write_elsewhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("evil.tar");
    std::fs::write(&archive, b"this is no archive").unwrap();
    let state = folder.path().join("state");
    let output = run(&["image", "--state", state.to_str().unwrap(), "import", archive.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("evil.tar") && !said.contains("panicked"), "{said}");
}

#[tokio::test]
async fn a_missing_image_or_secret_is_named() {
    let state = State::default();
    let platform = shop(&state).await;
    let deploy = |image: &str, secret: &str| format!(r#"{{"service":"x","image":"{image}","secrets":["{secret}"]}}"#);
    let answer = platform.system("PUT", "/system/functions", &deploy("ghcr.io/none/x:1", "shop-key")).await;
    assert_eq!(answer.status, 404, "an update of what is not there: {}", answer.text());
    let answer = platform.system("POST", "/system/functions", &deploy("ghcr.io/none/x:1", "shop-key")).await;
    assert!(answer.status == 400 && answer.text().contains("ghcr.io/none/x:1"), "{}", answer.text());
    let image = "ghcr.io/crema-faas/fridge-temp:0.1.0";
    let answer = platform.system("POST", "/system/functions", &deploy(image, "no-such")).await;
    assert!(answer.status == 400 && answer.text().contains("no-such"), "{}", answer.text());
}

#[tokio::test]
async fn half_requests_and_slow_ones_harm_nobody() {
    let state = State::default();
    let platform = shop(&state).await;
    let address = platform.url("").trim_start_matches("http://").to_owned();
    let mut half: Vec<TcpStream> = Vec::new();
    for bytes in [
        &b"POST /function/fridge-temp HTTP/1.1\r\nContent-Length: 100\r\n\r\n4"[..],
        b"GET /func",
        b"\x16\x03\x01",
        b"",
    ] {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(bytes).unwrap();
        half.push(stream);
    }
    let answer = platform.http.post(&platform.url("/function/fridge-temp"), "38.2").await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(b"NONSENSE\r\n\r\n").unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&said));
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_and_garbage_is_400() {
    let state = State::default();
    let platform = shop(&state).await;
    let answer = platform.http.post(&platform.url("/async-function/fridge-temp"), vec![b'1'; 2 << 20]).await.unwrap();
    assert_eq!(answer.status, 413, "{}", answer.text());
    let answer = platform.http.post(&platform.url("/function/fridge-temp"), "warm").await.unwrap();
    assert_eq!(answer.status, 400, "{}", answer.text());
    let answer = platform.http.post(&platform.url("/function/no-such"), "x").await.unwrap();
    assert_eq!(answer.status, 404, "{}", answer.text());
}

#[test]
fn the_state_is_for_its_owner_only() {
    let state = State::default();
    refused(&state, &["-f", "/nowhere/stack.yml"]);
    if let Ok(metadata) = std::fs::metadata(state.path()) {
        assert_eq!(metadata.permissions().mode() & 0o077, 0);
    }
}
