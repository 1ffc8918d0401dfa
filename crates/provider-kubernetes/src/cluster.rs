//! The provider: reads from the board, writes to the API server.

use crate::board::Board;
use crate::config::Config;
use crate::functions::Functions;
use crate::logs;
use crate::namespaces::Namespaces;
use crate::secrets::Secrets;
use crate::usage::Meter;
use crate::watching::{Kind, Source, follow};
use async_trait::async_trait;
use daemon::Stop;
use futures_util::future::{BoxFuture, FutureExt, join_all};
use futures_util::stream::BoxStream;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace as NamespaceObject;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client, Resource};
use kubernetes::{ClientError, Function};
use provider::{Deployed, LogQuery, Provider, ReplicaTable, Result, check};
use std::fmt;
use std::sync::Arc;
use wire::FunctionName;
use wire::function::{FunctionDeployment, FunctionStatus};
use wire::info::ProviderInfo;
use wire::log::LogLine;
use wire::namespace::Namespace;

/// Runs functions on a Kubernetes cluster.
pub struct KubernetesProvider {
    config: Config,
    client: Client,
    board: Board,
    meter: Meter,
}

impl fmt::Debug for KubernetesProvider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("KubernetesProvider").field("config", &self.config).finish_non_exhaustive()
    }
}

impl KubernetesProvider {
    /// A provider for the cluster of the pod we run in, or the one that a kubeconfig names. Nothing is asked of it before
    /// [`KubernetesProvider::run`].
    pub async fn build(config: Config) -> std::result::Result<Arc<Self>, ClientError> {
        Ok(Self::with_client(config, kubernetes::client_with_patience(Some(kubernetes::SILENCE)).await?))
    }

    /// The same with a client that is there.
    #[must_use]
    pub fn with_client(config: Config, client: Client) -> Arc<Self> {
        let board = Board::new(&config, sources(&config));
        Arc::new(Self { config, client, board, meter: Meter::default() })
    }

    /// Follows the cluster until stopped. Calls wait until it has been read once; when the API server goes away
    /// afterwards, the table stays as it is.
    pub async fn run(self: Arc<Self>, stop: Stop) {
        let followers = join_all(sources(&self.config).into_iter().map(|source| self.follow(source)));
        tokio::select! {
            _ = followers => {}
            () = stop.stopped() => {}
        }
    }

    fn follow(&self, source: Source) -> BoxFuture<'_, ()> {
        match source.what {
            Function::WHAT => follow(self.api::<Function>(&source), source, &self.board).boxed(),
            EndpointSlice::WHAT => follow(self.api::<EndpointSlice>(&source), source, &self.board).boxed(),
            _ => follow(Api::<NamespaceObject>::all(self.client.clone()), source, &self.board).boxed(),
        }
    }

    fn api<K>(&self, source: &Source) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        match &source.namespace {
            None => Api::all(self.client.clone()),
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
        }
    }

    fn functions(&self) -> Functions<'_> {
        Functions { client: &self.client, board: &self.board, config: &self.config }
    }

    fn spaces(&self) -> Namespaces<'_> {
        Namespaces { client: &self.client, board: &self.board, config: &self.config }
    }

    fn ready(&self, name: &FunctionName) -> usize {
        self.replicas().get(name).map_or(0, |replicas| replicas.ready.len())
    }
}

/// What is followed: with rights in the whole cluster all of it, else each namespace of its own.
fn sources(config: &Config) -> Vec<Source> {
    let kinds = [Function::WHAT, EndpointSlice::WHAT];
    if config.cluster_role {
        let all = kinds.into_iter().chain([NamespaceObject::WHAT]);
        return all.map(|what| Source { what, namespace: None }).collect();
    }
    let of = |namespace: &String| kinds.map(|what| Source { what, namespace: Some(namespace.clone()) });
    config.function_namespaces.iter().flat_map(of).collect()
}

#[async_trait]
impl Provider for KubernetesProvider {
    fn info(&self) -> ProviderInfo {
        ProviderInfo {
            provider: "crema".to_owned(),
            version: self.config.version.clone(),
            orchestration: "kubernetes".to_owned(),
        }
    }

    fn default_namespace(&self) -> &str {
        self.config.default_namespace()
    }

    fn replicas(&self) -> ReplicaTable {
        self.board.table()
    }

    async fn list(&self, namespace: &str) -> Result<Vec<FunctionStatus>> {
        check::namespace(namespace)?;
        self.board.read().await?;
        self.board.check_space(namespace)?;
        let functions = self.board.functions(namespace);
        Ok(functions.iter().map(|(name, wanted)| wanted.status(name, self.ready(name))).collect())
    }

    async fn status(&self, name: &FunctionName, usage: bool) -> Result<FunctionStatus> {
        self.board.read().await?;
        let wanted = self.functions().find(name).await?;
        let mut status = wanted.status(name, self.ready(name));
        if usage {
            status.usage = self.meter.measure(&self.client, name).await;
        }
        Ok(status)
    }

    async fn deploy(&self, deployment: FunctionDeployment) -> Result<Deployed> {
        self.board.read().await?;
        self.functions().deploy(deployment).await
    }

    async fn update(&self, deployment: FunctionDeployment) -> Result<Deployed> {
        self.board.read().await?;
        self.functions().update(deployment).await
    }

    async fn delete(&self, name: &FunctionName, purge: bool) -> Result<()> {
        self.board.read().await?;
        self.functions().find(name).await?;
        self.functions().delete(name, purge).await
    }

    async fn scale(&self, name: &FunctionName, replicas: u32) -> Result<()> {
        self.board.read().await?;
        self.functions().scale(name, replicas).await
    }

    async fn wake(&self, name: &FunctionName, replicas: u32) -> Result<()> {
        self.functions().wake(name, replicas).await
    }

    async fn logs(&self, name: &FunctionName, query: LogQuery) -> Result<BoxStream<'static, LogLine>> {
        let since = logs::since(&query)?;
        self.board.read().await?;
        self.functions().find(name).await?;
        logs::open(&self.client, name, query, since, self.replicas()).await
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        self.board.read().await?;
        Ok(self.spaces().list())
    }

    async fn create_namespace(&self, namespace: Namespace) -> Result<()> {
        self.board.read().await?;
        self.spaces().create(namespace).await
    }

    async fn update_namespace(&self, namespace: Namespace) -> Result<()> {
        self.board.read().await?;
        self.spaces().update(namespace).await
    }

    async fn delete_namespace(&self, name: &str) -> Result<()> {
        check::namespace(name)?;
        self.board.read().await?;
        self.spaces().delete(name).await
    }

    async fn secrets(&self, namespace: &str) -> Result<Vec<String>> {
        self.board.read().await?;
        self.board.check_space(namespace)?;
        Secrets::of(&self.client, namespace).list().await
    }

    async fn create_secret(&self, namespace: &str, name: &str, value: Vec<u8>) -> Result<()> {
        check::secret(name)?;
        self.board.read().await?;
        self.board.check_space(namespace)?;
        Secrets::of(&self.client, namespace).create(name, value).await
    }

    async fn update_secret(&self, namespace: &str, name: &str, value: Vec<u8>) -> Result<()> {
        check::secret(name)?;
        self.board.read().await?;
        self.board.check_space(namespace)?;
        Secrets::of(&self.client, namespace).update(name, value).await
    }

    async fn delete_secret(&self, namespace: &str, name: &str) -> Result<()> {
        check::secret(name)?;
        self.board.read().await?;
        self.board.check_space(namespace)?;
        Secrets::of(&self.client, namespace).delete(name, &self.board).await
    }
}
