//! The function under test, on a directory of its own.

use crate::world::World;
use function_sdk::{Clock, Context, Handler, Method, Request, Response};
use order::Orders;
use serde_json::{Value, json};
use std::rc::Rc;
use tempfile::TempDir;

/// What stays when the function's process dies.
pub(crate) struct Till {
    directory: TempDir,
    url: String,
}

/// The function's process.
#[derive(Clone)]
pub(crate) struct Process(Rc<Orders>);

impl Till {
    pub(crate) fn new(world: &World) -> Self {
        let till = Self { directory: tempfile::tempdir().unwrap(), url: world.url() };
        till.set_key("k3y\n");
        till
    }

    pub(crate) fn set_key(&self, key: &str) {
        std::fs::write(self.directory.path().join("shop-key"), key).unwrap();
    }

    pub(crate) fn context(&self) -> Context {
        let path = self.directory.path().to_str().unwrap();
        let variables =
            [("data_path", path), ("secret_mount_path", path), ("gateway_url", &self.url), ("order_seconds", "10")];
        Context::of(variables, Clock::fixed(1_000))
    }

    pub(crate) fn open(&self) -> Process {
        Process(Rc::new(Orders::open(&self.context()).unwrap()))
    }
}

impl Process {
    pub(crate) async fn call(&self, request: Request) -> (u16, Value) {
        let response: Response = self.0.handle(request).await;
        (response.status().as_u16(), response.body_json().unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let query = Some(query.to_owned());
        self.call(Request { path: path.into(), query, ..Request::default() }).await
    }

    pub(crate) async fn post(&self, body: impl ToString) -> (u16, Value) {
        let (body, call_id) = (body.to_string().into(), "call-1".to_owned());
        self.call(Request { method: Method::POST, path: "/".into(), body, call_id, ..Request::default() }).await
    }

    pub(crate) async fn sweep(&self) -> Value {
        let mut request = Request { method: Method::POST, path: "/".into(), ..Request::default() };
        request.headers.insert("x-topic", "cron-function".parse().unwrap());
        let (status, body) = self.call(request).await;
        assert_eq!(status, 200, "{body}");
        body
    }
}

pub(crate) fn order(id: &str, sku: &str, quantity: i64, token: &str) -> Value {
    json!({ "id": id, "items": [{ "sku": sku, "quantity": quantity }], "payment": { "token": token } })
}
