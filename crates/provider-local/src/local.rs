//! The provider: takes wishes, checks them, puts them on disk and wakes the reconcile loop.
//!
//! What touches the disk runs on blocking threads, one change at a time; reading never waits for it.

mod changes;

use crate::config::Config;
use crate::data::Data;
use crate::desired::{Desired, Entry, Files, Standing};
use crate::disk;
use crate::images::Images;
use crate::logs::Logs;
use crate::namespaces::Namespaces;
use crate::process::{ProcessRuntime, Processes, Surroundings};
use crate::reconcile::{Patience, Reconciler, Save};
use crate::runtime::{Running, Runtime, Sample};
use crate::secrets::Secrets;
use crate::state::{Seen, State};
use crate::upkeep::Upkeep;
use async_trait::async_trait;
use changes::Changes;
use daemon::{Clock, Stop};
use futures_util::stream::BoxStream;
use image::Store;
use provider::{Deployed, Door, LogQuery, Provider, ProviderError, ReplicaTable, Result};
use sandbox::Level;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use wire::function::{FunctionDeployment, FunctionStatus, Usage};
use wire::info::{ProviderInfo, Version};
use wire::log::LogLine;
use wire::namespace::Namespace;
use wire::{FunctionName, annotation};

/// The longest path a Unix socket can have.
const LONGEST_SOCKET: usize = 107;
/// The time CPU use is measured over.
const USAGE_WINDOW: Duration = Duration::from_millis(200);

/// Runs functions on this machine.
pub struct LocalProvider {
    changes: Arc<Changes>,
    upkeep: Upkeep,
    runtime: Arc<dyn Runtime>,
    patience: Patience,
    surroundings: Surroundings,
    version: Version,
}

/// Why the provider cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The directory for sockets has too long a path.
    #[error(
        "the directory {dir} is too long for sockets: they would be called {socket}, and the system takes at most \
         {LONGEST_SOCKET} characters; choose a shorter one"
    )]
    SocketPath {
        /// The directory.
        dir: PathBuf,
        /// The longest path that would come of it.
        socket: PathBuf,
    },
    /// What is on disk cannot be used.
    #[error("{what}: {source}")]
    Disk {
        /// What was being done.
        what: String,
        /// What happened.
        source: io::Error,
    },
}

impl LocalProvider {
    /// Reads what is on disk. Nothing runs before [`LocalProvider::run`].
    pub fn build(config: Config, images: Store, clock: Arc<dyn Clock>) -> std::result::Result<Arc<Self>, BuildError> {
        let socket = ProcessRuntime::longest_socket(&config);
        if socket.as_os_str().as_bytes().len() > LONGEST_SOCKET {
            return Err(BuildError::SocketPath { dir: config.run, socket });
        }
        let images = Images::new(images);
        let secrets = Arc::new(Secrets::new(&config.secrets));
        let logs = Arc::new(Logs::new(&config.logs, config.log_limits, Arc::clone(&clock)));
        let surroundings =
            Surroundings { gateway_url: Arc::new(Mutex::new(config.gateway_url.clone())), ..Surroundings::default() };
        let processes = ProcessRuntime::new(
            config.clone(),
            surroundings.clone(),
            images.clone(),
            Arc::clone(&secrets),
            Arc::clone(&logs),
        )
        .map_err(|source| BuildError::Disk { what: "start the thread that starts processes".to_owned(), source })?;
        Self::assemble(&config, images, secrets, logs, clock, surroundings, Arc::new(Processes(Arc::new(processes))))
    }

    fn assemble(
        config: &Config,
        images: Images,
        secrets: Arc<Secrets>,
        logs: Arc<Logs>,
        clock: Arc<dyn Clock>,
        surroundings: Surroundings,
        runtime: Arc<dyn Runtime>,
    ) -> std::result::Result<Arc<Self>, BuildError> {
        let failed = |what: &str| {
            let what = what.to_owned();
            move |source| BuildError::Disk { what, source }
        };
        for dir in [&config.functions, &config.secrets, &config.namespaces, &config.data, &config.logs, &config.run] {
            disk::make_dir(dir).map_err(failed(&format!("make the directory {}", dir.display())))?;
        }
        let files = Files::new(&config.functions);
        let functions = files.load().map_err(failed("read what is deployed"))?;
        let namespaces = Namespaces::open(&config.namespaces).map_err(failed("read the namespaces"))?;
        let data = Data::new(&config.data);
        let state = Arc::new(State::new(functions));
        let isolation = Arc::clone(&config.isolation);
        let upkeep = Upkeep {
            state: Arc::clone(&state),
            images: images.clone(),
            data: data.clone(),
            logs: Arc::clone(&logs),
            isolation: Arc::clone(&isolation),
            clock: Arc::clone(&clock),
            limits: config.images,
            measure_interval: config.measure_interval,
        };
        Ok(Arc::new(Self {
            upkeep,
            changes: Arc::new(Changes::new(files, namespaces, secrets, data, logs, images, isolation, clock, state)),
            runtime,
            patience: Patience { start: config.start_timeout, shutdown: config.shutdown_grace },
            surroundings,
            version: config.version.clone(),
        }))
    }

