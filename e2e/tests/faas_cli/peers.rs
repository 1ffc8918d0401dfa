//! What stands behind the gateway here: a function that greets, and a queue in memory.

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use provider::Address;
use queue::{Counts, Invocation, Lease, Outcome, Queue, QueueError, Sequence};
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use wire::call::CallStatus;

/// What the function answers to everything.
pub(crate) const GREETING: &str = "Hello, world\n";

/// Serves a function that reads what it is sent and greets. It ends with the set.
pub(crate) async fn function(tasks: &mut JoinSet<()>) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(hyper::server::conn::http1::Builder::new().serve_connection(
                TokioIo::new(stream),
                service_fn(async |request: hyper::Request<Incoming>| {
                    drop(request.into_body().collect().await);
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(GREETING.as_bytes()))))
                }),
            ));
        }
    });
    Address::Tcp(address)
}

/// Keeps what is pushed and delivers nothing: what happens after the 202 is tested elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Vec<Invocation>>);

impl Kept {
    pub(crate) fn invocations(&self) -> Vec<Invocation> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Queue for Kept {
    async fn push(&self, batch: Vec<Invocation>) -> Result<Vec<Sequence>, QueueError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = kept.len() as u64;
        kept.extend(batch);
        Ok((first..kept.len() as u64).collect())
    }

    async fn lease(&self, _limit: usize, _now: u64) -> Result<Vec<Lease>, QueueError> {
        Ok(Vec::new())
    }

    async fn next_due(&self) -> Result<Option<u64>, QueueError> {
        Ok(None)
    }

    async fn pushed(&self) {
        std::future::pending::<()>().await;
    }

    async fn finish(&self, _sequence: Sequence, _outcome: Outcome, _now: u64) -> Result<(), QueueError> {
        Ok(())
    }

    async fn retry(&self, _sequence: Sequence, _outcome: Outcome, _not_before: u64) -> Result<(), QueueError> {
        Ok(())
    }

    async fn bury(&self, _sequence: Sequence, _outcome: Outcome, _now: u64) -> Result<(), QueueError> {
        Ok(())
    }

    async fn call(&self, _call_id: &str) -> Result<Option<CallStatus>, QueueError> {
        Ok(None)
    }

    async fn dead_letters(&self, _limit: usize) -> Result<Vec<CallStatus>, QueueError> {
        Ok(Vec::new())
    }

    async fn counts(&self) -> Result<Counts, QueueError> {
        Ok(Counts::default())
    }

    async fn forget(&self, _before: u64, _dead_before: u64) -> Result<u64, QueueError> {
        Ok(0)
    }

    async fn close(&self) {}
}
