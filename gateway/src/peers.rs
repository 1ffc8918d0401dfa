//! The other gateways of a cluster. Each keeps its own queue and its own counts; whoever asks one of them means all.
//!
//! ```text
//! system/calls, system/dead-letters, upkeep -> Peers -> names (DNS) -> a question to each peer, beside each other
//! ```
//!
//! A question is the client's own request with a mark on it, by which a peer knows not to ask on, and a gateway that it
//! asks itself. Every question has a limit; who was silent is told to the client.

mod names;

use crate::config::{Config, Peering};
use actix_web::HttpRequest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use names::Names;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;
use wire::FunctionName;

/// On a question: the mark of the gateway that asks.
const PEER: &str = "x-crema-peer";
/// On an answer: who was silent, comma-separated.
pub(crate) const INCOMPLETE: &str = "x-crema-incomplete";
/// The path that peers' counts are asked at.
const COUNTS: &str = "/system/peer/counts";
/// How long all of a question may take, looking up names included.
const LIMIT: Duration = Duration::from_secs(2);
/// How much of it looking up names may take, so that peers can be asked where they were last while no name is known.
const NAMES_LIMIT: Duration = Duration::from_secs(1);
/// How long opening a connection may take: a node that is gone does not answer at all.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// The largest answer that is read: ten thousand dead letters are a third of it.
const ANSWER_LIMIT: usize = 16 << 20;

/// The other gateways.
pub(crate) struct Peers {
    /// Tells this process from all others.
    mark: HeaderValue,
    authorization: Option<HeaderValue>,
    names: Names,
    client: Client<HttpConnector, Empty<Bytes>>,
    // Std mutexes: held for a look or a change only.
    own: Mutex<HashSet<SocketAddr>>,
    counted: RwLock<Counted>,
}

/// What the peers said last of how often functions were called.
#[derive(Debug, Default)]
struct Counted {
    /// By the peer's name, so that one that is away for a while still counts.
    by_peer: HashMap<String, BTreeMap<String, u64>>,
    silent: Vec<String>,
}

/// How often one gateway called functions.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct PeerCounts {
    /// Which one: the same after a restart.
    pub(crate) instance: String,
    /// By `name.namespace`.
    pub(crate) counts: BTreeMap<String, u64>,
}

/// What came of asking all.
#[derive(Debug)]
pub(crate) struct Round<T> {
    pub(crate) answers: Vec<T>,
    /// Who did not answer.
    pub(crate) silent: Vec<String>,
}

/// Who asks.
pub(crate) enum Asker {
    /// A client, who means all gateways.
    Client,
    /// A peer, who means this one.
    Peer,
    /// This gateway, by one of its own addresses.
    Own,
}

/// What one peer said.
enum Said<T> {
    Answer(T),
    /// It knows nothing of what it was asked.
    Nothing,
    /// It is this gateway.
    Own,
}