    /// Tells where functions reach the gateway, when that was not known yet. Replicas started before keep what they
    /// were told.
    pub fn set_gateway_url(&self, url: &str) {
        url.clone_into(&mut self.surroundings.gateway_url.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Gives the door that serves listeners in functions' own networks; the first one given stays. Functions started
    /// before have none.
    pub fn set_door(&self, door: Arc<dyn Door>) {
        self.surroundings.door.set(door).unwrap_or_default();
    }

    /// Runs functions until stopped; then no process of theirs is left. Stop it after whatever calls them.
    pub async fn run(self: Arc<Self>, stop: Stop) {
        let state = Arc::clone(&self.changes.state);
        let logs = Arc::clone(&self.changes.logs);
        let changes = Arc::clone(&self.changes);
        let save: Save = Arc::new(move |name| {
            if let Err(error) = changes.save(name) {
                tracing::warn!(%error, function = %name, "What became of a version cannot be put on disk");
            }
        });
        let reconciler = Reconciler::new(state, Arc::clone(&self.runtime), logs, self.patience, save);
        tokio::join!(reconciler.run(stop.clone()), self.upkeep.clone().run(stop));
        let isolation = Arc::clone(&self.changes.isolation);
        tokio::task::spawn_blocking(move || isolation.close()).await.unwrap_or_default();
    }

    /// Does something that touches the disk.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Changes) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let changes = Arc::clone(&self.changes);
        let done = tokio::task::spawn_blocking(move || work(&changes)).await;
        done.unwrap_or_else(|error| Err(ProviderError::failed("do what was asked", error)))
    }

    fn status_of(&self, name: &FunctionName, entry: &Entry) -> FunctionStatus {
        let seen = self.changes.state.seen(name);
        let data_trouble = self.changes.state.data_trouble(name);
        match entry {
            Entry::Known(desired) => status(desired, name, &seen, data_trouble.as_deref()),
            Entry::Unreadable(why) => FunctionStatus {
                name: name.name().to_owned(),
                namespace: name.namespace().to_owned(),
                annotations: [(annotation::STATUS.to_owned(), why.clone())].into(),
                created_at: wire::function::never(),
                ..FunctionStatus::default()
            },
        }
    }
}

#[async_trait]
impl Provider for LocalProvider {
    fn info(&self) -> ProviderInfo {
        ProviderInfo {
            provider: "crema".to_owned(),
            version: self.version.clone(),
            orchestration: "processes".to_owned(),
        }
    }

    fn replicas(&self) -> ReplicaTable {
        self.changes.state.table()
    }

    async fn list(&self, namespace: &str) -> Result<Vec<FunctionStatus>> {
        self.changes.namespaces.find(namespace)?;
        let functions = self.changes.state.functions();
        let wanted = functions.iter().filter(|(name, _)| name.namespace() == namespace);
        Ok(wanted.map(|(name, entry)| self.status_of(name, entry)).collect())
    }

    async fn status(&self, name: &FunctionName, usage: bool) -> Result<FunctionStatus> {
        let entry = self.changes.find(name)?;
        let mut status = self.status_of(name, &entry);
        let running = self.changes.state.seen(name).running;
        let isolation = &self.changes.isolation;
        if isolation.level() > Level::None {
            status.annotations.insert(annotation::ISOLATION_GIVEN.to_owned(), isolation.describe());
        }
        let usage = if usage && !running.is_empty() { measure(running).await } else { None };
        Ok(FunctionStatus { usage, ..status })
    }

    async fn deploy(&self, deployment: FunctionDeployment) -> Result<Deployed> {
        self.blocking(|changes| changes.deploy(deployment)).await
    }

