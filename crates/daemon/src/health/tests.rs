use super::*;
use crate::stop::{self, Stopper};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

struct Half(Arc<AtomicBool>);

impl Report for Half {
    fn not_ready(&self) -> Option<String> {
        (!self.0.load(Ordering::Relaxed)).then(|| "the functions are not known yet".to_owned())
    }

    fn figures(&self) -> Vec<Figure> {
        vec![Figure::counter("events_total", "Events.", 7), Figure::gauge("functions", "Functions.", 2)]
    }
}

struct Nameless;

impl Report for Nameless {
    fn figures(&self) -> Vec<Figure> {
        vec![Figure::gauge("not a name", "Nothing.", 1)]
    }
}

struct Serving {
    address: SocketAddr,
    stopper: Stopper,
    running: JoinHandle<()>,
}

impl Serving {
    async fn start(report: impl Report, time_limit: Duration) -> Self {
        let bound = Health::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let health = Health { time_limit, ..bound };
        let (address, (stopper, stop)) = (health.address(), stop::pair());
        Self { address, stopper, running: tokio::spawn(beside(Some(health), report, stop.stopped())) }
    }

    async fn ask(&self, request: &[u8]) -> String {
        let mut stream = self.connect(request).await;
        let mut answer = Vec::new();
        // A listener that closes before it has read all resets the connection.
        stream.read_to_end(&mut answer).await.unwrap_or_default();
        String::from_utf8(answer).unwrap()
    }

    async fn get(&self, path: &str) -> String {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await
    }

    /// Whoever says this much and no more.
    async fn connect(&self, said: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(said).await.unwrap();
        stream
    }

    async fn stop(self) {
        self.stopper.stop();
        self.running.await.unwrap();
        assert!(TcpStream::connect(self.address).await.is_err());
    }
}

#[tokio::test]
async fn a_process_says_that_it_lives_whether_it_is_ready_and_how_much_it_did() {
    let ready = Arc::new(AtomicBool::new(false));
    let serving = Serving::start(Half(Arc::clone(&ready)), TIME_LIMIT).await;
    let answer = serving.get("/healthz").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nOK"), "{answer}");
    let answer = serving.get("/ready").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("\r\n\r\nthe functions are not known yet\n"));
    ready.store(true, Ordering::Relaxed);
    assert!(serving.get("/ready?verbose").await.starts_with("HTTP/1.1 200"));
    let answer = serving.get("/metrics").await;
    assert!(answer.contains("content-type: text/plain; version=0.0.4\r\n"), "{answer}");
    let figures = "# HELP events_total Events.\n# TYPE events_total counter\nevents_total 7\n\
                   # HELP functions Functions.\n# TYPE functions gauge\nfunctions 2\n";
    assert!(answer.ends_with(&format!("\r\n\r\n{figures}")), "{answer}");
    serving.stop().await;
}

#[tokio::test]
async fn other_pages_and_methods_are_refused_with_what_there_is() {
    let serving = Serving::start(Half(Arc::default()), TIME_LIMIT).await;
    let answer = serving.get("/").await;
    assert!(answer.starts_with("HTTP/1.1 404") && answer.ends_with("/healthz, /ready and /metrics\n"), "{answer}");
    let answer = serving.ask(b"POST /ready HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nyes").await;
    assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("allow: GET, HEAD\r\n"), "{answer}");
    assert!(answer.ends_with("allowed: GET, HEAD\n"), "{answer}");
    let answer = serving.ask(b"HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("content-length: 2\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    serving.stop().await;
}

#[tokio::test]
async fn garbage_and_heads_without_an_end_are_refused_and_hurt_no_one() {
    let serving = Serving::start(Half(Arc::default()), TIME_LIMIT).await;
    let endless = format!("GET /healthz HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(2 * REQUEST_LIMIT));
    for (garbage, status) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"[..], "HTTP/1.1 400"),
        (b"hello\r\n\r\n", "HTTP/1.1 400"),
        (b"GET /healthz SMTP\r\n\r\n", "HTTP/1.1 400"),
        (endless.as_bytes(), "HTTP/1.1 431"),
    ] {
        let answer = serving.ask(garbage).await;
        assert!(answer.is_empty() || answer.starts_with(status), "{answer}");
        assert!(!answer.contains("OK"), "{answer}");
    }
    drop(serving.connect(b"GET /heal").await);
    assert!(serving.get("/healthz").await.starts_with("HTTP/1.1 200"));
    serving.stop().await;
}

#[tokio::test]
async fn slow_clients_do_not_hold_the_others() {
    let serving = Serving::start(Half(Arc::default()), Duration::from_secs(600)).await;
    let mut slow = Vec::new();
    for _ in 1..AT_A_TIME {
        slow.push(serving.connect(b"GET /healthz HTTP/1.1\r\n").await);
    }
    let answer = tokio::time::timeout(Duration::from_secs(60), serving.get("/healthz")).await;
    assert!(answer.unwrap().starts_with("HTTP/1.1 200"));
    for stream in &mut slow {
        stream.write_all(b"Host: a\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    serving.stop().await;
}

#[tokio::test]
async fn no_more_than_a_few_are_answered_at_a_time_and_the_slow_ones_lose_their_place() {
    let serving = Serving::start(Half(Arc::default()), Duration::from_millis(300)).await;
    let (begun, mut slow) = (Instant::now(), Vec::new());
    for said in [&b""[..], b"GET /healthz HTTP/1.1\r\n"].repeat(AT_A_TIME) {
        slow.push(serving.connect(said).await);
    }
    assert!(serving.get("/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(begun.elapsed() >= Duration::from_millis(600), "two rounds of slow ones were before it");
    for mut stream in slow {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap_or_default();
        assert!(!answer.contains("200 OK"), "{answer}");
    }
    serving.stop().await;
}

#[tokio::test]
async fn a_name_that_prometheus_would_not_take_is_told() {
    let serving = Serving::start(Arc::new(Nameless), TIME_LIMIT).await;
    let answer = serving.get("/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("the figures cannot be written: "), "{answer}");
    assert!(serving.get("/ready").await.starts_with("HTTP/1.1 200"));
    serving.stop().await;
}

#[tokio::test]
async fn nothing_is_served_unless_asked_for() {
    assert!(Health::from_env(&[]).await.unwrap().is_none());
    assert!(Health::from_env(&[("CREMA_HEALTH", "8081")]).await.unwrap_err().to_string().contains("CREMA_HEALTH"));
    let health = Health::from_env(&[("CREMA_HEALTH", "127.0.0.1:0")]).await.unwrap().unwrap();
    let taken = health.address().to_string();
    let refusal = Health::from_env(&[("CREMA_HEALTH", &*taken)]).await.unwrap_err().to_string();
    assert!(refusal.contains(&taken) && refusal.ends_with("give another address in CREMA_HEALTH"), "{refusal}");
}
