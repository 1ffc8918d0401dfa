//! Posts an event to every function that wants it, and says when all of it is on disk.

use crate::{Event, TopicMap};
use daemon::{Clock, SystemClock};
use futures_util::StreamExt;
use futures_util::stream;
use gateway_client::{CallId, ClientError, FunctionList, Functions, GatewayClient, HeaderMap, HeaderValue};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use wire::{FunctionName, header};

/// How many posts of one event are under way at a time.
const POSTS_AT_A_TIME: usize = 16;
/// How many events are under way at a time; the others wait for their turn.
const EVENTS_AT_A_TIME: usize = 256;
/// The first wait before an event is posted again; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// The longest wait before an event is posted again.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How long an event waits before a person hears of it; then after twice as long, and so on.
const FIRST_COMPLAINT: Duration = Duration::from_secs(10);
/// The media type of events that say none.
const DEFAULT_CONTENT_TYPE: &str = "text/plain";

/// Posts events to the functions whose topics match. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Dispatcher(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: GatewayClient,
    list: FunctionList,
    content_type: HeaderValue,
    events: Semaphore,
    counts: Counts,
    // The map of the list it was made of; held for a comparison, or for as long as making a map takes.
    map: Mutex<Option<(Functions, Arc<TopicMap>)>>,
}

#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicU64,
    unwanted: AtomicU64,
    delayed: AtomicU64,
    refused: AtomicU64,
}

/// What became of events so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct DispatchCounts {
    /// On disk for every function that wants them.
    pub accepted: u64,
    /// No function wants them.
    pub unwanted: u64,
    /// Failed for now: whoever sent them sends them again.
    pub delayed: u64,
    /// Refused for good.
    pub refused: u64,
}

/// Why an event is not on disk for every function that wants it.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// It may go well later: the event must be kept and handed over again.
    #[error("{function}: {reason}")]
    Temporary {
        /// Which function, the first of them.
        function: FunctionName,
        /// What went wrong.
        reason: ClientError,
    },
    /// It will never go well: handing it over again is in vain. The other functions have it.
    #[error("{function}: the event is refused for good: {reason}")]
    Permanent {
        /// Which function, the first of them.
        function: FunctionName,
        /// What was answered.
        reason: ClientError,
    },
    /// The topic holds control characters, which no header can carry.
    #[error("topic {0:?} holds control characters, which no header can carry")]
    Topic(String),
    /// No complete list of functions is known yet.
    #[error("the functions are not known yet: the gateway has not listed them")]
    NotReady,
    /// The caller's own limit passed first. Some functions may have the event.
    #[error("not on disk within {0:?}")]
    Late(Duration),
}

impl DispatchError {
    /// Whether handing the event over again may help.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Temporary { .. } | Self::NotReady | Self::Late(_))
    }
}

/// How one post ended, when it was not accepted.
enum Refusal {
    /// The function is gone.
    Gone,
    Temporary(ClientError),
    Permanent(ClientError),
}

impl Dispatcher {
    /// Posts through `client` to the functions of `list`. Events without a media type are `text/plain`.
    #[must_use]
    pub fn new(client: GatewayClient, list: FunctionList) -> Self {
        Self::with_content_type(client, list, HeaderValue::from_static(DEFAULT_CONTENT_TYPE))
    }

    /// Like [`new`](Self::new), with another media type for events that say none.
    #[must_use]
    pub fn with_content_type(client: GatewayClient, list: FunctionList, content_type: HeaderValue) -> Self {
        let events = Semaphore::new(EVENTS_AT_A_TIME);
        let counts = Counts::default();
        Self(Arc::new(Inner { client, list, content_type, events, counts, map: Mutex::default() }))
    }

    /// Waits for the first complete topic map; false when the list stopped before.
    pub async fn ready(&self) -> bool {
        self.0.list.first().await.is_some()
    }