    async fn update(&self, deployment: FunctionDeployment) -> Result<Deployed> {
        self.blocking(|changes| changes.update(deployment)).await
    }

    async fn delete(&self, name: &FunctionName, purge: bool) -> Result<()> {
        let name = name.clone();
        self.blocking(move |changes| changes.delete(&name, purge)).await
    }

    async fn scale(&self, name: &FunctionName, replicas: u32) -> Result<()> {
        let name = name.clone();
        self.blocking(move |changes| changes.scale(&name, replicas)).await
    }

    async fn logs(&self, name: &FunctionName, query: LogQuery) -> Result<BoxStream<'static, LogLine>> {
        self.changes.find(name)?;
        let since = query.since.as_deref().map(str::parse).transpose().map_err(|error: jiff::Error| {
            ProviderError::Invalid(format!("since: give a moment like 2026-01-31T12:00:00Z: {error}"))
        })?;
        Ok(self.changes.logs.of(name).read(&query, since))
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        Ok(self.changes.namespaces.list())
    }

    async fn create_namespace(&self, namespace: Namespace) -> Result<()> {
        self.blocking(|changes| changes.create_namespace(namespace)).await
    }

    async fn update_namespace(&self, namespace: Namespace) -> Result<()> {
        self.blocking(|changes| changes.update_namespace(namespace)).await
    }

    async fn delete_namespace(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.blocking(move |changes| changes.delete_namespace(&name)).await
    }

    async fn secrets(&self, namespace: &str) -> Result<Vec<String>> {
        let namespace = namespace.to_owned();
        self.blocking(move |changes| changes.list_secrets(&namespace)).await
    }

    async fn create_secret(&self, namespace: &str, name: &str, value: Vec<u8>) -> Result<()> {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        self.blocking(move |changes| changes.create_secret(&namespace, &name, &value)).await
    }

    async fn update_secret(&self, namespace: &str, name: &str, value: Vec<u8>) -> Result<()> {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        self.blocking(move |changes| changes.update_secret(&namespace, &name, &value)).await
    }

    async fn delete_secret(&self, namespace: &str, name: &str) -> Result<()> {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        self.blocking(move |changes| changes.delete_secret(&namespace, &name)).await
    }
}

/// A function as it was deployed and as it is. What is wrong with it is one more annotation: that is what every client
/// shows.
fn status(desired: &Desired, name: &FunctionName, seen: &Seen, data_trouble: Option<&str>) -> FunctionStatus {
    let mut deployment = desired.deployment.clone();
    let taken_back = match &desired.standing {
        Standing::TakenBack(why) => Some(why),
        Standing::New | Standing::Proven => None,
    };
    let said = taken_back.into_iter().chain(&seen.trouble).map(String::as_str).chain(data_trouble);
    let said: Vec<&str> = said.collect();
    if !said.is_empty() {
        deployment.annotations.insert(annotation::STATUS.to_owned(), said.join("; "));
    }
    let standing = provider::Standing {
        created_at: desired.created_at.clone(),
        desired: desired.replicas,
        ready: seen.ready.len(),
    };
    provider::status(name, deployment, standing)
}

/// What replicas use together: memory now, CPU over a moment.
async fn measure(running: Vec<Arc<dyn Running>>) -> Option<Usage> {
    let before = Instant::now();
    let (running, first) = samples(running).await?;
    tokio::time::sleep(USAGE_WINDOW).await;
    let (_, second) = samples(running).await?;
    let seconds = before.elapsed().as_secs_f64();
    let pairs = first.iter().zip(&second).filter_map(|(first, second)| Some((first.as_ref()?, second.as_ref()?)));
    let mut usage = Usage::default();
    for (first, second) in pairs {
        usage.cpu += second.cpu.saturating_sub(first.cpu).as_secs_f64() / seconds * 1000.0;
        usage.total_memory_bytes += second.memory_bytes as f64;
    }
    Some(usage)
}

type Samples = (Vec<Arc<dyn Running>>, Vec<Option<Sample>>);

/// Reading `/proc` takes a few system calls a process: not on a thread that serves.
async fn samples(running: Vec<Arc<dyn Running>>) -> Option<Samples> {
    let read = move || {
        let samples = running.iter().map(|replica| replica.sample()).collect();
        (running, samples)
    };
    tokio::task::spawn_blocking(read).await.ok()
}