impl Peers {
    pub(crate) fn new(config: &Config) -> Option<Self> {
        let Peering { names, .. } = config.peering.as_ref()?;
        let value = |text: String| HeaderValue::try_from(text).expect("letters, digits and base64 are header values");
        let authorization = config.auth.as_ref().map(|known| {
            let mut value = value(format!("Basic {}", STANDARD.encode(format!("{}:{}", known.user, known.password))));
            value.set_sensitive(true);
            value
        });
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_LIMIT));
        connector.set_nodelay(true);
        // Every thread of the gateway asks, and a connection belongs to the thread that opened it: none is kept.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Some(Self {
            mark: value(uuid::Uuid::new_v4().to_string()),
            authorization,
            counted: RwLock::new(Counted { silent: names.clone(), ..Counted::default() }),
            names: Names::new(names.clone()),
            client,
            own: Mutex::default(),
        })
    }

    /// Who sent a request.
    pub(crate) fn asker(&self, request: &HttpRequest) -> Asker {
        match request.headers().get(PEER) {
            None => Asker::Client,
            Some(mark) if mark.as_bytes() == self.mark.as_bytes() => Asker::Own,
            Some(_) => Asker::Peer,
        }
    }

    /// Asks all peers and waits for each, within the limit.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, path: &str) -> Round<T> {
        self.round(&Method::GET, path).await
    }

    /// Has all peers do something and waits for what each says of it, within the limit.
    pub(crate) async fn tell<T: DeserializeOwned>(&self, path: &str) -> Round<T> {
        self.round(&Method::POST, path).await
    }

    async fn round<T: DeserializeOwned>(&self, method: &Method, path: &str) -> Round<T> {
        let mut round = Round { answers: Vec::new(), silent: Vec::new() };
        self.each(method, path, |said| {
            match said {
                Ok(answer) => round.answers.push(answer),
                Err(silent) => round.silent.push(silent),
            }
            true
        })
        .await;
        round.silent.sort_unstable();
        round
    }

    /// Asks all peers for what only one of them knows; the first answer ends it. Else who was silent.
    pub(crate) async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<T, Vec<String>> {
        let (mut found, mut silents) = (None, Vec::new());
        self.each(&Method::GET, path, |said| {
            match said {
                Ok(answer) => found = Some(answer),
                Err(silent) => silents.push(silent),
            }
            found.is_none()
        })
        .await;
        silents.sort_unstable();
        found.ok_or(silents)
    }

    /// Asks all peers and hands over what each said, or who was silent, until `more` says that it is enough.
    async fn each<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        mut more: impl FnMut(Result<T, String>) -> bool,
    ) {
        let begun = tokio::time::Instant::now();
        let deadline = begun + LIMIT;
        let found = self.names.resolve(begun + NAMES_LIMIT).await;
        for name in found.unknown {
            if !more(Err(name)) {
                return;
            }
        }
        let mut questions: FuturesUnordered<_> = found
            .addresses
            .into_iter()
            .filter(|address| !lock(&self.own).contains(address))
            .map(|address| async move {
                let said = tokio::time::timeout_at(deadline, self.question(address, method, path)).await;
                (address, said.unwrap_or_else(|_| Err(format!("no answer within {LIMIT:?}"))))
            })
            .collect();
        while let Some((address, said)) = questions.next().await {
            let go_on = match said {
                Ok(Said::Answer(answer)) => more(Ok(answer)),
                Ok(Said::Nothing) => true,
                Ok(Said::Own) => {
                    lock(&self.own).insert(address);
                    true
                }
                Err(error) => {
                    tracing::debug!(peer = %address, error, "A peer is silent");
                    more(Err(address.to_string()))
                }
            };
            if !go_on {
                return;
            }
        }
    }

    async fn question<T: DeserializeOwned>(
        &self,
        address: SocketAddr,
        method: &Method,
        path: &str,
    ) -> Result<Said<T>, String> {
        let mut request = Request::builder().method(method).uri(format!("http://{address}{path}"));
        request = request.header(HeaderName::from_static(PEER), self.mark.clone());
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
        let answer = self.client.request(request).await.map_err(|error| error.to_string())?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(Said::Nothing),
            StatusCode::MISDIRECTED_REQUEST => return Ok(Said::Own),
            other => return Err(format!("it answered {other}")),
        }
        let body = Limited::new(answer.into_body(), ANSWER_LIMIT).collect().await.map_err(|error| error.to_string())?;
        serde_json::from_slice(&body.to_bytes()).map(Said::Answer).map_err(|error| error.to_string())
    }

    /// Asks all peers how often they called functions.
    pub(crate) async fn count(&self) {
        let Round { answers, silent } = self.ask::<PeerCounts>(COUNTS).await;
        let mut counted = self.counted.write().unwrap_or_else(PoisonError::into_inner);
        for PeerCounts { instance, counts } in answers {
            counted.by_peer.insert(instance, counts);
        }
        if counted.silent.is_empty() && !silent.is_empty() {
            tracing::warn!(?silent, "Some gateways do not answer: what they know is missing in look-ups");
        }
        counted.silent = silent;
    }

    /// How often the peers called a function, as far as is known.
    pub(crate) fn called(&self, name: &FunctionName) -> u64 {
        let counted = self.counted.read().unwrap_or_else(PoisonError::into_inner);
        let name = name.to_string();
        counted.by_peer.values().filter_map(|counts| counts.get(&name)).sum()
    }

    /// Who was silent when peers were last asked for counts.
    pub(crate) fn silent(&self) -> Vec<String> {
        self.counted.read().unwrap_or_else(PoisonError::into_inner).silent.clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
