//! Answers `GET /metrics` on an address of its own.

use super::accept::{Listener, Socket};
use crate::metrics::Metrics;
use crate::settings::Listen;
use bytes::Bytes;
use http_body_util::Full;
use hyper::http::header::CONTENT_TYPE;
use hyper::http::{HeaderValue, Response, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long a scrape may take in all.
const SCRAPE: Duration = Duration::from_secs(1);

pub(super) struct MetricsServer {
    listener: Listener,
    metrics: Rc<Metrics>,
}

impl MetricsServer {
    pub(super) fn new(listener: Listener, metrics: Rc<Metrics>) -> Self {
        Self { listener, metrics }
    }

    pub(super) fn address(&self) -> Listen {
        self.listener.address()
    }

    /// Serves until it is dropped.
    pub(super) async fn run(self) {
        let mut scrapes = JoinSet::new();
        loop {
            tokio::select! {
                socket = self.listener.accept() => {
                    let scrape = tokio::time::timeout(SCRAPE, scrape(socket, Rc::clone(&self.metrics)));
                    drop(scrapes.spawn_local(scrape));
                }
                Some(_) = scrapes.join_next() => {}
            }
        }
    }
}

async fn scrape(socket: Socket, metrics: Rc<Metrics>) {
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let response = match request.uri().path() {
            "/metrics" => text(metrics.text()),
            _ => missing(),
        };
        async { Ok::<_, Infallible>(response) }
    });
    // A scraper that goes away is no event.
    http1::Builder::new()
        .header_read_timeout(None)
        .keep_alive(false)
        .serve_connection(TokioIo::new(socket), service)
        .await
        .unwrap_or_default();
}

fn text(text: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"));
    response
}

fn missing() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from("metrics are at /metrics\n"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}
