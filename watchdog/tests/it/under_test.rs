//! A watchdog under test, and one exchange with it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A watchdog that runs; dropping it kills it.
pub(crate) struct Watchdog {
    child: Child,
    socket: PathBuf,
    directory: TempDir,
    logs: Option<(JoinHandle<String>, JoinHandle<String>)>,
}

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Lower case.
    pub(crate) head: String,
    /// As it went over the wire: chunks and all.
    pub(crate) body: String,
}

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_watchdog");

fn command(program: &[&str]) -> Command {
    let mut command = Command::new(program[0]);
    command.args(&program[1..]);
    command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the watchdog to its end.
pub(crate) fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    command(&[PROGRAM]).args(arguments).envs(variables.iter().copied()).output().unwrap()
}

impl Watchdog {
    /// A watchdog on a Unix socket.
    pub(crate) fn start(variables: &[(&str, &str)]) -> Self {
        Self::start_as(&[PROGRAM], variables)
    }

    /// The same by another name, or by another program.
    pub(crate) fn start_as(program: &[&str], variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("w.sock");
        let mut command = command(program);
        command.env("CREMA_SOCKET", &socket).env("HERE", directory.path()).envs(variables.iter().copied());
        let mut child = command.spawn().unwrap();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let logs = (std::thread::spawn(move || text(stdout)), std::thread::spawn(move || text(stderr)));
        let watchdog = Self { child, socket, directory, logs: Some(logs) };
        eventually(|| UnixStream::connect(&watchdog.socket).is_ok());
        watchdog
    }

    /// A folder of its own; the processes know it as `$HERE`.
    pub(crate) fn here(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Sends a request as it is, and reads until the watchdog closes.
    pub(crate) fn raw(&self, request: &str) -> Answer {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        read(stream)
    }

    pub(crate) fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.raw(&format!("GET {path} HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n"))
    }

    pub(crate) fn post(&self, path: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        self.raw(&format!(
            "POST {path} HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        ))
    }

    /// Waits for its end: exit code, stdout, stderr.
    pub(crate) fn ended(&mut self) -> (Option<i32>, String, String) {
        eventually(|| self.child.try_wait().unwrap().is_some());
        let code = self.child.wait().unwrap().code();
        let (stdout, stderr) = self.logs.take().unwrap();
        (code, stdout.join().unwrap(), stderr.join().unwrap())
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// A watchdog in mode http before this test binary, whose test `name` serves on the port that the variable `port`
/// names; `base` is the upstream's path. And the port, on which nobody may listen yet.
pub(crate) fn upstream(name: &str, port: &str, base: &str, variables: &[(&str, &str)]) -> (u16, Watchdog) {
    let free = free_port();
    (free, upstream_at(free, name, port, base, variables))
}

/// The same, on a port chosen before.
pub(crate) fn upstream_at(number: u16, name: &str, port: &str, base: &str, variables: &[(&str, &str)]) -> Watchdog {
    let command = format!("{} {name} --exact --nocapture", std::env::current_exe().unwrap().display());
    let url = format!("http://127.0.0.1:{number}{base}");
    let number = number.to_string();
    let mut all =
        vec![("mode", "http"), ("fprocess", command.as_str()), ("upstream_url", url.as_str()), (port, number.as_str())];
    all.extend_from_slice(variables);
    Watchdog::start(&all)
}

/// A watchdog whose function is a shell script.
pub(crate) fn script(mode: &str, text: &str, variables: &[(&str, &str)]) -> (tempfile::TempDir, Watchdog) {
    script_as(&[PROGRAM], mode, text, variables)
}

/// The same, started by another program.
pub(crate) fn script_as(
    program: &[&str],
    mode: &str,
    text: &str,
    variables: &[(&str, &str)],
) -> (tempfile::TempDir, Watchdog) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("function.sh");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    // Not run directly: another thread's fork may still have the script open for writing.
    let command = format!("sh {}", path.display());
    let mut all = vec![("mode", mode), ("fprocess", command.as_str())];
    all.extend_from_slice(variables);
    let watchdog = Watchdog::start_as(program, &all);
    (directory, watchdog)
}

/// The process's id that a script has written.
pub(crate) fn pid(path: &Path) -> u32 {
    eventually(|| std::fs::read_to_string(path).is_ok_and(|text| text.ends_with('\n')));
    std::fs::read_to_string(path).unwrap().trim().parse().unwrap()
}

/// Reads an answer to its end.
pub(crate) fn read(stream: impl Read) -> Answer {
    let all = text(stream);
    let (head, body) = all.split_once("\r\n\r\n").unwrap_or((&all, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

fn text(mut from: impl Read) -> String {
    let mut bytes = Vec::new();
    // A broken connection is an end as well; what came before counts.
    from.read_to_end(&mut bytes).map(drop).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([name, &pid.to_string()]).stderr(Stdio::null()).status().unwrap();
    assert!(sent.success(), "no process {pid}");
}

/// Whether a process is there and no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with(['Z', 'X'])))
}

/// Looks again until it holds.
pub(crate) fn eventually(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "it never came");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Whether someone listens there.
pub(crate) fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}
