//! Several gateways, each with its own queue: whoever asks one of them means all.

use crate::calls::{ACCEPTED_AT, invocation};
use crate::stage::{Answer, Function, Stage, eventually, raw, read_request};
use daemon::SystemClock;
use gateway::{Config, Credentials, Gateway, Parts, Peering};
use provider::memory::{MemoryProvider, Script};
use provider::{Address, Provider};
use queue::{Counts, Outcome, Queue, sqlite};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use wire::call::CallStatus;

const PASSWORD: &str = "Authorization: Basic YWRtaW46c2VjcmV0\r\n";

/// Gateways that know each other, and the directory of their queues.
struct Cluster {
    gateways: Vec<Stage>,
    queues: Vec<Arc<dyn Queue>>,
    provider: Arc<MemoryProvider>,
    _directory: tempfile::TempDir,
}

impl Cluster {
    /// Two gateways with one provider, and `others` as further peers.
    async fn with(others: &[SocketAddr]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let provider = Arc::new(MemoryProvider::new());
        let ports: Vec<SocketAddr> = [reserved(), reserved()].map(|port| port.local_addr().unwrap()).into();
        let names: Vec<String> = ports.iter().chain(others).map(ToString::to_string).collect();
        let (mut gateways, mut queues) = (Vec::new(), Vec::new());
        for (index, port) in ports.into_iter().enumerate() {
            let queue = sqlite::open(&directory.path().join(index.to_string())).unwrap();
            let config = Config {
                listen: port,
                metrics: SocketAddr::from(([127, 0, 0, 1], 0)),
                workers: 2,
                auth: Some(Credentials { user: "admin".to_owned(), password: "secret".to_owned() }),
                peering: Some(Peering { names: names.clone(), instance: format!("gateway-{index}") }),
                ..Config::default()
            };
            let parts = Parts {
                provider: Arc::clone(&provider) as _,
                queue: Some(Arc::clone(&queue)),
                clock: Arc::new(SystemClock),
            };
            let gateway = Gateway::build(config, parts).unwrap();
            gateways.push(Stage::run(gateway, Arc::clone(&provider)).await);
            queues.push(queue);
        }
        Self { gateways, queues, provider, _directory: directory }
    }

    async fn ask(&self, gateway: usize, path: &str) -> Answer {
        self.gateways[gateway].send("GET", path, PASSWORD, "").await
    }

    /// A call that one gateway took and gave up.
    async fn dead(&self, gateway: usize, call_id: &str, ended: u64) {
        let queue = &self.queues[gateway];
        queue.push(vec![invocation(call_id)]).await.unwrap();
        let lease = queue.lease(1, Vec::new(), ACCEPTED_AT).await.unwrap().remove(0);
        let outcome = Outcome { status: Some(500), reason: Some("it broke".to_owned()) };
        queue.bury(lease.sequence, outcome, ended).await.unwrap();
    }
}

/// A port that nobody listens on; another socket may take it at once.
fn reserved() -> std::net::TcpListener {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap()
}

/// A peer that takes connections and says nothing.
async fn mute() -> Function {
    Function::scripted(|mut stream| async move { while read_request(&mut stream).await.is_some() {} }).await
}

fn ids(answer: &Answer) -> Vec<String> {
    let letters: Vec<CallStatus> = serde_json::from_str(&answer.body).unwrap();
    letters.into_iter().map(|letter| letter.call_id).collect()
}

