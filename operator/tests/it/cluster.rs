//! A namespace of a test's own, and operators that look after it.

use daemon::{Env, ProcessEnv, Stopper, SystemClock};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Uri};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::client::{Body, ClientBuilder};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt};
use kubernetes::Function;
use operator::{Config, Election, Operator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tower::BoxError;
use tower::util::{MapFutureLayer, MapRequestLayer};

/// How long a test waits for something to become true, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(100);

/// An image that no node has and no registry gives.
pub(crate) const NO_IMAGE: &str = "crema.invalid/nothing:1";

/// A namespace of a test's own.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

/// Held by those that do not mind others, and alone by one that keeps the whole cluster busy.
static BUSY: RwLock<()> = RwLock::new(());

/// Runs a test in a namespace of its own, which is deleted afterwards, however it ends.
pub(crate) fn test<F>(name: &str, body: impl FnOnce(Cluster) -> F)
where
    F: Future<Output = ()>,
{
    let _shared = BUSY.read().unwrap_or_else(PoisonError::into_inner);
    run(name, body);
}

/// The same for a test that keeps the whole cluster busy.
pub(crate) fn test_alone<F>(name: &str, body: impl FnOnce(Cluster) -> F)
where
    F: Future<Output = ()>,
{
    let _alone = BUSY.write().unwrap_or_else(PoisonError::into_inner);
    run(name, body);
}

fn run<F>(name: &str, body: impl FnOnce(Cluster) -> F)
where
    F: Future<Output = ()>,
{
    if ProcessEnv.get("KUBECONFIG").is_none() {
        eprintln!("SKIPPED {name}: no KUBECONFIG");
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let client = kubernetes::client().await.unwrap();
        let unique = &uuid::Uuid::new_v4().simple().to_string()[..8];
        let cluster = Cluster { client, namespace: format!("operator-it-{unique}") };
        cluster.define().await;
        cluster.make_namespace().await;
        let ended = AssertUnwindSafe(body(cluster.clone())).catch_unwind().await;
        cluster.delete_namespace().await;
        if let Err(failed) = ended {
            resume_unwind(failed);
        }
    });
}

impl Cluster {
    async fn define(&self) {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        for definition in kubernetes::definitions() {
            let params = PatchParams::apply("operator-tests").force();
            api.patch(&definition.name_any(), &params, &Patch::Apply(&definition)).await.unwrap();
        }
        let established = async || {
            let definition = api.get("functions.openfaas.com").await.unwrap();
            let conditions = definition.status.and_then(|status| status.conditions).unwrap_or_default();
            conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
        };
        eventually("the definitions are there", established).await;
    }

