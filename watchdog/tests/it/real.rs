//! Programs that people have behind a watchdog: Python's and Node's own servers, and scripts.

use crate::under_test::{Watchdog, eventually, free_port};
use futures_util::{SinkExt, StreamExt};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

/// Whether a program can be run; says so on stderr when not.
#[expect(clippy::print_stderr, reason = "says what was skipped")]
fn is_there(program: &str, test: &str) -> bool {
    let ran = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let is_there = ran.is_ok_and(|status| status.success());
    if !is_there {
        eprintln!("SKIPPED {test}: no {program} on the PATH");
    }
    is_there
}

/// A watchdog before a program's file.
struct Program {
    watchdog: Watchdog,
    directory: tempfile::TempDir,
}

impl Program {
    /// Runs `text` with `program`; it knows its port as `PORT` and its folder as `FOLDER`.
    fn start(program: &str, text: &str, variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("index");
        std::fs::write(&file, text).unwrap();
        let (command, port) = (format!("{program} {}", file.display()), free_port());
        let (url, number) = (format!("http://127.0.0.1:{port}"), port.to_string());
        let mut all = vec![
            ("fprocess", command.as_str()),
            ("upstream_url", url.as_str()),
            ("PORT", number.as_str()),
            ("FOLDER", directory.path().to_str().unwrap()),
        ];
        all.extend_from_slice(variables);
        let watchdog = Watchdog::start(&all);
        eventually(|| watchdog.get("/_/ready").status == 200);
        Self { watchdog, directory }
    }

    /// What the program waits for.
    fn next(&self) -> PathBuf {
        self.directory.path().join("next")
    }

    /// Asks, reads on until `first` has come, lets the program go on, and reads to the end.
    fn comes_in_pieces(&self, request: &str, first: &str) -> String {
        let mut stream: UnixStream = self.watchdog.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut seen = String::new();
        let mut buffer = [0; 4096];
        while !seen.contains(first) {
            let read = stream.read(&mut buffer).unwrap();
            assert_ne!(read, 0, "{seen}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        assert!(!seen.contains("LATER"), "{seen}");
        std::fs::write(self.next(), "").unwrap();
        stream.read_to_string(&mut seen).unwrap();
        seen
    }
}

const PYTHON_EVENTS: &str = r#"
import os, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"data: first\n\n")
        while not os.path.exists(os.environ["FOLDER"] + "/next"):
            time.sleep(0.01)
        self.wfile.write(b"data: LATER\n\n")

ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

#[test]
fn events_of_a_python_server_come_one_by_one() {
    if !is_there("python3", "events_of_a_python_server_come_one_by_one") {
        return;
    }
    // Shorter than the events take: a reader of events is not bound by it.
    let program = Program::start("python3", PYTHON_EVENTS, &[("mode", "http"), ("exec_timeout", "1ms")]);
    let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\naccept: text/event-stream\r\n\r\n";
    let seen = program.comes_in_pieces(request, "data: first\n\n");
    assert!(seen.contains("content-type: text/event-stream") && seen.contains("data: LATER\n\n"), "{seen}");
}

const NODE_LINES: &str = r#"
const fs = require("fs");
require("http").createServer((request, response) => {
    response.writeHead(200, { "Content-Type": "application/x-ndjson" });
    response.write('{"n":"first"}\n');
    const look = setInterval(() => {
        if (fs.existsSync(process.env.FOLDER + "/next")) {
            clearInterval(look);
            response.end('{"n":"LATER"}\n');
        }
    }, 10);
}).listen(Number(process.env.PORT), "127.0.0.1");
"#;

#[test]
fn lines_of_a_node_server_come_one_by_one() {
    if !is_there("node", "lines_of_a_node_server_come_one_by_one") {
        return;
    }
    let program = Program::start("node", NODE_LINES, &[("mode", "http")]);
    let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let seen = program.comes_in_pieces(request, "{\"n\":\"first\"}\n");
    assert!(seen.contains("application/x-ndjson") && seen.contains("{\"n\":\"LATER\"}\n"), "{seen}");
}

const PYTHON_LINES: &str = r#"
import json, os, sys, time
print(json.dumps({"n": "first", "path": os.environ["Http_Path"]}), flush=True)
while not os.path.exists(os.environ["FOLDER"] + "/next"):
    time.sleep(0.01)
print(json.dumps({"n": "LATER", "body": sys.stdin.read()}))
"#;

#[test]
fn lines_of_a_forked_python_script_come_one_by_one() {
    if !is_there("python3", "lines_of_a_forked_python_script_come_one_by_one") {
        return;
    }
    let program = Program::start("python3", PYTHON_LINES, &[("content_type", "application/x-ndjson")]);
    let request = "POST /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbody";
    // Python may write the line's end on its own.
    let seen = program.comes_in_pieces(request, "{\"n\": \"first\", \"path\": \"/a\"}");
    assert!(seen.contains("application/x-ndjson"), "{seen}");
    assert!(seen.contains("{\"n\": \"LATER\", \"body\": \"body\"}"), "{seen}");
}

const PYTHON_CLASSIC: &str = r#"
import os, sys
body = sys.stdin.read()
print("noted", file=sys.stderr, flush=True)
print(os.environ["Http_Method"], os.environ["Http_Query"], os.environ["Http_ContentLength"], body)
sys.exit(3 if body == "fail" else 0)
"#;

#[test]
fn a_python_script_of_a_classic_image_answers() {
    if !is_there("python3", "a_python_script_of_a_classic_image_answers") {
        return;
    }
    let program = Program::start("python3", PYTHON_CLASSIC, &[("mode", "classic")]);
    let answer = program.watchdog.post("/?a=b", "content-type: text/csv\r\n", "body");
    assert_eq!((answer.status, answer.body.as_str()), (200, "noted\nPOST a=b 4 body\n"));
    assert!(answer.head.contains("content-type: text/csv"), "{}", answer.head);
    let answer = program.watchdog.post("/?a=b", "", "fail");
    assert_eq!((answer.status, answer.body.as_str()), (500, "exit status 3\nnoted\nPOST a=b 4 fail\n"));
}

const PYTHON_WEBSOCKET: &str = r#"
import base64, hashlib, os, socketserver

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        key = None
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"sec-websocket-key":
                key = value.strip()
        if key is None:
            return
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        while (head := self.rfile.read(2)):
            length = head[1] & 127
            mask = self.rfile.read(4)
            text = bytes(byte ^ mask[n % 4] for n, byte in enumerate(self.rfile.read(length)))
            self.wfile.write(bytes([head[0], length]) + text.upper())
            if head[0] & 15 == 8:
                return

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True

Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

#[test]
fn a_websocket_to_a_python_server_works() {
    if !is_there("python3", "a_websocket_to_a_python_server_works") {
        return;
    }
    let program = Program::start("python3", PYTHON_WEBSOCKET, &[("mode", "http"), ("exec_timeout", "1ms")]);
    function_sdk::testing::block_on(async {
        let stream = tokio::net::UnixStream::connect(program.watchdog.socket()).await.unwrap();
        let (mut socket, _) = client_async("ws://a.test/", stream).await.unwrap();
        for text in ["one", "two"] {
            socket.send(Message::text(text)).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(text.to_uppercase()));
        }
        drop(socket);
    });
}
