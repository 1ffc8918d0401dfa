//! A provider under other namespaces: the suite says `openfaas-fn` and `shop`, and each test means its own.

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use provider::{Deployed, LogQuery, Provider, ProviderError, ReplicaTable, Result, TableWriter};
use std::sync::{Arc, Mutex};
use tokio_util::task::AbortOnDropHandle;
use wire::FunctionName;
use wire::function::{FunctionDeployment, FunctionStatus};
use wire::info::ProviderInfo;
use wire::log::LogLine;
use wire::namespace::Namespace;

/// What the suite calls its namespaces, and what they are called in the cluster after the prefix.
const NAMES: [(&str, &str); 3] = [(wire::DEFAULT_NAMESPACE, "fn"), ("shop", "shop"), ("nope", "nope")];

#[derive(Clone)]
struct Names(String);

impl Names {
    fn there(&self, name: &str) -> String {
        let name = if name.is_empty() { wire::DEFAULT_NAMESPACE } else { name };
        let found = NAMES.iter().find(|(here, _)| *here == name);
        found.map_or_else(|| name.to_owned(), |(_, there)| format!("{}-{there}", self.0))
    }

    fn here(&self, name: &str) -> Option<&'static str> {
        let there = name.strip_prefix(&self.0)?.strip_prefix('-')?;
        NAMES.iter().find(|(_, name)| *name == there).map(|(here, _)| *here)
    }

    fn name(&self, name: &FunctionName) -> FunctionName {
        FunctionName::new(name.name(), &self.there(name.namespace())).unwrap()
    }
}

pub(crate) struct Elsewhere {
    inner: Arc<dyn Provider>,
    names: Names,
    table: Arc<Mutex<TableWriter>>,
    _pump: AbortOnDropHandle<()>,
}

impl Elsewhere {
    pub(crate) fn new(inner: Arc<dyn Provider>, prefix: &str) -> Self {
        let names = Names(prefix.to_owned());
        let table = Arc::new(Mutex::new(TableWriter::default()));
        let mut inside = inner.replicas();
        let (pumped, here) = (Arc::clone(&table), names.clone());
        let pump = tokio::spawn(async move {
            loop {
                copy(&inside, &pumped, &here);
                if !inside.changed().await {
                    return;
                }
            }
        });
        Self { inner, names, table, _pump: AbortOnDropHandle::new(pump) }
    }

    /// What is true inside is true here before a call returns.
    fn done<T>(&self, result: Result<T>) -> Result<T> {
        copy(&self.inner.replicas(), &self.table, &self.names);
        result.map_err(|error| match error {
            ProviderError::NoFunction(name) => {
                let namespace = self.names.here(name.namespace()).unwrap_or("elsewhere");
                ProviderError::NoFunction(FunctionName::new(name.name(), namespace).unwrap())
            }
            other => other,
        })
    }

    fn status(&self, status: FunctionStatus) -> FunctionStatus {
        let namespace = self.names.here(&status.namespace).unwrap().to_owned();
        FunctionStatus { namespace, ..status }
    }

    fn deployment(&self, wanted: FunctionDeployment) -> FunctionDeployment {
        FunctionDeployment { namespace: self.names.there(&wanted.namespace), ..wanted }
    }

    fn namespace(&self, namespace: Namespace) -> Namespace {
        let name = if namespace.name.is_empty() { String::new() } else { self.names.there(&namespace.name) };
        Namespace { name, ..namespace }
    }

    fn space(&self, name: &str) -> String {
        if name.is_empty() { String::new() } else { self.names.there(name) }
    }
}

fn copy(inside: &ReplicaTable, table: &Mutex<TableWriter>, names: &Names) {
    let table = table.lock().unwrap();
    let inside = inside.snapshot();
    for name in table.table().snapshot().keys() {
        if !inside.contains_key(&names.name(name)) {
            table.remove(name);
        }
    }
    for (name, replicas) in inside.iter() {
        if let Some(namespace) = names.here(name.namespace()) {
            table.set(&FunctionName::new(name.name(), namespace).unwrap(), (**replicas).clone());
        }
    }
}

#[async_trait]
impl Provider for Elsewhere {
    fn info(&self) -> ProviderInfo {
        self.inner.info()
    }

    fn replicas(&self) -> ReplicaTable {
        self.table.lock().unwrap().table()
    }

    async fn list(&self, namespace: &str) -> Result<Vec<FunctionStatus>> {
        let listed = self.inner.list(&self.space(namespace)).await;
        self.done(listed.map(|all| all.into_iter().map(|status| self.status(status)).collect()))
    }

    async fn status(&self, name: &FunctionName, usage: bool) -> Result<FunctionStatus> {
        let status = self.inner.status(&self.names.name(name), usage).await;
        self.done(status.map(|status| self.status(status)))
    }

    async fn deploy(&self, deployment: FunctionDeployment) -> Result<Deployed> {
        self.done(self.inner.deploy(self.deployment(deployment)).await)
    }

    async fn update(&self, deployment: FunctionDeployment) -> Result<Deployed> {
        self.done(self.inner.update(self.deployment(deployment)).await)
    }

    async fn delete(&self, name: &FunctionName, purge: bool) -> Result<()> {
        self.done(self.inner.delete(&self.names.name(name), purge).await)
    }

    async fn scale(&self, name: &FunctionName, replicas: u32) -> Result<()> {
        self.done(self.inner.scale(&self.names.name(name), replicas).await)
    }

    async fn wake(&self, name: &FunctionName, replicas: u32) -> Result<()> {
        self.done(self.inner.wake(&self.names.name(name), replicas).await)
    }

    async fn logs(&self, name: &FunctionName, query: LogQuery) -> Result<BoxStream<'static, LogLine>> {
        let names = self.names.clone();
        let lines = self.inner.logs(&self.names.name(name), query).await?;
        let here = move |line: LogLine| {
            let namespace = names.here(&line.namespace).unwrap().to_owned();
            LogLine { namespace, ..line }
        };
        Ok(lines.map(here).boxed())
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        let all = self.inner.namespaces().await?;
        let here = |namespace: Namespace| {
            let name = self.names.here(&namespace.name)?.to_owned();
            Some(Namespace { name, ..namespace })
        };
        self.done(Ok(all.into_iter().filter_map(here).collect()))
    }

    async fn create_namespace(&self, namespace: Namespace) -> Result<()> {
        self.done(self.inner.create_namespace(self.namespace(namespace)).await)
    }

    async fn update_namespace(&self, namespace: Namespace) -> Result<()> {
        self.done(self.inner.update_namespace(self.namespace(namespace)).await)
    }

    async fn delete_namespace(&self, name: &str) -> Result<()> {
        self.done(self.inner.delete_namespace(&self.space(name)).await)
    }

    async fn secrets(&self, namespace: &str) -> Result<Vec<String>> {
        self.inner.secrets(&self.space(namespace)).await
    }

    async fn create_secret(&self, namespace: &str, name: &str, value: Vec<u8>) -> Result<()> {
        self.inner.create_secret(&self.space(namespace), name, value).await
    }

    async fn update_secret(&self, namespace: &str, name: &str, value: Vec<u8>) -> Result<()> {
        self.inner.update_secret(&self.space(namespace), name, value).await
    }

    async fn delete_secret(&self, namespace: &str, name: &str) -> Result<()> {
        self.inner.delete_secret(&self.space(namespace), name).await
    }
}
