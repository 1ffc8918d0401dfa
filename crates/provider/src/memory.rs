//! A provider that runs nothing: functions are records, and a script says which of them are ready.
//!
//! For tests of whoever talks to a provider. It keeps every promise of [`Provider`] but the disk.

mod state;

use crate::replicas::{Address, ReplicaTable, TableWriter};
use crate::{Deployed, LogQuery, Provider, ProviderError, Result, check};
use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use state::{Function, Space, State};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use wire::function::{FunctionDeployment, FunctionStatus};
use wire::info::{ProviderInfo, Version};
use wire::log::LogLine;
use wire::namespace::{MARK, Namespace};
use wire::{DEFAULT_NAMESPACE, FunctionName};

/// When functions were first deployed, unless [`MemoryProvider::set_created_at`] says otherwise: the provider reads no
/// clock.
const CREATED_AT: &str = "2026-01-02T03:04:05Z";

/// What becomes of a function's replicas.
#[derive(Clone, Debug)]
pub struct Script {
    /// Where replicas listen.
    pub address: Address,
    /// How many get ready at most, however many are wanted.
    pub at_most: u32,
    /// Why no more get ready, as the table tells it.
    pub trouble: Option<String>,
    /// Scaling fails with this text.
    pub refuses_to_scale: Option<String>,
    /// How long after replicas are ready a scaling returns, as on a slow disk.
    pub slow_to_keep: Duration,
}

impl Default for Script {
    /// As many as wanted, at an address where nobody listens.
    fn default() -> Self {
        Self::at(Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 9))))
    }
}

impl Script {
    /// As many as wanted, at `address`.
    #[must_use]
    pub const fn at(address: Address) -> Self {
        Self { address, at_most: u32::MAX, trouble: None, refuses_to_scale: None, slow_to_keep: Duration::ZERO }
    }
}

/// The in-memory provider.
#[derive(Debug)]
pub struct MemoryProvider {
    default_namespace: String,
    images: Option<BTreeSet<String>>,
    pace: Duration,
    begun: AtomicU32,
    table: TableWriter,
    /// Held for a few map operations, never across an await.
    state: Mutex<State>,
}

impl Default for MemoryProvider {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryProvider {
    /// A provider without functions that takes every image.
    #[must_use]
    pub fn new() -> Self {
        Self::in_namespace(DEFAULT_NAMESPACE)
    }

    /// The same with another default namespace.
    #[must_use]
    pub fn in_namespace(name: &str) -> Self {
        let mark = || [MARK].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let namespace = Namespace { name: name.to_owned(), labels: mark(), annotations: mark() };
        let space = Space { namespace, ..Space::default() };
        let state = State { spaces: [(name.to_owned(), space)].into(), ..State::default() };
        Self {
            default_namespace: name.to_owned(),
            images: None,
            pace: Duration::ZERO,
            begun: AtomicU32::new(0),
            table: TableWriter::default(),
            state: Mutex::new(state),
        }
    }

    /// A provider that has these images only.
    #[must_use]
    pub fn with_images<'a>(images: impl IntoIterator<Item = &'a str>) -> Self {
        Self { images: Some(images.into_iter().map(str::to_owned).collect()), ..Self::new() }
    }

    /// How many deployments, updates and removals have begun.
    #[must_use]
    pub fn begun(&self) -> u32 {
        self.begun.load(Ordering::Relaxed)
    }

