//! What stands behind the gateway here: a function that greets and remembers what it heard.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use provider::Address;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// What the function answers to everything.
pub(crate) const GREETING: &str = "Hello, world\n";

/// The bodies a function was sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<Bytes>>>);

impl Heard {
    fn add(&self, body: Bytes) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(body);
    }

    /// Whether the function was sent this body.
    pub(crate) fn has(&self, body: &[u8]) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|heard| heard == body)
    }
}

/// Serves a function that reads what it is sent and greets. It ends with the set.
pub(crate) async fn function(tasks: &mut JoinSet<()>) -> (Address, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Heard::default();
    let hearing = heard.clone();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let heard = hearing.clone();
            let greet = service_fn(move |request: hyper::Request<Incoming>| {
                let heard = heard.clone();
                async move {
                    if let Ok(body) = request.into_body().collect().await {
                        heard.add(body.to_bytes());
                    }
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(GREETING.as_bytes()))))
                }
            });
            connections.spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), greet));
        }
    });
    (Address::Tcp(address), heard)
}
