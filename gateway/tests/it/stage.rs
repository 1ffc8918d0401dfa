//! A gateway that runs, with the in-memory provider behind it and functions that are sockets of the test's.

use daemon::{Stopper, SystemClock};
use gateway::{Config, Gateway, Parts};
use provider::memory::{MemoryProvider, Script};
use provider::{Address, Provider};
use queue::Queue;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use wire::FunctionName;
use wire::function::FunctionDeployment;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway that runs.
pub(crate) struct Stage {
    pub(crate) address: SocketAddr,
    pub(crate) metrics: SocketAddr,
    pub(crate) provider: Arc<MemoryProvider>,
    pub(crate) stopper: Stopper,
    pub(crate) task: JoinHandle<std::io::Result<()>>,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with(Config::default(), None).await
    }

    pub(crate) async fn with(config: Config, queue: Option<Arc<dyn Queue>>) -> Self {
        let (gateway, provider) = build(config, queue);
        Self::run(gateway, provider).await
    }

    pub(crate) async fn run(gateway: Gateway, provider: Arc<MemoryProvider>) -> Self {
        let (address, metrics) = (gateway.address(), gateway.metrics_address());
        let (stopper, stop) = daemon::stop::pair();
        let task = tokio::spawn(gateway.run(stop));
        Self { address, metrics, provider, stopper, task }
    }

    /// Deploys a function whose replicas listen at `address`.
    pub(crate) async fn function(&self, name: &str, address: SocketAddr) {
        self.script(name, Script::at(Address::Tcp(address)));
        self.deploy(name, [].into()).await;
    }

    pub(crate) async fn deploy(&self, name: &str, annotations: wire::function::TextMap) {
        let name: FunctionName = name.parse().unwrap();
        let deployment = FunctionDeployment {
            service: name.name().to_owned(),
            namespace: name.namespace().to_owned(),
            image: "owner/a:1".to_owned(),
            annotations,
            ..FunctionDeployment::default()
        };
        self.provider.deploy(deployment).await.unwrap();
    }

    pub(crate) fn script(&self, name: &str, script: Script) {
        self.provider.script(&name.parse().unwrap(), script);
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends exactly these bytes and reads until the gateway closes.
    pub(crate) async fn raw(&self, request: &[u8]) -> Answer {
        raw(self.address, request).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost:1\r\nConnection: close\r\n{headers}");
        self.raw(format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.raw(format!("GET {path} HTTP/1.1\r\nHost: localhost:1\r\nConnection: close\r\n\r\n").as_bytes()).await
    }

    pub(crate) async fn scrape(&self) -> String {
        raw(self.metrics, b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.body
    }
}

pub(crate) fn build(config: Config, queue: Option<Arc<dyn Queue>>) -> (Gateway, Arc<MemoryProvider>) {
    build_over(MemoryProvider::new(), config, queue)
}

pub(crate) fn build_over(
    provider: MemoryProvider,
    config: Config,
    queue: Option<Arc<dyn Queue>>,
) -> (Gateway, Arc<MemoryProvider>) {
    let provider = Arc::new(provider);
    let port = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config { listen: port, metrics: port, workers: 2, ..config };
    let parts = Parts { provider: Arc::clone(&provider) as _, queue, clock: Arc::new(SystemClock) };
    (Gateway::build(config, parts).unwrap(), provider)
}

pub(crate) async fn raw(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    Answer::read(&answer)
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer but {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Vec<String> {
        header(&self.head, name)
    }
}

pub(crate) fn header(head: &str, name: &str) -> Vec<String> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.to_owned())
        .collect()
}

/// A request as it arrived at a function.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Arrived {
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Vec<String> {
        header(&self.head, name)
    }
}

/// A function that is a socket of the test's.
pub(crate) struct Function {
    pub(crate) address: SocketAddr,
    pub(crate) arrived: Arc<Mutex<Vec<Arrived>>>,
    _connections: JoinSet<()>,
}

impl Function {
    /// Answers every request with what `answer` makes of it, and keeps connections.
    pub(crate) async fn answering(answer: impl Fn(&Arrived) -> String + Send + Sync + 'static) -> Self {
        let arrived = Arc::<Mutex<Vec<Arrived>>>::default();
        let (record, answer) = (Arc::clone(&arrived), Arc::new(answer));
        let serve = move |mut stream: TcpStream| {
            let (record, answer) = (Arc::clone(&record), Arc::clone(&answer));
            async move {
                while let Some(request) = read_request(&mut stream).await {
                    let text = answer(&request);
                    record.lock().unwrap().push(request);
                    stream.write_all(text.as_bytes()).await.unwrap_or_default();
                }
            }
        };
        let mut function = Self::scripted(serve).await;
        function.arrived = arrived;
        function
    }

    /// Answers 200 with a short body.
    pub(crate) async fn ok() -> Self {
        Self::answering(|_| ok("fine")).await
    }

    /// Every connection is `serve`'s.
    pub(crate) async fn scripted<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream));
            }
        });
        Self { address, arrived: Arc::default(), _connections: tasks }
    }

    /// Its calls say that they have come, and once they are released are answered with what `answer` gives.
    pub(crate) async fn held<F>(answer: impl Fn() -> F + Clone + Send + 'static) -> Held
    where
        F: Future<Output = String> + Send + 'static,
    {
        let (arrived, arrives) = mpsc::channel::<()>(1);
        let (release, released) = watch::channel(false);
        let function = Self::scripted(move |mut stream| {
            let (arrived, mut released, answer) = (arrived.clone(), released.clone(), answer.clone());
            async move {
                read_request(&mut stream).await.unwrap();
                arrived.send(()).await.unwrap();
                released.wait_for(|released| *released).await.unwrap();
                stream.write_all(ok(&answer().await).as_bytes()).await.unwrap();
            }
        })
        .await;
        Held { function, arrives, release }
    }

    pub(crate) fn only(&self) -> Arrived {
        let arrived = self.arrived.lock().unwrap();
        assert_eq!(arrived.len(), 1, "{arrived:?}");
        arrived[0].clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.arrived.lock().unwrap().len()
    }
}

/// A function whose calls wait.
pub(crate) struct Held {
    function: Function,
    arrives: mpsc::Receiver<()>,
    release: watch::Sender<bool>,
}

impl Held {
    pub(crate) fn address(&self) -> SocketAddr {
        self.function.address
    }

    /// Waits for a call.
    pub(crate) async fn arrives(&mut self) {
        self.arrives.recv().await.unwrap();
    }

    /// Lets all calls go on.
    pub(crate) fn release(&self) {
        self.release.send(true).unwrap();
    }
}

pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Reads one request; `None` when the connection ends first.
pub(crate) async fn read_request(stream: &mut TcpStream) -> Option<Arrived> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut body = bytes.split_off(end);
    let length = header(&head, "content-length").first().map(|length| length.parse::<usize>().unwrap());
    loop {
        let complete = match length {
            Some(length) => body.len() >= length,
            None if header(&head, "transfer-encoding").is_empty() => true,
            None => body.ends_with(b"0\r\n\r\n"),
        };
        if complete {
            return Some(Arrived { head, body });
        }
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
}

/// Waits until `condition` is true.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let patience = tokio::time::Instant::now() + PATIENCE;
    while !condition().await {
        assert!(tokio::time::Instant::now() < patience, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
