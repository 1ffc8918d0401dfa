//! One typed call for every route of the gateway that is in use.

use crate::transport::{Answer, Ask, Transport};
use crate::{ClientConfig, ClientError};
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::FunctionName;
use wire::call::CallStatus;
use wire::function::{DeleteFunction, FunctionDeployment, FunctionStatus, ScaleFunction};
use wire::info::Info;
use wire::namespace::Namespace;
use wire::secret::Secret;

/// How long [`GatewayClient::wait_ready`] waits between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Speaks to one gateway. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct GatewayClient(Arc<Transport>);

/// The id of an asynchronous invocation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CallId(String);

impl CallId {
    /// A new id, for a call that may be posted more than once: a UUID of version 7, as the gateway makes them.
    #[must_use]
    pub fn new(unix_millis: u64) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(unix_millis, &rand::random()).into_uuid().to_string())
    }

    /// The value of `X-Call-Id`; empty when the gateway said something odd.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for GatewayClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("GatewayClient").field(&self.0.base()).finish()
    }
}

impl GatewayClient {
    /// A client; connects at its first call.
    pub fn new(config: &ClientConfig) -> Result<Self, ClientError> {
        Transport::new(config).map(|transport| Self(Arc::new(transport)))
    }

    /// The gateway's URL, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> &str {
        self.0.base()
    }

    /// All namespaces. An empty answer is no namespace.
    pub async fn namespaces(&self) -> Result<Vec<String>, ClientError> {
        let answer = self.ask("GET", "/system/namespaces").await?;
        if answer.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Vec::new());
        }
        Ok(read::<Option<Vec<String>>>(&answer)?.unwrap_or_default())
    }

    /// The functions of a namespace; of the default one when it is empty.
    pub async fn functions(&self, namespace: &str) -> Result<Vec<FunctionStatus>, ClientError> {
        let path = with_namespace("/system/functions", namespace);
        Ok(read::<Option<Vec<FunctionStatus>>>(&self.ask("GET", &path).await?)?.unwrap_or_default())
    }

    /// One function, with what it uses where the gateway knows.
    pub async fn function(&self, function: &FunctionName) -> Result<FunctionStatus, ClientError> {
        let path = format!("/system/function/{}?namespace={}&usage=1", function.name(), function.namespace());
        read(&self.ask("GET", &path).await?)
    }

    /// Creates a function.
    pub async fn create_function(&self, deployment: &FunctionDeployment) -> Result<(), ClientError> {
        self.send("POST", "/system/functions", deployment).await
    }

    /// Changes a function; 404 when there is none.
    pub async fn update_function(&self, deployment: &FunctionDeployment) -> Result<(), ClientError> {
        self.send("PUT", "/system/functions", deployment).await
    }

    /// Changes a function or creates it, as `faas-cli deploy` does.
    pub async fn deploy_function(&self, deployment: &FunctionDeployment) -> Result<(), ClientError> {
        match self.update_function(deployment).await {
            Err(error) if error.is_not_found() => self.create_function(deployment).await,
            ended => ended,
        }
    }

    /// Deletes a function.
    pub async fn delete_function(&self, function: &FunctionName) -> Result<(), ClientError> {
        let body =
            DeleteFunction { function_name: function.name().to_owned(), namespace: function.namespace().to_owned() };
        self.send("DELETE", &with_namespace("/system/functions", function.namespace()), &body).await
    }

    /// Sets how many replicas a function has.
    pub async fn scale_function(&self, function: &FunctionName, replicas: u64) -> Result<(), ClientError> {
        let body = ScaleFunction {
            service_name: function.name().to_owned(),
            replicas,
            namespace: function.namespace().to_owned(),
        };
        let path = format!("/system/scale-function/{}", function.name());
        self.send("POST", &with_namespace(&path, function.namespace()), &body).await
    }

    /// Who the gateway is.
    pub async fn info(&self) -> Result<Info, ClientError> {
        read(&self.ask("GET", "/system/info").await?)
    }

    /// The secrets of a namespace, without values.
    pub async fn secrets(&self, namespace: &str) -> Result<Vec<Secret>, ClientError> {
        let path = with_namespace("/system/secrets", namespace);
        Ok(read::<Option<Vec<Secret>>>(&self.ask("GET", &path).await?)?.unwrap_or_default())
    }

    /// Creates a secret.
    pub async fn create_secret(&self, secret: &Secret) -> Result<(), ClientError> {
        self.send("POST", "/system/secrets", secret).await
    }

    /// Changes a secret.
    pub async fn update_secret(&self, secret: &Secret) -> Result<(), ClientError> {
        self.send("PUT", "/system/secrets", secret).await
    }

    /// Deletes a secret.
    pub async fn delete_secret(&self, secret: &Secret) -> Result<(), ClientError> {
        self.send("DELETE", &with_namespace("/system/secrets", &secret.namespace), secret).await
    }

    /// Creates a namespace; its labels must carry [`wire::namespace::MARK`].
    pub async fn create_namespace(&self, namespace: &Namespace) -> Result<(), ClientError> {
        self.send("POST", "/system/namespace/", namespace).await
    }

    /// What is known of an asynchronous invocation.
    pub async fn call(&self, call_id: &str) -> Result<CallStatus, ClientError> {
        let id: String = url::form_urlencoded::byte_serialize(call_id.as_bytes()).collect();
        read(&self.ask("GET", &format!("/system/calls/{id}")).await?)
    }

    /// Invocations that were given up, newest first.
    pub async fn dead_letters(&self) -> Result<Vec<CallStatus>, ClientError> {
        read(&self.ask("GET", "/system/dead-letters").await?)
    }

    /// Whether the gateway is well.
    pub async fn healthz(&self) -> Result<(), ClientError> {
        self.exchange("GET", "/healthz", HeaderMap::new(), Bytes::new(), false).await.map(drop)
    }

    /// Waits until the gateway is well, at most `limit`; fails with what it said last.
    pub async fn wait_ready(&self, limit: Duration) -> Result<(), ClientError> {
        let begun = Instant::now();
        loop {
            match self.healthz().await {
                Ok(()) => return Ok(()),
                Err(error) if begun.elapsed() >= limit => return Err(error),
                Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// Hands over an asynchronous invocation. When this returns Ok it is on the gateway's disk.
    pub async fn post_async(
        &self,
        function: &FunctionName,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<CallId, ClientError> {
        let path = format!("/async-function/{function}");
        let answer = self.exchange("POST", &path, headers, body, false).await?;
        if answer.status.as_u16() != 202 {
            // A proxy or another server answers here: nothing was queued.
            let (method, url) = (answer.method, answer.url);
            return Err(ClientError::Unreadable { method, url, why: format!("{}, not 202", answer.status) });
        }
        let id = answer.headers.get(wire::header::CALL_ID).and_then(|id| id.to_str().ok());
        Ok(CallId(id.unwrap_or_default().to_owned()))
    }

    async fn ask(&self, method: &'static str, path: &str) -> Result<Answer, ClientError> {
        self.exchange(method, path, HeaderMap::new(), Bytes::new(), true).await
    }

    async fn send(&self, method: &'static str, path: &str, body: &impl Serialize) -> Result<(), ClientError> {
        let body = serde_json::to_vec(body)
            .map_err(|error| ClientError::Request { url: path.to_owned(), why: error.to_string() })?;
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        self.exchange(method, path, headers, body.into(), true).await.map(drop)
    }

    async fn exchange(
        &self,
        method: &'static str,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
        signed: bool,
    ) -> Result<Answer, ClientError> {
        self.0.exchange(Ask { method, path, headers, body, signed }).await?.accepted()
    }
}

fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, ClientError> {
    serde_json::from_slice(&answer.body).map_err(|error| ClientError::Unreadable {
        method: answer.method,
        url: answer.url.clone(),
        why: error.to_string(),
    })
}

fn with_namespace(path: &str, namespace: &str) -> String {
    if namespace.is_empty() {
        return path.to_owned();
    }
    let namespace: String = url::form_urlencoded::byte_serialize(namespace.as_bytes()).collect();
    format!("{path}?namespace={namespace}")
}