#[tokio::test]
async fn a_call_is_found_whichever_gateway_took_it() {
    let cluster = Cluster::with(&[]).await;
    cluster.queues[1].push(vec![invocation("of-the-other")]).await.unwrap();
    for gateway in [0, 1] {
        let answer = cluster.ask(gateway, "/system/calls/of-the-other").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let call: CallStatus = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(call.call_id, "of-the-other");
        let answer = cluster.ask(gateway, "/system/calls/of%20nobody").await;
        assert_eq!(answer.status, 404, "{answer:?}");
        assert!(answer.body.contains("call of nobody not found"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_call_that_a_silent_gateway_may_know_is_not_called_unknown() {
    let mute = mute().await;
    let gone = reserved().local_addr().unwrap();
    let cluster = Cluster::with(&[mute.address, gone]).await;
    cluster.queues[1].push(vec![invocation("of-the-other")]).await.unwrap();
    let begun = Instant::now();
    assert_eq!(cluster.ask(0, "/system/calls/of-the-other").await.status, 200);
    assert!(begun.elapsed() < Duration::from_secs(2), "the silent peer is not waited for: {:?}", begun.elapsed());
    let answer = cluster.ask(0, "/system/calls/nowhere").await;
    assert_eq!((answer.status, answer.header("retry-after").len()), (503, 1), "{answer:?}");
    for silent in [mute.address, gone] {
        assert!(answer.body.contains(&silent.to_string()), "{answer:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn dead_letters_of_all_gateways_come_newest_first() {
    let cluster = Cluster::with(&[]).await;
    for (gateway, call_id, ended) in [(0, "first", 2000), (1, "second", 3000), (0, "third", 4000), (1, "last", 5000)] {
        cluster.dead(gateway, call_id, ended).await;
    }
    for gateway in [0, 1] {
        let answer = cluster.ask(gateway, "/system/dead-letters").await;
        assert_eq!(ids(&answer), ["last", "third", "second", "first"]);
        assert!(answer.header("x-crema-incomplete").is_empty(), "{answer:?}");
        assert_eq!(ids(&cluster.ask(gateway, "/system/dead-letters?limit=2").await), ["last", "third"]);
        // A peer asks for what one gateway has and no more.
        let question = format!("{PASSWORD}X-Crema-Peer: another\r\n");
        let answer = cluster.gateways[gateway].send("GET", "/system/dead-letters", &question, "").await;
        assert_eq!(ids(&answer).len(), 2, "{answer:?}");
    }
}

#[tokio::test]
async fn dead_letters_say_which_gateway_was_silent() {
    let gone = reserved().local_addr().unwrap();
    let cluster = Cluster::with(&[gone]).await;
    cluster.dead(1, "one", 2000).await;
    let answer = cluster.ask(0, "/system/dead-letters").await;
    assert_eq!((answer.status, ids(&answer)), (200, vec!["one".to_owned()]));
    assert_eq!(answer.header("x-crema-incomplete"), [gone.to_string()]);
}

#[tokio::test]
async fn a_dead_letter_begins_anew_at_the_gateway_that_gave_it_up() {
    let cluster = Cluster::with(&[]).await;
    cluster.dead(1, "of-the-other", 2000).await;
    let requeue = async |call_id: &str| {
        cluster.gateways[0].send("POST", &format!("/system/dead-letters/{call_id}"), PASSWORD, "").await
    };
    assert_eq!(requeue("of-the-other").await.status, 202);
    assert_eq!(cluster.queues[0].counts().await.unwrap(), Counts::default());
    assert_eq!(cluster.queues[1].counts().await.unwrap(), Counts { pending: 1, dead: 0 });
    let answer = requeue("of-the-other").await;
    assert_eq!(answer.status, 409, "{answer:?}");
    assert_eq!(requeue("nowhere").await.status, 404);
    let gone = Cluster::with(&[reserved().local_addr().unwrap()]).await;
    let answer = gone.gateways[0].send("POST", "/system/dead-letters/nowhere", PASSWORD, "").await;
    assert_eq!((answer.status, answer.header("retry-after").len()), (503, 1), "{answer:?}");
}

#[tokio::test]
async fn calls_are_counted_over_all_gateways_and_a_gone_one_still_counts() {
    let mut cluster = Cluster::with(&[]).await;
    let function = Function::ok().await;
    cluster.gateways[0].function("f", function.address).await;
    for gateway in [0, 0, 1] {
        assert_eq!(cluster.gateways[gateway].get("/function/f").await.status, 200);
    }
    let counted = async |cluster: &Cluster, gateway: usize| {
        for path in ["/system/functions", "/system/function/f"] {
            let answer = cluster.ask(gateway, path).await;
            if !answer.body.contains("\"invocationCount\":3.0") {
                return false;
            }
        }
        true
    };
    for gateway in [0, 1] {
        eventually("all three are counted", async || counted(&cluster, gateway).await).await;
        let answer = cluster.ask(gateway, "/system/functions").await;
        assert!(answer.header("x-crema-incomplete").is_empty(), "{answer:?}");
    }
    let gone = cluster.gateways.pop().unwrap();
    gone.stopper.stop();
    gone.task.await.unwrap().unwrap();
    eventually("it is missed", async || {
        cluster.ask(0, "/system/functions").await.header("x-crema-incomplete") == [gone.address.to_string()]
    })
    .await;
    assert!(counted(&cluster, 0).await);
    assert!(cluster.gateways[0].scrape().await.contains("gateway_peers_silent 1"));
}

#[tokio::test]
async fn no_peer_is_told_anything_without_the_password() {
    let cluster = Cluster::with(&[]).await;
    for path in ["/system/peer/counts", "/system/calls/x", "/system/dead-letters"] {
        let answer = cluster.gateways[0].send("GET", path, "X-Crema-Peer: another\r\n", "").await;
        assert_eq!(answer.status, 401, "{path} {answer:?}");
    }
    let answer = cluster.gateways[0].send("POST", "/system/dead-letters/x", "X-Crema-Peer: another\r\n", "").await;
    assert_eq!(answer.status, 401, "{answer:?}");
}

#[tokio::test]
async fn a_call_is_made_by_the_gateway_that_took_it() {
    let cluster = Cluster::with(&[]).await;
    let function = Function::ok().await;
    cluster.gateways[0].function("f", function.address).await;
    let answer = cluster.gateways[0].send("POST", "/async-function/f", "X-Call-Id: one\r\n", "").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(cluster.queues[0].counts().await.unwrap().pending, 1);
    assert_eq!(cluster.queues[1].counts().await.unwrap().pending, 0);
}

#[tokio::test]
async fn two_gateways_that_start_a_function_at_once_start_one_replica() {
    let cluster = Cluster::with(&[]).await;
    let function = Function::ok().await;
    let name = "f".parse().unwrap();
    cluster.gateways[0].script("f", Script { at_most: 0, ..Script::at(Address::Tcp(function.address)) });
    cluster.gateways[0].deploy("f", [].into()).await;
    cluster.provider.scale(&name, 0).await.unwrap();
    let mut callers = tokio::task::JoinSet::new();
    for gateway in &cluster.gateways {
        for _ in 0..20 {
            let get = b"GET /function/f HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            callers.spawn(raw(gateway.address, get));
        }
    }
    for gateway in &cluster.gateways {
        eventually("all wait", async || gateway.scrape().await.contains("gateway_cold_waiting 20")).await;
    }
    assert_eq!(cluster.provider.replicas().get(&name).unwrap().desired, 1);
    cluster.gateways[0].script("f", Script::at(Address::Tcp(function.address)));
    while let Some(answer) = callers.join_next().await {
        assert_eq!(answer.unwrap().status, 200);
    }
    assert_eq!(cluster.provider.replicas().get(&name).unwrap().desired, 1);
}

#[tokio::test]
async fn a_wish_that_is_not_heard_is_wished_again_while_a_call_waits() {
    let cluster = Cluster::with(&[]).await;
    let stage = &cluster.gateways[0];
    let function = Function::ok().await;
    let name = "f".parse().unwrap();
    stage.function("f", function.address).await;
    cluster.provider.scale(&name, 0).await.unwrap();
    stage.script(
        "f",
        Script { refuses_to_scale: Some("no answer".to_owned()), ..Script::at(Address::Tcp(function.address)) },
    );
    let before = cluster.provider.scalings(&name);
    let mut client = stage.connect().await;
    client.write_all(b"GET /function/f HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    eventually("it was wished for twice", async || cluster.provider.scalings(&name) >= before + 2).await;
    stage.script("f", Script::at(Address::Tcp(function.address)));
    assert_eq!(rest(client).await.status, 200);
    assert_eq!(function.count(), 1);
    assert!(stage.scrape().await.contains(r#"gateway_cold_starts_total{function_name="f.openfaas-fn"} 1"#));
}

/// The answer that is on its way to a client.
async fn rest(mut client: tokio::net::TcpStream) -> Answer {
    use tokio::io::AsyncReadExt;
    let mut answer = Vec::new();
    tokio::time::timeout(crate::stage::PATIENCE, client.read_to_end(&mut answer)).await.unwrap().unwrap();
    Answer::read(&answer)
}