    /// What every deployment, update and removal begins with.
    async fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(self.pace).await;
    }

    /// Makes every deployment, update and removal take so long.
    #[must_use]
    pub fn slowed(self, pace: Duration) -> Self {
        Self { pace, ..self }
    }

    /// Says what becomes of a function's replicas, from now on; the function need not be deployed yet.
    pub fn script(&self, name: &FunctionName, script: Script) {
        let mut state = self.state();
        state.scripts.insert(name.clone(), script);
        self.publish(&state, name);
    }

    /// How often [`Provider::scale`] was called for a function.
    #[must_use]
    pub fn scalings(&self, name: &FunctionName) -> u32 {
        self.state().scalings.get(name).copied().unwrap_or(0)
    }

    /// Sets when a function was first deployed, RFC 3339.
    pub fn set_created_at(&self, name: &FunctionName, at: &str) -> Result<()> {
        at.clone_into(&mut self.state().function(name)?.created_at);
        Ok(())
    }

    /// Adds a line to the log of the function it names.
    pub fn log(&self, line: LogLine) -> Result<()> {
        let name = FunctionName::new(&line.name, &line.namespace)
            .map_err(|error| ProviderError::Invalid(error.to_string()))?;
        self.state().function(&name)?.log.send_modify(|lines| Arc::make_mut(lines).push(line));
        Ok(())
    }

    /// How many streams follow a function's log.
    #[must_use]
    pub fn followers(&self, name: &FunctionName) -> usize {
        self.state().function(name).map_or(0, |function| function.log.receiver_count())
    }

    /// A secret's value.
    #[must_use]
    pub fn secret(&self, namespace: &str, name: &str) -> Option<Vec<u8>> {
        self.state().spaces.get(namespace)?.secrets.get(name).cloned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the table what is true of a function.
    fn publish(&self, state: &State, name: &FunctionName) {
        match state.spaces.get(name.namespace()).and_then(|space| space.functions.get(name.name())) {
            None => self.table.remove(name),
            Some(function) => self.table.set(name, function.replicas(state.scripts.get(name))),
        }
    }

    /// Checks what can be checked without starting anything.
    fn check(&self, state: &State, deployment: &FunctionDeployment) -> Result<check::Checked> {
        let checked = check::deployment(deployment)?;
        let namespace = checked.name.namespace();
        let space = state.spaces.get(namespace).ok_or_else(|| ProviderError::NoNamespace(namespace.to_owned()))?;
        if self.images.as_ref().is_some_and(|images| !images.contains(&deployment.image)) {
            return Err(ProviderError::Invalid(format!("image {} not found: import it first", checked.image)));
        }
        match deployment.secrets.iter().find(|secret| !space.secrets.contains_key(*secret)) {
            Some(missing) => Err(check::missing_secret(&checked.name, missing)),
            None => Ok(checked),
        }
    }
}

#[async_trait]
impl Provider for MemoryProvider {
    fn info(&self) -> ProviderInfo {
        let version = Version { release: env!("CARGO_PKG_VERSION").to_owned(), ..Version::default() };
        ProviderInfo { provider: "crema-memory".to_owned(), version, orchestration: "memory".to_owned() }
    }

    fn default_namespace(&self) -> &str {
        &self.default_namespace
    }

    fn replicas(&self) -> ReplicaTable {
        self.table.table()
    }

    async fn list(&self, namespace: &str) -> Result<Vec<FunctionStatus>> {
        let mut state = self.state();
        state.space(namespace)?;
        let functions = &state.spaces[namespace].functions;
        let named =
            functions.iter().filter_map(|(name, function)| Some((FunctionName::new(name, namespace).ok()?, function)));
        Ok(named.map(|(name, function)| state.status(&name, function)).collect())
    }

    async fn status(&self, name: &FunctionName, _usage: bool) -> Result<FunctionStatus> {
        let state = self.state();
        let function = state.spaces.get(name.namespace()).and_then(|space| space.functions.get(name.name()));
        let function = function.ok_or_else(|| ProviderError::NoFunction(name.clone()))?;
        Ok(state.status(name, function))
    }

    async fn deploy(&self, mut deployment: FunctionDeployment) -> Result<Deployed> {
        self.begin().await;
        let mut state = self.state();
        let check::Checked { name, at_least, .. } = self.check(&state, &deployment)?;
        let space = state.space(name.namespace())?;
        if space.functions.contains_key(name.name()) {
            return Err(ProviderError::Exists(format!("function {name}")));
        }
        name.namespace().clone_into(&mut deployment.namespace);
        let log = watch::Sender::default();
        let created_at = CREATED_AT.to_owned();
        let function = Function { deployment, at_least, desired: at_least, created_at, log };
        space.functions.insert(name.name().to_owned(), function);
        self.publish(&state, &name);
        Ok(Deployed::Changed)
    }

    async fn update(&self, mut deployment: FunctionDeployment) -> Result<Deployed> {
        self.begin().await;
        let mut state = self.state();
        let name = check::deployment(&deployment)?.name;
        state.function(&name)?;
        let at_least = self.check(&state, &deployment)?.at_least;
        name.namespace().clone_into(&mut deployment.namespace);
        let function = state.function(&name)?;
        if function.deployment == deployment {
            return Ok(Deployed::Unchanged);
        }
        function.deployment = deployment;
        function.at_least = at_least;
        function.desired = if function.desired == 0 { 0 } else { function.desired.max(at_least) };
        self.publish(&state, &name);
        Ok(Deployed::Changed)
    }

    async fn delete(&self, name: &FunctionName, _purge: bool) -> Result<()> {
        self.begin().await;
        let mut state = self.state();
        state.function(name)?;
        state.space(name.namespace())?.functions.remove(name.name());
        self.publish(&state, name);
        Ok(())
    }

    async fn scale(&self, name: &FunctionName, replicas: u32) -> Result<()> {
        let slow_to_keep = {
            let mut state = self.state();
            state.function(name)?;
            *state.scalings.entry(name.clone()).or_default() += 1;
            let script = state.scripts.get(name);
            if let Some(why) = script.and_then(|script| script.refuses_to_scale.clone()) {
                return Err(ProviderError::failed(format!("scaling {name}"), why));
            }
            let slow_to_keep = script.map_or(Duration::ZERO, |script| script.slow_to_keep);
            state.function(name)?.desired = replicas;
            self.publish(&state, name);
            slow_to_keep
        };
        tokio::time::sleep(slow_to_keep).await;
        Ok(())
    }

