//! `/async-function/NAME`: taken on disk, delivered, tried again, called back.

use crate::stage::{Answer, Function, Stage, build, eventually, ok};
use async_trait::async_trait;
use daemon::Stopper;
use gateway::{Config, Gateway, Readiness};
use provider::Provider;
use provider::memory::MemoryProvider;
use queue::{Counts, Invocation, Lease, Outcome, Queue, QueueError, Requeued, Sequence};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use wire::FunctionName;
use wire::annotation;
use wire::call::{CallState, CallStatus};
use wire::function::TextMap;

/// A gateway with a queue on disk and a worker.
struct Async {
    stage: Stage,
    queue: Arc<dyn Queue>,
    _dir: tempfile::TempDir,
    _worker: (Stopper, JoinHandle<std::io::Result<()>>),
}

impl Async {
    async fn new() -> Self {
        Self::with(queue::worker::Config::default()).await
    }

    async fn with(worker: queue::worker::Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let queue = queue::sqlite::open(dir.path()).unwrap();
        let (gateway, provider) = build(Config::default(), Some(Arc::clone(&queue)));
        let worker = work(&gateway, worker);
        let stage = Stage::run(gateway, provider).await;
        Self { stage, queue, _dir: dir, _worker: worker }
    }

    async fn post(&self, path: &str, headers: &str, body: &str) -> Answer {
        self.stage.send("POST", path, headers, body).await
    }

    async fn state(&self, call_id: &str) -> Option<CallState> {
        self.queue.call(call_id).await.unwrap().map(|status| status.state)
    }
}

/// How often to look for what must not happen.
const LOOKS: usize = 50;

fn work(gateway: &Gateway, config: queue::worker::Config) -> (Stopper, JoinHandle<std::io::Result<()>>) {
    let (stopper, stop) = daemon::stop::pair();
    let worker = gateway.worker(config).unwrap();
    (stopper, tokio::spawn(worker.run(stop)))
}

