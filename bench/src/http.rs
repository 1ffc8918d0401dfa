//! A client that notes when the first byte of an answer came.

use anyhow::{Context, bail};
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// The longest any call may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection, kept.
#[derive(Debug)]
pub(crate) struct Client {
    address: String,
    stream: Option<TcpStream>,
    patience: Duration,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// From the call to the first byte.
    pub(crate) first_byte: Duration,
}

impl Client {
    /// For a URL that names a host and a port.
    pub(crate) fn new(url: &str) -> Self {
        Self { address: url.trim_start_matches("http://").to_owned(), stream: None, patience: PATIENCE }
    }

    /// The same that waits no longer than this to connect, and then for an answer.
    pub(crate) fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Calls and waits for the whole answer. After an error the next call connects anew.
    pub(crate) fn call(&mut self, method: &str, path: &str, body: &str) -> anyhow::Result<Answer> {
        let begun = Instant::now();
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(&self.address, self.patience)?,
        };
        let answer = exchange(&mut stream, method, path, body, begun)?;
        self.stream = Some(stream);
        Ok(answer)
    }

    /// Connects now, so that the next call need not.
    pub(crate) fn connect(&mut self) -> anyhow::Result<()> {
        self.stream = Some(connect(&self.address, self.patience)?);
        Ok(())
    }
}

fn connect(address: &str, patience: Duration) -> anyhow::Result<TcpStream> {
    let resolved = address.to_socket_addrs()?.next().with_context(|| format!("{address} is no address"))?;
    let stream = TcpStream::connect_timeout(&resolved, patience).with_context(|| format!("connect to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(patience))?;
    Ok(stream)
}

/// One call over any stream.
pub(crate) fn exchange(
    stream: &mut (impl Read + Write),
    method: &str,
    path: &str,
    body: &str,
    begun: Instant,
) -> anyhow::Result<Answer> {
    let head = "Host: localhost\r\nContent-Type: application/json";
    let request = format!("{method} {path} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    let mut first_byte = None;
    loop {
        let mut piece = [0; 16 << 10];
        let read = stream.read(&mut piece)?;
        let first_byte = *first_byte.get_or_insert_with(|| begun.elapsed());
        if read == 0 {
            bail!("{method} {path}: the connection was closed in the middle of the answer");
        }
        bytes.extend_from_slice(&piece[..read]);
        if let Some((status, body)) = whole(&bytes)? {
            return Ok(Answer { status, body: body.to_vec(), first_byte });
        }
    }
}

/// Status and body, when all of it is there.
fn whole(bytes: &[u8]) -> anyhow::Result<Option<(u16, &[u8])>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let (head, body) = (String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase(), &bytes[end + 4..]);
    let status = head.get(9..12).and_then(|status| status.parse().ok()).context("an answer without a status")?;
    let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let is_whole = match value("content-length").and_then(|length| length.parse().ok()) {
        Some(length) => body.len() >= length,
        None if value("transfer-encoding").is_some() => body.ends_with(b"0\r\n\r\n"),
        None => true,
    };
    Ok(is_whole.then_some((status, body)))
}