    async fn logs(&self, name: &FunctionName, query: LogQuery) -> Result<BoxStream<'static, LogLine>> {
        let since = match &query.since {
            None => None,
            Some(text) => Some(text.parse::<Timestamp>().map_err(|_| {
                ProviderError::Invalid(format!("since: {text:?} is not a moment like 2026-01-02T03:04:05Z"))
            })?),
        };
        let log = self.state().function(name)?.log.subscribe();
        let lines = Arc::clone(&log.borrow());
        let wanted = move |line: &LogLine| {
            let late = since.is_none_or(|since| line.timestamp.parse::<Timestamp>().is_ok_and(|at| at >= since));
            late && query.instance.as_ref().is_none_or(|instance| *instance == line.instance)
        };
        let past: Vec<LogLine> = lines.iter().filter(|line| wanted(line)).cloned().collect();
        let past = past[past.len().saturating_sub(query.tail.unwrap_or(usize::MAX))..].to_vec();
        if !query.follow {
            return Ok(stream::iter(past).boxed());
        }
        let new = stream::unfold((log, lines.len()), |(mut log, seen)| async move {
            log.wait_for(|lines| lines.len() > seen).await.ok()?;
            let fresh = log.borrow()[seen..].to_vec();
            let seen = seen + fresh.len();
            Some((stream::iter(fresh), (log, seen)))
        });
        Ok(stream::iter(past).chain(new.flatten().filter(move |line| std::future::ready(wanted(line)))).boxed())
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        Ok(self.state().spaces.values().map(|space| space.namespace.clone()).collect())
    }

    async fn create_namespace(&self, namespace: Namespace) -> Result<()> {
        check::namespace(&namespace.name)?;
        let mut state = self.state();
        if state.spaces.contains_key(&namespace.name) {
            return Err(ProviderError::Exists(format!("namespace {}", namespace.name)));
        }
        state.spaces.insert(namespace.name.clone(), Space { namespace, ..Space::default() });
        Ok(())
    }

    async fn update_namespace(&self, namespace: Namespace) -> Result<()> {
        let mut state = self.state();
        let space = state.space(&namespace.name)?;
        space.namespace = namespace;
        Ok(())
    }

    async fn delete_namespace(&self, name: &str) -> Result<()> {
        let mut state = self.state();
        let functions = state.space(name)?.functions.len();
        if name == self.default_namespace {
            return Err(ProviderError::Conflict(format!("namespace {name} is the default one and stays")));
        }
        if functions > 0 {
            return Err(ProviderError::Conflict(format!(
                "namespace {name} has {functions} functions: remove them first"
            )));
        }
        state.spaces.remove(name);
        Ok(())
    }

    async fn secrets(&self, namespace: &str) -> Result<Vec<String>> {
        Ok(self.state().space(namespace)?.secrets.keys().cloned().collect())
    }

    async fn create_secret(&self, namespace: &str, name: &str, value: Vec<u8>) -> Result<()> {
        check::secret(name)?;
        let mut state = self.state();
        let secrets = &mut state.space(namespace)?.secrets;
        if secrets.contains_key(name) {
            return Err(ProviderError::Exists(format!("secret {name}")));
        }
        secrets.insert(name.to_owned(), value);
        Ok(())
    }

    async fn update_secret(&self, namespace: &str, name: &str, value: Vec<u8>) -> Result<()> {
        check::secret(name)?;
        match self.state().space(namespace)?.secrets.get_mut(name) {
            Some(old) => *old = value,
            None => return Err(no_secret(namespace, name)),
        }
        Ok(())
    }

    async fn delete_secret(&self, namespace: &str, name: &str) -> Result<()> {
        check::secret(name)?;
        let mut state = self.state();
        let space = state.space(namespace)?;
        if !space.secrets.contains_key(name) {
            return Err(no_secret(namespace, name));
        }
        let mounts = |function: &&Function| function.deployment.secrets.iter().any(|secret| secret == name);
        if let Some(function) = space.functions.values().find(mounts) {
            let function = &function.deployment.service;
            return Err(ProviderError::Conflict(format!(
                "function {function}.{namespace} mounts the secret {name}: remove the function first, or deploy it \
                 without the secret"
            )));
        }
        space.secrets.remove(name);
        Ok(())
    }
}

fn no_secret(namespace: &str, name: &str) -> ProviderError {
    ProviderError::NoSecret { name: name.to_owned(), namespace: namespace.to_owned() }
}
