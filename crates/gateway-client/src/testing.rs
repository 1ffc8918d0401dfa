//! A gateway made of paper: the routes connectors use, what was posted to them, and answers as a test wants them.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use wire::function::FunctionStatus;

/// A gateway made of paper. It closes its connections when it is dropped or [stopped](FakeGateway::stop).
pub struct FakeGateway {
    address: SocketAddr,
    state: Arc<State>,
    server: Option<tokio::task::JoinHandle<()>>,
}

/// An invocation that was posted.
#[derive(Clone, Debug)]
pub struct Posted {
    /// The path: `/async-function/NAME.NAMESPACE`.
    pub path: String,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The request's body.
    pub body: Bytes,
    /// What was answered.
    pub status: u16,
}

struct State {
    namespaces: Mutex<Vec<String>>,
    functions: Mutex<Vec<FunctionStatus>>,
    system_status: Mutex<StatusCode>,
    /// The status for posts, by function path; 202 when it says nothing.
    refusals: Mutex<Vec<(String, StatusCode)>>,
    posted: Mutex<Vec<Posted>>,
    arrived: watch::Sender<usize>,
    /// While it is shut, posts arrive and wait.
    open: watch::Sender<bool>,
}

impl FakeGateway {
    /// Starts one on a free port, without functions.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start() -> Self {
        let mut gateway = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            state: Arc::new(State {
                namespaces: Mutex::new(vec![wire::DEFAULT_NAMESPACE.to_owned()]),
                functions: Mutex::default(),
                system_status: Mutex::new(StatusCode::OK),
                refusals: Mutex::default(),
                posted: Mutex::default(),
                arrived: watch::Sender::new(0),
                open: watch::Sender::new(true),
            }),
            server: None,
        };
        gateway.restart().await;
        gateway
    }

    /// Listens again on the same port after [`stop`](Self::stop).
    ///
    /// # Panics
    /// When the port was taken meanwhile.
    pub async fn restart(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the port is free");
        self.address = listener.local_addr().expect("a bound listener has an address");
        let state = Arc::clone(&self.state);
        self.server = Some(tokio::spawn(serve(listener, state)));
    }

    /// Stops listening and cuts every connection.
    pub async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            server.await.unwrap_or_default();
        }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Deploys a function with these annotations.
    pub fn deploy(&self, name: &str, namespace: &str, annotations: &[(&str, &str)]) {
        self.remove(name, namespace);
        let annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        lock(&self.state.functions).push(FunctionStatus {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            image: "image".to_owned(),
            annotations,
            created_at: wire::function::never(),
            ..FunctionStatus::default()
        });
    }

    /// Removes a function from the list.
    pub fn remove(&self, name: &str, namespace: &str) {
        lock(&self.state.functions).retain(|known| known.name != name || known.namespace != namespace);
    }

    /// Sets the answer of `/system/namespaces`.
    pub fn set_namespaces(&self, namespaces: &[&str]) {
        *lock(&self.state.namespaces) = namespaces.iter().map(|name| (*name).to_owned()).collect();
    }

    /// Answers `/system` routes with this status from now on.
    ///
    /// # Panics
    /// When `status` is none.
    pub fn answer_system(&self, status: u16) {
        *lock(&self.state.system_status) = StatusCode::from_u16(status).expect("an HTTP status");
    }

    /// Answers posts to `function` (`name.namespace`) with this status from now on; 202 ends that.
    ///
    /// # Panics
    /// When `status` is none.
    pub fn answer(&self, function: &str, status: u16) {
        let mut refusals = lock(&self.state.refusals);
        refusals.retain(|(known, _)| known != function);
        refusals.push((function.to_owned(), StatusCode::from_u16(status).expect("an HTTP status")));
    }

    /// Lets posts wait (`false`) or answers them (`true`).
    pub fn set_open(&self, open: bool) {
        self.state.open.send_replace(open);
    }

    /// Waits until `count` posts have arrived, answered or not.
    pub async fn arrived(&self, count: usize) {
        let mut arrived = self.state.arrived.subscribe();
        arrived.wait_for(|arrived| *arrived >= count).await.map(drop).unwrap_or_default();
    }

    /// Waits until `count` posts were answered with 202, and returns them.
    pub async fn accepted(&self, count: usize) -> Vec<Posted> {
        loop {
            let accepted: Vec<Posted> =
                lock(&self.state.posted).iter().filter(|post| post.status == 202).cloned().collect();
            if accepted.len() >= count {
                return accepted;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Every post that was answered, in order.
    #[must_use]
    pub fn posted(&self) -> Vec<Posted> {
        lock(&self.state.posted).clone()
    }
}

impl Drop for FakeGateway {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let service = hyper::service::service_fn(move |request| answer(request, Arc::clone(&state)));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            connection.await.unwrap_or_default();
        });
    }
}

async fn answer(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let path = parts.uri.path();
    let (status, text) = match path {
        "/healthz" => (StatusCode::OK, "OK".to_owned()),
        "/system/namespaces" => json(&state, &*lock(&state.namespaces)),
        "/system/functions" => match functions(&state, parts.uri.query().unwrap_or_default()) {
            Some(functions) => json(&state, &functions),
            None => (StatusCode::NOT_FOUND, "no such namespace\n".to_owned()),
        },
        _ => {
            state.arrived.send_modify(|arrived| *arrived += 1);
            let mut open = state.open.subscribe();
            open.wait_for(|open| *open).await.map(drop).unwrap_or_default();
            let function = path.trim_start_matches("/async-function/");
            let status = lock(&state.refusals).iter().find(|(known, _)| known == function).map(|(_, status)| *status);
            let status = status.unwrap_or(StatusCode::ACCEPTED);
            let post = Posted { path: path.to_owned(), headers: parts.headers, body, status: status.as_u16() };
            lock(&state.posted).push(post);
            (status, if status == StatusCode::ACCEPTED { String::new() } else { "as the test asked\n".to_owned() })
        }
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(wire::header::CALL_ID, hyper::header::HeaderValue::from_static("call-1"));
    Ok(response)
}

/// The functions of a namespace; `None` when there is no such namespace.
fn functions(state: &State, query: &str) -> Option<Vec<FunctionStatus>> {
    let namespace = query.strip_prefix("namespace=").unwrap_or(wire::DEFAULT_NAMESPACE);
    let known = namespace == wire::DEFAULT_NAMESPACE || lock(&state.namespaces).iter().any(|name| name == namespace);
    known.then(|| lock(&state.functions).iter().filter(|function| function.namespace == namespace).cloned().collect())
}

fn json(state: &State, body: &impl serde::Serialize) -> (StatusCode, String) {
    let status = *lock(&state.system_status);
    let text = serde_json::to_string(body).expect("these types are JSON");
    (status, if status.is_success() { text } else { "as the test asked\n".to_owned() })
}