    /// The topic map as it is now; `None` before the first complete one.
    #[must_use]
    pub fn topic_map(&self) -> Option<Arc<TopicMap>> {
        let functions = self.0.list.current()?;
        let mut known = self.0.map.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, map)) = &*known
            && Arc::ptr_eq(of, &functions)
        {
            return Some(Arc::clone(map));
        }
        let map = Arc::new(TopicMap::new(&functions));
        for problem in map.problems() {
            let new = known.as_ref().is_none_or(|(_, known)| !known.problems().contains(problem));
            if new {
                tracing::warn!(problem, "A topic is no MQTT filter and is left out");
            }
        }
        *known = Some((functions, Arc::clone(&map)));
        Some(map)
    }

    /// The list of functions behind the topic map.
    #[must_use]
    pub fn list(&self) -> &FunctionList {
        &self.0.list
    }

    /// Posts the event to every function that wants it, once. Ok with their number means: on disk for all of them.
    pub async fn dispatch(&self, event: &Event) -> Result<usize, DispatchError> {
        self.dispatch_within(event, Duration::ZERO).await
    }

    /// Like [`dispatch`](Self::dispatch), trying again what failed for now until `patience` is over. A function that
    /// accepted is not posted to again.
    pub async fn dispatch_within(&self, event: &Event, patience: Duration) -> Result<usize, DispatchError> {
        let ended = self.try_within(event, patience).await;
        let counts = &self.0.counts;
        let count = match &ended {
            Ok(0) => &counts.unwanted,
            Ok(_) => &counts.accepted,
            Err(error) if error.is_temporary() => &counts.delayed,
            Err(_) => &counts.refused,
        };
        count.fetch_add(1, Ordering::Relaxed);
        ended
    }

    /// What became of events so far.
    #[must_use]
    pub fn counts(&self) -> DispatchCounts {
        let Counts { accepted, unwanted, delayed, refused } = &self.0.counts;
        let now = |count: &AtomicU64| count.load(Ordering::Relaxed);
        DispatchCounts {
            accepted: now(accepted),
            unwanted: now(unwanted),
            delayed: now(delayed),
            refused: now(refused),
        }
    }

    async fn try_within(&self, event: &Event, patience: Duration) -> Result<usize, DispatchError> {
        let begun = Instant::now();
        let headers = self.headers(event)?;
        let map = self.topic_map().ok_or(DispatchError::NotReady)?;
        let now = SystemClock.unix_millis();
        // One id for all posts of a call: where only the 202 was lost, the function can tell that both are one.
        let mut pending: Vec<(FunctionName, CallId)> =
            map.matches(&event.topic).into_iter().map(|function| (function.clone(), CallId::new(now))).collect();
        drop(map);
        if pending.is_empty() {
            return Ok(0);
        }
        let _turn = self.0.events.acquire().await.map_err(|_| DispatchError::NotReady)?;
        let (mut accepted, mut refused, mut wait, mut complaint) = (0, None, FIRST_WAIT, FIRST_COMPLAINT);
        loop {
            let mut failed = None;
            let mut again = Vec::new();
            for (function, id, ended) in self.post_all(pending, &headers, event).await {
                match ended {
                    Ok(()) => accepted += 1,
                    Err(Refusal::Gone) => tracing::debug!(%function, "The function is gone; the event passes it by"),
                    Err(Refusal::Permanent(reason)) => refused = refused.or(Some((function, reason))),
                    Err(Refusal::Temporary(reason)) => {
                        again.push((function.clone(), id));
                        failed = failed.or(Some((function, reason)));
                    }
                }
            }
            let Some((function, reason)) = failed else { break };
            if begun.elapsed() + wait > patience {
                return Err(DispatchError::Temporary { function, reason });
            }
            if begun.elapsed() >= complaint {
                complaint = begun.elapsed() * 2;
                let (topic, since) = (&event.topic, begun.elapsed());
                tracing::warn!(%function, topic, ?since, error = %reason, "An event still waits to be on disk");
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
            pending = again;
        }
        match refused {
            Some((function, reason)) => Err(DispatchError::Permanent { function, reason }),
            None => Ok(accepted),
        }
    }

    async fn post_all(
        &self,
        calls: Vec<(FunctionName, CallId)>,
        headers: &HeaderMap,
        event: &Event,
    ) -> Vec<(FunctionName, CallId, Result<(), Refusal>)> {
        stream::iter(calls)
            .map(|(function, id)| async {
                let mut headers = headers.clone();
                headers.insert(header::CALL_ID, id.header());
                let ended = self.post(&function, headers, event).await;
                (function, id, ended)
            })
            .buffer_unordered(POSTS_AT_A_TIME)
            .collect()
            .await
    }

    async fn post(&self, function: &FunctionName, headers: HeaderMap, event: &Event) -> Result<(), Refusal> {
        match self.0.client.post_async(function, headers, event.payload.clone()).await {
            Ok(call) => {
                tracing::debug!(%function, %call, topic = event.topic, "The event is on disk");
                Ok(())
            }
            Err(error) if error.is_not_found() => Err(self.really_gone(function, error).await),
            Err(error) if error.is_temporary() => Err(Refusal::Temporary(error)),
            Err(error) => Err(Refusal::Permanent(error)),
        }
    }

    /// A 404 has two meanings: no such function, or a gateway without a queue. Only the first loses nothing.
    async fn really_gone(&self, function: &FunctionName, error: ClientError) -> Refusal {
        match self.0.client.functions(function.namespace()).await {
            Ok(functions) if functions.iter().all(|known| known.name != function.name()) => Refusal::Gone,
            Err(no_namespace) if no_namespace.is_not_found() => self.namespace_gone(function, error).await,
            _ => Refusal::Temporary(error),
        }
    }

    /// A namespace that was deleted takes its functions along. Another 404 is that of a proxy without its gateway.
    async fn namespace_gone(&self, function: &FunctionName, error: ClientError) -> Refusal {
        match self.0.client.namespaces().await {
            Ok(namespaces) if namespaces.iter().all(|known| known != function.namespace()) => Refusal::Gone,
            _ => Refusal::Temporary(error),
        }
    }

    fn headers(&self, event: &Event) -> Result<HeaderMap, DispatchError> {
        let mut headers = HeaderMap::new();
        let topic =
            HeaderValue::from_bytes(event.topic.as_bytes()).map_err(|_| DispatchError::Topic(event.topic.clone()))?;
        headers.insert(header::TOPIC, topic);
        headers.insert(header::CONNECTOR, HeaderValue::from_static(event.connector));
        let own = event.content_type.as_deref().and_then(|text| HeaderValue::from_str(text).ok());
        headers.insert("content-type", own.unwrap_or_else(|| self.0.content_type.clone()));
        for (name, value) in [(header::TRACEPARENT, &event.traceparent), (header::TRACESTATE, &event.tracestate)] {
            // A context that is no header value is no context.
            if let Some(value) = value.as_deref().and_then(|text| HeaderValue::from_str(text).ok()) {
                headers.insert(name, value);
            }
        }
        Ok(headers)
    }
}
