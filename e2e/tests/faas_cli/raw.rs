//! Reads HTTP answers byte by byte, so that requests can be sent exactly as they were recorded.

use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Header names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, wanted: &str) -> Option<&str> {
        self.headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a request and reads its answer. Of a body that has no end, `enough` says when it has been read far enough.
pub(crate) async fn exchange(address: &str, request: &[u8], enough: impl Fn(&[u8]) -> bool) -> Answer {
    let asking = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut stream = BufReader::new(stream);
        let mut answer = head(&mut stream).await;
        if !request.starts_with(b"HEAD ") {
            body(&mut stream, &mut answer, enough).await;
        }
        answer
    };
    let asked = tokio::time::timeout(PATIENCE, asking).await;
    asked.unwrap_or_else(|_| panic!("no whole answer to {}", String::from_utf8_lossy(request)))
}

async fn head(stream: &mut BufReader<TcpStream>) -> Answer {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        let read = stream.read_line(&mut line).await.unwrap();
        assert!(read > 0, "the answer broke off after {lines:?}");
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let status = lines[0].split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines[1..].iter().map(|line| line.split_once(':').unwrap());
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    Answer { status, headers, body: Vec::new() }
}

async fn body(stream: &mut BufReader<TcpStream>, answer: &mut Answer, enough: impl Fn(&[u8]) -> bool) {
    if let Some(length) = answer.header("content-length") {
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        answer.body = body;
        return;
    }
    if answer.header("transfer-encoding") != Some("chunked") {
        stream.read_to_end(&mut answer.body).await.unwrap();
        return;
    }
    while !enough(&answer.body) {
        let mut size = String::new();
        stream.read_line(&mut size).await.unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).await.unwrap();
        answer.body.extend_from_slice(&chunk[..size]);
        if size == 0 {
            return;
        }
    }
}
