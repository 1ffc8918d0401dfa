//! The function under test: this binary, run as a replica. It answers on the Unix socket it is given.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "that is how a function logs")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What makes the binary a function: how it behaves.
pub(crate) const BEHAVIOUR: &str = "TEST_BEHAVIOUR";

/// The command of the image's script.
pub(crate) fn script() -> String {
    let binary = std::env::current_exe().unwrap();
    format!(
        "#!/bin/sh\n[ \"${BEHAVIOUR}\" = stubborn ] && trap '' TERM\nexec '{}' --exact function::a_function --nocapture --quiet \
         --test-threads=1\n",
        binary.display()
    )
}

/// No test of its own: the function's main, when the binary runs as one.
#[test]
fn a_function() {
    let Some(socket) = variable("CREMA_SOCKET") else { return };
    match variable(BEHAVIOUR).as_deref() {
        Some("crash") => std::process::abort(),
        Some("never-ready") => loop {
            std::thread::park();
        },
        Some("drains") => drop(function_sdk::serve(async |_: function_sdk::Request| {
            // A call that is under way when the order to end comes.
            tokio::time::sleep(Duration::from_millis(20)).await;
            function_sdk::Response::ok().text(variable("VERSION").unwrap_or_default())
        })),
        Some("mortal") => {
            std::thread::spawn(|| {
                std::thread::park_timeout(Duration::from_millis(100));
                std::process::abort();
            });
            serve(Path::new(&socket));
        }
        _ => serve(Path::new(&socket)),
    }
}

fn serve(socket: &Path) {
    println!("serving");
    let listener = UnixListener::bind(socket).unwrap();
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let mut line = String::new();
        let mut reader = BufReader::new(&stream);
        if reader.read_line(&mut line).is_err() {
            continue;
        }
        // The head to its end, so that closing is no reset.
        let mut header = String::new();
        while reader.read_line(&mut header).is_ok_and(|length| length > 2) {
            header.clear();
        }
        let path = line.split(' ').nth(1).unwrap_or("/");
        let (status, body) = answer(path);
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        // Whoever asked may have gone.
        (&stream).write_all(head.as_bytes()).unwrap_or_default();
    }
}

fn answer(path: &str) -> (&'static str, String) {
    const OK: &str = "200 OK";
    match path.split_once(['?']).unwrap_or((path, "")) {
        ("/_/ready" | "/custom", _) => {
            match variable(BEHAVIOUR).as_deref() == Some("custom-ready") && path == "/_/ready" {
                true => ("503 Unavailable", String::new()),
                false => (OK, String::new()),
            }
        }
        ("/pid", _) => (OK, std::process::id().to_string()),
        ("/env", _) => (OK, std::env::vars().map(|(key, value)| format!("{key}={value}\n")).collect()),
        ("/status", _) => (OK, std::fs::read_to_string("/proc/self/status").unwrap()),
        ("/cwd", _) => (OK, std::env::current_dir().unwrap().display().to_string()),
        ("/secret", name) => {
            let dir = PathBuf::from(variable("secret_mount_path").unwrap());
            (OK, std::fs::read_to_string(dir.join(name)).unwrap_or_default())
        }
        ("/data", text) => {
            let file = PathBuf::from(variable("data_path").unwrap()).join("kept");
            if !text.is_empty() {
                std::fs::write(&file, text).unwrap();
            }
            (OK, std::fs::read_to_string(file).unwrap_or_default())
        }
        ("/say", text) => {
            println!("{text}");
            eprintln!("and {text}");
            (OK, String::new())
        }
        ("/flood", count) => {
            for number in 0..count.parse::<u32>().unwrap() {
                println!("{number} {}", "x".repeat(200));
            }
            (OK, String::new())
        }
        ("/child", _) => {
            #[expect(clippy::zombie_processes, reason = "it is left for the platform to end")]
            let child = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
            (OK, child.id().to_string())
        }
        ("/outcast", _) => {
            // As a watchdog starts what it wraps.
            #[expect(clippy::zombie_processes, reason = "it is left for the platform to end")]
            let child =
                Command::new("/bin/sleep").arg("1000").env_remove("CREMA_SOCKET").process_group(0).spawn().unwrap();
            (OK, child.id().to_string())
        }
        ("/die", _) => std::process::abort(),
        _ => ("404 Not Found", String::new()),
    }
}

#[expect(clippy::disallowed_methods, reason = "a function has its own door")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Calls a function; an answer other than 200 is an error.
pub(crate) fn call(socket: &Path, path: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: f\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => Err(std::io::Error::other(format!("answered {answer:?}"))),
    }
}

/// Calls a function.
pub(crate) fn get(socket: &Path, path: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: f\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Ok(body.to_owned())
}

/// Whether a process runs; one that waits to be reaped does not.
pub(crate) fn runs(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X'])))
}

/// Processes that were given something under this directory.
pub(crate) fn processes_of(dir: &Path) -> Vec<i32> {
    let needle = dir.to_str().unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let of_socket = environment.split(|byte| *byte == 0).any(|variable| {
            let variable = String::from_utf8_lossy(variable);
            variable.starts_with("CREMA_SOCKET=") && variable.contains(needle)
        });
        if of_socket && runs(pid) {
            found.push(pid);
        }
    }
    found
}

/// Waits until something is true.
pub(crate) async fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let patience = Instant::now();
    while !is_true() {
        assert!(patience.elapsed() < Duration::from_secs(30), "it never came: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