    pub(crate) async fn make_namespace(&self) {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let labels = [("pod-security.kubernetes.io/enforce".to_owned(), "restricted".to_owned())];
        let metadata =
            ObjectMeta { name: Some(self.namespace.clone()), labels: Some(labels.into()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        eventually("the namespace is made", async || api.create(&PostParams::default(), &namespace).await.is_ok())
            .await;
    }

    pub(crate) async fn delete_namespace(&self) {
        let api: Api<Namespace> = Api::all(self.client.clone());
        api.delete(&self.namespace, &DeleteParams::default()).await.map(drop).unwrap_or_default();
    }

    pub(crate) fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Makes an object as someone who is not the operator.
    pub(crate) async fn make<K>(&self, object: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize,
    {
        let object: K = serde_json::from_value(object).unwrap();
        self.api().create(&PostParams::default(), &object).await.unwrap()
    }

    /// Makes a Function that asks for no replica, with more of a spec.
    pub(crate) async fn function(&self, name: &str, more: Value) -> Function {
        self.make(function(name, more)).await
    }

    pub(crate) async fn patch<K>(&self, name: &str, patch: Value)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let params = PatchParams { field_manager: Some("someone".to_owned()), ..PatchParams::default() };
        self.api::<K>().patch(name, &params, &Patch::Merge(patch)).await.unwrap();
    }

    pub(crate) async fn scale(&self, name: &str, replicas: i32) {
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        self.api::<Function>().patch_scale(name, &PatchParams::default(), &patch).await.unwrap();
    }

    pub(crate) async fn delete<K>(&self, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        self.api::<K>().delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Waits until an object is as a test wants it, and returns it.
    pub(crate) async fn until<K>(&self, name: &str, wanted: impl Fn(&K) -> bool) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let (api, until) = (self.api::<K>(), Instant::now() + PATIENCE);
        loop {
            let object = api.get_opt(name).await.unwrap();
            if let Some(object) = object.as_ref().filter(|object| wanted(object)) {
                return object.clone();
            }
            assert!(Instant::now() < until, "{} {name} did not become as it should: {object:?}", K::kind(&()));
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(crate) async fn until_gone<K>(&self, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let api = self.api::<K>();
        eventually("it is gone", async || api.get_opt(name).await.unwrap().is_none()).await;
    }

    /// Waits until a condition has this status and reason; returns its message.
    pub(crate) async fn says(&self, name: &str, kind: &str, status: &str, reason: &str) -> String {
        let wanted =
            |function: &Function| condition(function, kind).is_some_and(|found| found.0 == status && found.1 == reason);
        let function = self.until(name, wanted).await;
        condition(&function, kind).unwrap().2
    }

    pub(crate) async fn ready(&self, name: &str) -> Function {
        let ready = |function: &Function| {
            let observed = function.status.as_ref().and_then(|status| status.observed_generation);
            observed == function.metadata.generation
                && condition(function, "Ready").is_some_and(|(status, ..)| status == "True")
        };
        self.until(name, ready).await
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            function_namespace: self.namespace.clone(),
            profiles_namespace: self.namespace.clone(),
            metrics: ([127, 0, 0, 1], 0).into(),
            ..Config::default()
        }
    }

    pub(crate) fn candidate(&self, identity: &str) -> Config {
        let election = Election { namespace: self.namespace.clone(), identity: identity.to_owned() };
        Config { election: Some(election), ..self.config() }
    }

    pub(crate) async fn operate(&self) -> Running {
        Running::start(self.config()).await
    }
}

/// A Function that asks for no replica, with more of a spec.
pub(crate) fn function(name: &str, more: Value) -> Value {
    let mut spec = json!({"name": name, "image": NO_IMAGE, "replicas": 0});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"apiVersion": "openfaas.com/v1", "kind": "Function", "metadata": {"name": name}, "spec": spec})
}

/// Status, reason and message of a condition.
pub(crate) fn condition(function: &Function, kind: &str) -> Option<(String, String, String)> {
    let conditions = &function.status.as_ref()?.conditions;
    let found = conditions.iter().find(|condition| condition.type_ == kind)?.clone();
    Some((found.status, found.reason, found.message))
}

pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < until, "not in time: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// An operator.
pub(crate) struct Running {
    stopper: Stopper,
    task: JoinHandle<()>,
    line: Line,
}

/// The line between an operator and the API server.
#[derive(Clone, Default)]
pub(crate) struct Line {
    cut: Arc<AtomicBool>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Running {
    pub(crate) async fn start(config: Config) -> Self {
        Self::start_in(config, None).await
    }

    /// With the whole cluster reduced to one namespace where all of it is asked for: other tests share it.
    pub(crate) async fn start_in(config: Config, only: Option<String>) -> Self {
        let line = Line::default();
        let client = line.client(only).await;
        let (stopper, stop) = daemon::stop::pair();
        let operator = Operator::build(config, client, Arc::new(SystemClock)).await.unwrap();
        Self { stopper, task: tokio::spawn(operator.run(stop)), line }
    }

    /// Stops it as SIGTERM does.
    pub(crate) async fn stop(self) {
        self.stopper.stop();
        self.task.await.unwrap();
    }

    /// Ends it as SIGKILL does.
    pub(crate) async fn kill(self) {
        self.task.abort();
        self.task.await.unwrap_err();
    }

    /// What it has asked since the last time, but for the Lease.
    pub(crate) fn asked(&self) -> Vec<String> {
        let mut requests = std::mem::take(&mut *self.line.requests.lock().unwrap());
        requests.retain(|request| !request.contains("/leases/"));
        requests
    }

    /// Waits until it has asked nothing for a while; watches aside.
    pub(crate) async fn settled(&self) {
        let mut quiet = Instant::now();
        eventually("it is quiet", async || {
            if self.asked().iter().any(|request| !request.contains("watch=true")) {
                quiet = Instant::now();
            }
            quiet.elapsed() > Duration::from_secs(3)
        })
        .await;
    }

    pub(crate) fn cut(&self, cut: bool) {
        self.line.cut.store(cut, Ordering::Relaxed);
    }
}

impl Line {
    async fn client(&self, only: Option<String>) -> Client {
        let config = kube::Config::infer().await.unwrap();
        let (cut, requests) = (Arc::clone(&self.cut), Arc::clone(&self.requests));
        let request = move |mut request: Request<Body>| {
            if let Some(only) = &only {
                *request.uri_mut() = narrowed(request.uri(), only);
            }
            requests.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
            request
        };
        ClientBuilder::try_from(config)
            .unwrap()
            .with_layer(&MapRequestLayer::new(request))
            .with_layer(&MapFutureLayer::new(unless(cut)))
            .build()
    }
}

/// The answer, unless the line is cut by then.
fn unless<A, T>(cut: Arc<AtomicBool>) -> impl Fn(A) -> BoxFuture<'static, Result<T, BoxError>> + Clone
where
    A: Future<Output = Result<T, BoxError>> + Send + 'static,
{
    move |answer| {
        let cut = cut.load(Ordering::Relaxed);
        async move { if cut { Err("the line is cut".into()) } else { answer.await } }.boxed()
    }
}

/// A list of all namespaces' objects becomes one of one namespace's.
fn narrowed(uri: &Uri, namespace: &str) -> Uri {
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    if path.contains("/namespaces") {
        return uri.clone();
    }
    let (prefix, kind) = path.rsplit_once('/').unwrap();
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(format!("{prefix}/namespaces/{namespace}/{kind}?{query}").parse().unwrap());
    Uri::from_parts(parts).unwrap()
}