fn quick_retries(attempts: &str) -> TextMap {
    [(annotation::RETRY_ATTEMPTS, attempts), (annotation::RETRY_MIN_WAIT, "10ms"), (annotation::RETRY_MAX_WAIT, "20ms")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

#[tokio::test]
async fn a_call_arrives_as_it_was_sent() {
    let crema = Async::new().await;
    let function = Function::ok().await;
    crema.stage.function("f", function.address).await;
    let headers = "X-Call-Id: mine\r\nAuthorization: Basic abc\r\nX-Topic: a/b\r\nConnection: x-private\r\nX-Private: 1\r\n\
                   traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00\r\n";
    let answer = crema.post("/async-function/f.openfaas-fn/a%2Fb//c?d=%20", headers, "hello").await;
    assert_eq!((answer.status, answer.body.as_str(), answer.header("x-call-id")), (202, "", vec!["mine".into()]));
    assert_eq!(answer.header("x-start-time")[0].len(), 19);
    eventually("it is delivered", async || crema.state("mine").await == Some(CallState::Done)).await;
    let arrived = function.only();
    assert_eq!(arrived.line(), "POST /a%2Fb//c?d=%20 HTTP/1.1");
    assert_eq!(arrived.body, b"hello");
    for (name, value) in [
        ("x-call-id", "mine"),
        ("authorization", "Basic abc"),
        ("content-length", "5"),
        ("x-retry", "0"),
        ("x-retry-max", "9"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"),
        ("x-forwarded-for", "127.0.0.1"),
    ] {
        assert_eq!(arrived.header(name), [value], "{name}");
    }
    assert!(arrived.header("x-private").is_empty());
    let counted = r#"gateway_function_invocation_total{code="200",function_name="f.openfaas-fn"} 1"#;
    eventually("it is counted", async || crema.stage.scrape().await.contains(counted)).await;
}

#[tokio::test]
async fn a_failed_call_is_made_again_with_its_id_and_its_result_called_back() {
    let crema = Async::new().await;
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let function = Function::answering(move |_| match counted.fetch_add(1, Ordering::Relaxed) {
        0 => "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_owned(),
        1 => "HTTP/1.1 429 Later\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n".to_owned(),
        _ => "HTTP/1.1 418 Teapot\r\nX-Mine: 1\r\nContent-Length: 3\r\n\r\nend".to_owned(),
    })
    .await;
    let listener = Function::ok().await;
    crema.stage.script("f", provider::memory::Script::at(provider::Address::Tcp(function.address)));
    crema.stage.deploy("f", quick_retries("5")).await;
    crema.stage.function("listener", listener.address).await;
    // To the gateway itself, as to another function.
    let callback = format!("X-Callback-Url: http://{}/function/listener/done?a=b\r\n", crema.stage.address);
    let answer = crema.post("/async-function/f", &callback, "x").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let call_id = answer.header("x-call-id");
    eventually("the result is posted", async || listener.count() == 1).await;
    let arrived = function.arrived.lock().unwrap().clone();
    assert_eq!(arrived.len(), 3);
    for (index, attempt) in arrived.iter().enumerate() {
        assert_eq!(
            (attempt.header("x-call-id"), attempt.header("x-retry")),
            (call_id.clone(), vec![index.to_string()])
        );
        assert_eq!(attempt.header("x-retry-max"), ["4"]);
    }
    let posted = listener.only();
    assert_eq!((posted.line(), posted.body.as_slice()), ("POST /done?a=b HTTP/1.1", b"end".as_slice()));
    for (name, value) in [
        ("x-call-id", call_id[0].as_str()),
        ("x-function-name", "f.openfaas-fn"),
        ("x-function-status", "418"),
        ("x-mine", "1"),
        ("x-retry", "2"),
        ("x-retry-max", "4"),
    ] {
        assert_eq!(posted.header(name), [value], "{name}");
    }
    assert!(posted.header("x-duration-seconds")[0].parse::<f64>().unwrap() >= 0.0);
}

#[tokio::test]
async fn callbacks_reach_urls_with_a_password_and_urls_that_are_repaired() {
    let crema = Async::new().await;
    let (function, listener) = (Function::ok().await, Function::ok().await);
    crema.stage.function("f", function.address).await;
    let address = listener.address;
    for (url, line, authorization) in [
        (format!("http://me:p%40ss@{address}/a?b"), "POST /a?b HTTP/1.1", Some("Basic bWU6cEBzcw==")),
        (format!("http://{address}/a b"), "POST /a%20b HTTP/1.1", None),
        (format!(r"http:\\{address}\a"), "POST /a HTTP/1.1", None),
    ] {
        listener.arrived.lock().unwrap().clear();
        let answer = crema.post("/async-function/f", &format!("X-Callback-Url: {url}\r\n"), "").await;
        assert_eq!(answer.status, 202, "{url}: {answer:?}");
        eventually("the result is posted", async || listener.count() == 1).await;
        let posted = listener.only();
        assert_eq!(posted.line(), line, "{url}");
        assert_eq!(posted.header("authorization"), Vec::from_iter(authorization), "{url}");
        assert_eq!(posted.header("host"), [address.to_string()], "{url}");
    }
}

#[tokio::test]
async fn a_callback_that_nobody_answers_holds_no_call_up() {
    let crema = Async::with(queue::worker::Config { max_inflight: 1, ..queue::worker::Config::default() }).await;
    let (function, silent) = (Function::ok().await, Function::scripted(|_kept| std::future::pending()).await);
    crema.stage.function("f", function.address).await;
    let began = std::time::Instant::now();
    for id in ["a", "b", "c"] {
        let headers = format!("X-Callback-Url: http://{}/\r\nX-Call-Id: {id}\r\n", silent.address);
        assert_eq!(crema.post("/async-function/f", &headers, "").await.status, 202);
    }
    eventually("all are done", async || crema.state("c").await == Some(CallState::Done)).await;
    // One after another's callback would take 30 s each.
    assert!(began.elapsed() < std::time::Duration::from_secs(25), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_call_that_waited_for_a_restart_waits_until_the_functions_are_known() {
    let dir = tempfile::tempdir().unwrap();
    let queue = queue::sqlite::open(dir.path()).unwrap();
    let (gateway, provider) = build(Config::default(), Some(Arc::clone(&queue)));
    let ((known, listed), (_process, stop)) = (watch::channel(false), daemon::stop::pair());
    let gateway = gateway.with_readiness(Readiness::new(stop, listed));
    let _worker = work(&gateway, queue::worker::Config::default());
    let crema = Stage::run(gateway, provider).await;
    let function = Function::ok().await;
    crema.function("f", function.address).await;
    assert_eq!(crema.send("POST", "/async-function/f", "X-Call-Id: a\r\n", "").await.status, 202);
    // The provider has yet to find it.
    crema.provider.delete(&"f".parse().unwrap(), false).await.unwrap();
    for _ in 0..LOOKS {
        assert_eq!(crema.get("/healthz").await.status, 200);
        assert_eq!(queue.call("a").await.unwrap().unwrap().state, CallState::Queued);
    }
    assert_eq!(function.count(), 0);
    crema.function("f", function.address).await;
    known.send(true).unwrap();
    eventually("it is delivered", async || queue.call("a").await.unwrap().unwrap().state == CallState::Done).await;
    assert_eq!(function.count(), 1);
}

#[tokio::test]
async fn a_call_is_given_up_when_attempts_run_out_or_the_function_goes() {
    let crema = Async::new().await;
    let broken = Function::answering(|_| "HTTP/1.1 503 Oops\r\nContent-Length: 0\r\n\r\n".to_owned()).await;
    crema.stage.script("f", provider::memory::Script::at(provider::Address::Tcp(broken.address)));
    crema.stage.deploy("f", quick_retries("2")).await;
    let listener = Function::ok().await;
    let callback = format!("X-Callback-Url: http://{}/\r\nX-Call-Id: a\r\n", listener.address);
    assert_eq!(crema.post("/async-function/f", &callback, "").await.status, 202);
    eventually("it is given up", async || crema.state("a").await == Some(CallState::Dead)).await;
    assert_eq!(broken.count(), 2);
    // The callback follows the record.
    eventually("the result is posted", async || listener.count() == 1).await;
    assert_eq!(listener.only().header("x-function-status"), ["503"]);
    // Gone between its acceptance and its second attempt.
    crema.stage.deploy("g", [(annotation::RETRY_MIN_WAIT.to_owned(), "100ms".to_owned())].into()).await;
    crema.stage.script("g", provider::memory::Script::at(provider::Address::Tcp(broken.address)));
    assert_eq!(crema.post("/async-function/g", "X-Call-Id: b\r\n", "").await.status, 202);
    eventually("the first attempt was made", async || broken.count() == 3).await;
    crema.stage.provider.delete(&"g".parse().unwrap(), false).await.unwrap();
    eventually("it is given up", async || crema.state("b").await == Some(CallState::Dead)).await;
    let letters = crema.queue.dead_letters(10).await.unwrap();
    assert!(letters[0].reason.as_deref().unwrap().contains("not deployed any more"), "{letters:?}");
    assert!(crema.stage.scrape().await.contains("gateway_queue_dead 2"));
}

#[tokio::test]
async fn a_dead_letter_that_begins_anew_is_delivered_with_its_body() {
    let crema = Async::new().await;
    let broken = Function::answering(|_| "HTTP/1.1 503 Oops\r\nContent-Length: 0\r\n\r\n".to_owned()).await;
    crema.stage.script("f", provider::memory::Script::at(provider::Address::Tcp(broken.address)));
    crema.stage.deploy("f", quick_retries("1")).await;
    assert_eq!(crema.post("/async-function/f", "X-Call-Id: a\r\n", "what it brought").await.status, 202);
    eventually("it is given up", async || crema.state("a").await == Some(CallState::Dead)).await;
    let mended = Function::ok().await;
    crema.stage.provider.delete(&"f".parse().unwrap(), false).await.unwrap();
    crema.stage.function("f", mended.address).await;
    assert_eq!(crema.post("/system/dead-letters/a", "", "").await.status, 202);
    eventually("it is delivered", async || crema.state("a").await == Some(CallState::Done)).await;
    assert_eq!(mended.only().body, b"what it brought");
    assert_eq!(mended.only().header("x-call-id"), ["a"]);
    let again = crema.post("/system/dead-letters/a", "", "").await;
    assert_eq!(again.status, 409, "{again:?}");
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_with_a_reason() {
    let crema = Async::new().await;
    let function = Function::ok().await;
    crema.stage.function("f", function.address).await;
    let large = "x".repeat((1 << 20) + 1);
    let long_id = format!("X-Call-Id: {}\r\n", "x".repeat(257));
    for (path, headers, body, status, says) in [
        ("/async-function/none", "", "", 404, "faas-cli list"),
        ("/async-function/../x", "", "", 404, "faas-cli list"),
        ("/async-function/f", "X-Callback-Url: /relative\r\n", "", 400, "X-Callback-Url"),
        ("/async-function/f", long_id.as_str(), "", 400, "X-Call-Id"),
        ("/function/f", long_id.as_str(), "", 400, "X-Call-Id"),
        ("/async-function/f", "", large.as_str(), 413, "async_body_limit"),
    ] {
        let answer = crema.post(path, headers, body).await;
        assert_eq!(answer.status, status, "{path} {headers}");
        assert!(answer.body.contains(says), "{answer:?}");
        assert_eq!(answer.header("x-call-id")[0].len(), 36);
    }
    assert_eq!(crema.stage.get("/async-function/f").await.status, 405);
    let chunked = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    let head = "POST /async-function/f HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(crema.stage.raw(format!("{head}{chunked}").as_bytes()).await.status, 413);
    assert_eq!(crema.queue.counts().await.unwrap(), Counts::default());
    assert_eq!(Stage::new().await.send("POST", "/async-function/f", "", "").await.status, 404);
}

#[tokio::test]
async fn a_queued_call_brings_its_function_up_from_zero() {
    let crema = Async::new().await;
    let function = Function::answering(|_| ok("up")).await;
    crema.stage.function("f", function.address).await;
    crema.stage.provider.scale(&"f".parse().unwrap(), 0).await.unwrap();
    assert_eq!(crema.post("/async-function/f", "X-Call-Id: a\r\n", "").await.status, 202);
    eventually("it is delivered", async || crema.state("a").await == Some(CallState::Done)).await;
    assert_eq!(function.count(), 1);
}

#[tokio::test]
async fn a_queue_that_fails_is_told_and_nothing_is_promised() {
    let (gateway, provider) = build(Config::default(), Some(Arc::new(FullQueue)));
    let stage = Stage::run(gateway, provider).await;
    let function = Function::ok().await;
    stage.function("f", function.address).await;
    let answer = stage.send("POST", "/async-function/f", "", "x").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, vec!["5".into()]));
    assert!(answer.body.contains("disk is full"), "{answer:?}");
    // A panic ends one request.
    assert_eq!(stage.get("/system/calls/a").await.status, 500);
    assert_eq!(stage.send("POST", "/system/dead-letters/a", "", "").await.status, 503);
    let old = stage.send("POST", "/system/dead-letters/old", "", "").await;
    assert!(old.status == 409 && old.body.contains("kept no bodies"), "{old:?}");
    assert_eq!(stage.get("/function/f").await.status, 200);
}

#[tokio::test]
async fn what_is_accepted_is_in_the_queue_before_the_answer() {
    let dir = tempfile::tempdir().unwrap();
    let queue = queue::sqlite::open(dir.path()).unwrap();
    // No worker: nothing takes it out again.
    let (gateway, provider): (_, Arc<MemoryProvider>) = build(Config::default(), Some(Arc::clone(&queue)));
    let stage = Stage::run(gateway, provider).await;
    stage.function("f", Function::ok().await.address).await;
    for number in 0..20 {
        let headers = format!("X-Call-Id: {number}\r\nX-Connector: crema/mqtt-broker\r\n");
        assert_eq!(stage.send("POST", "/async-function/f", &headers, "x").await.status, 202);
        assert_eq!(queue.counts().await.unwrap().pending, number + 1);
    }
    let leases = queue.lease(1, Vec::new(), u64::MAX >> 2).await.unwrap();
    assert_eq!(leases[0].invocation.source, queue::Source::Mqtt);
    assert!(leases[0].invocation.trace.is_some());
}

/// A queue whose disk is full and that breaks when it is asked.
struct FullQueue;

#[async_trait]
impl Queue for FullQueue {
    async fn push(&self, _: Vec<Invocation>) -> Result<Vec<Sequence>, QueueError> {
        Err(QueueError::Full("no space left on device".to_owned()))
    }
    async fn lease(&self, _: usize, _: Vec<FunctionName>, _: u64) -> Result<Vec<Lease>, QueueError> {
        Ok(Vec::new())
    }
    async fn next_due(&self) -> Result<Option<u64>, QueueError> {
        Ok(None)
    }
    async fn bring_forward(&self, _: u64, _: u64) -> Result<u64, QueueError> {
        Ok(0)
    }
    async fn pushed(&self) {
        std::future::pending::<()>().await;
    }
    async fn finish(&self, _: Sequence, _: Outcome, _: u64) -> Result<(), QueueError> {
        Ok(())
    }
    async fn retry(&self, _: Sequence, _: Outcome, _: u64) -> Result<(), QueueError> {
        Ok(())
    }
    async fn bury(&self, _: Sequence, _: Outcome, _: u64) -> Result<(), QueueError> {
        Ok(())
    }
    async fn call(&self, _: &str) -> Result<Option<CallStatus>, QueueError> {
        panic!("it breaks, as the test wants")
    }
    async fn dead_letters(&self, _: usize) -> Result<Vec<CallStatus>, QueueError> {
        Ok(Vec::new())
    }
    async fn requeue(&self, call_id: &str, _: u64) -> Result<Requeued, QueueError> {
        match call_id {
            "old" => Ok(Requeued::NotKept),
            _ => Err(QueueError::Full("no space left on device".to_owned())),
        }
    }
    async fn counts(&self) -> Result<Counts, QueueError> {
        Ok(Counts::default())
    }
    async fn forget(&self, _: u64, _: u64) -> Result<u64, QueueError> {
        Ok(0)
    }
    async fn close(&self) {}
}
