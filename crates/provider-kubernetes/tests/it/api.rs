//! An API server for tests: keeps objects in memory, tells watchers, and fails when told to.

mod path;
mod store;
mod watch;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use kube::Client;
use kube::client::Body;
use path::{Path, Query};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{Error, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};
use store::Store;
use tokio::sync::watch as channel;

pub(crate) type Answer = Response<BoxBody<Bytes, Infallible>>;

/// How the server behaves.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Mode {
    #[default]
    Up,
    /// Connections are refused and open ones end.
    Down,
    /// Nothing is answered.
    Silent,
    /// It has come up and knows nothing yet: lists are empty.
    Blank,
}

/// The server. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Api {
    state: Arc<Mutex<State>>,
    /// Rings at each change.
    bell: Arc<channel::Sender<u64>>,
}

#[derive(Default)]
struct State {
    mode: Mode,
    store: Store,
    /// What pods have written, by namespace and name.
    logs: BTreeMap<(String, String), Vec<String>>,
    /// Open watches and followed logs of an older age end.
    age: u64,
    refusals: Vec<Refusal>,
    requests: Vec<String>,
}

/// Requests that are answered with a status and a message.
struct Refusal {
    method: Method,
    resource: &'static str,
    code: u16,
    message: &'static str,
    /// How many of them.
    left: usize,
}

impl Api {
    /// A server with these namespaces, all of them marked.
    pub(crate) fn with_namespaces(names: &[&str]) -> Self {
        let api = Self::default();
        for name in names {
            api.put("namespaces", "", json!({"metadata": {"name": name, "annotations": {"openfaas": "1"}}}));
        }
        api
    }

    pub(crate) fn client(&self) -> Client {
        let api = self.clone();
        let serve = move |request: Request<Body>| {
            let api = api.clone();
            async move { api.serve(request).await }
        };
        Client::new(tower::service_fn(serve), "default")
    }

    /// Makes or replaces an object, as someone else does.
    pub(crate) fn put(&self, resource: &str, namespace: &str, object: Value) -> Value {
        let put = self.state().store.put(resource, namespace, object);
        self.ring();
        put
    }

    pub(crate) fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        self.state().store.get(resource, namespace, name).cloned()
    }

    pub(crate) fn remove(&self, resource: &str, namespace: &str, name: &str) {
        self.state().store.delete(resource, namespace, name);
        self.ring();
    }

    /// A pod writes a line.
    pub(crate) fn write(&self, namespace: &str, pod: &str, line: &str) {
        self.state().logs.entry((namespace.to_owned(), pod.to_owned())).or_default().push(line.to_owned());
        self.ring();
    }

    pub(crate) fn set(&self, mode: Mode) {
        let mut state = self.state();
        state.mode = mode;
        state.age += u64::from(mode != Mode::Up);
        drop(state);
        self.ring();
    }

    /// Ends all watches; with `forgetting` they cannot be resumed where they were.
    pub(crate) fn drop_watches(&self, forgetting: bool) {
        let mut state = self.state();
        state.age += 1;
        if forgetting {
            state.store.forget();
        }
        drop(state);
        self.ring();
    }

    /// The API server comes back from a backup.
    pub(crate) fn restore(&self) {
        let mut state = self.state();
        state.store.restore();
        state.age += 1;
        drop(state);
        self.ring();
    }

    /// Answers a method on a resource with a status and a message, from now on.
    pub(crate) fn refuse(&self, method: Method, resource: &'static str, code: u16, message: &'static str) {
        self.refuse_times(usize::MAX, method, resource, code, message);
    }

    /// The same so many times.
    pub(crate) fn refuse_times(
        &self,
        left: usize,
        method: Method,
        resource: &'static str,
        code: u16,
        message: &'static str,
    ) {
        self.state().refusals.push(Refusal { method, resource, code, message, left });
    }

    pub(crate) fn refuse_nothing(&self) {
        self.state().refusals.clear();
    }

    /// The requests so far, as `METHOD PATH`.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    async fn serve(self, request: Request<Body>) -> Result<Answer, Error> {
        let (head, body) = request.into_parts();
        let mode = self.state().mode;
        match mode {
            Mode::Down => return Err(Error::new(ErrorKind::ConnectionRefused, "connection refused")),
            Mode::Silent => {
                let mut bell = self.bell.subscribe();
                while self.state().mode == Mode::Silent && bell.changed().await.is_ok() {}
                return Err(Error::new(ErrorKind::ConnectionReset, "connection reset"));
            }
            Mode::Up | Mode::Blank => {}
        }
        let body = body.collect().await.map_err(Error::other)?.to_bytes();
        let query = Query::of(&head.uri);
        let Some(path) = Path::of(head.uri.path()) else { return Ok(status(404, "NotFound", "no such path")) };
        let mut state = self.state();
        state.requests.push(format!("{} {}", head.method, head.uri.path()));
        let refused = state
            .refusals
            .iter_mut()
            .find(|refusal| refusal.left > 0 && refusal.method == head.method && refusal.resource == path.resource);
        if let Some(refusal) = refused {
            refusal.left -= 1;
            let reason = if refusal.code == 409 { "Conflict" } else { "Refused" };
            return Ok(status(refusal.code, reason, refusal.message));
        }
        if path.sub.as_deref() == Some("log") {
            let known = state.store.get("pods", &path.namespace, &path.name).is_some();
            drop(state);
            return Ok(if known { self.log(&path, &query) } else { status(404, "NotFound", "pod not found") });
        }
        if head.method == Method::GET && path.name.is_empty() {
            let blank = state.mode == Mode::Blank;
            if query.has("watch") {
                drop(state);
                return Ok(self.watch(path, &query));
            }
            let (version, mut items) = state.store.list(&path, &query);
            if blank {
                items.clear();
            }
            return Ok(ok(&json!({"kind": "List", "apiVersion": "v1",
                "metadata": {"resourceVersion": version.to_string()}, "items": items})));
        }
        let answer = store::answer(&mut state.store, &head.method, &path, &body);
        drop(state);
        self.ring();
        Ok(answer)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn ring(&self) {
        self.bell.send_modify(|rings| *rings += 1);
    }
}

pub(crate) fn ok(value: &Value) -> Answer {
    json_answer(StatusCode::OK, value)
}

pub(crate) fn status(code: u16, reason: &str, message: &str) -> Answer {
    let value = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "reason": reason, "message": message});
    json_answer(StatusCode::from_u16(code).unwrap(), &value)
}

fn json_answer(code: StatusCode, value: &Value) -> Answer {
    let body = Full::new(Bytes::from(serde_json::to_vec(value).unwrap())).boxed();
    Response::builder().status(code).header("content-type", "application/json").body(body).unwrap()
}
