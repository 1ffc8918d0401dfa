//! A gateway that is set up as the recordings' `world.json` says.

use crate::peers::{self, Heard};
use crate::recording;
use daemon::{Stopper, SystemClock};
use gateway::{Config, Credentials, Gateway, Parts};
use provider::Provider;
use provider::memory::{MemoryProvider, Script};
use queue::{Queue, sqlite};
use serde::Deserialize;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::task::{JoinHandle, JoinSet};
use wire::FunctionName;
use wire::function::{FunctionDeployment, FunctionStatus, TextMap};
use wire::log::LogLine;
use wire::namespace::{MARK, Namespace};

/// `world.json`.
#[derive(Clone, Deserialize)]
pub(crate) struct World {
    credentials: User,
    default_namespace: String,
    namespaces: Vec<String>,
    functions: Vec<FunctionStatus>,
    secrets_in_each_namespace: Vec<String>,
    logs: Vec<LogLine>,
}

#[derive(Clone, Deserialize)]
struct User {
    user: String,
    password: String,
}

impl World {
    pub(crate) fn recorded() -> Self {
        recording::json("world.json")
    }

    pub(crate) fn user_and_password(&self) -> (&str, &str) {
        (&self.credentials.user, &self.credentials.password)
    }

    async fn build(&self, provider: &MemoryProvider, function: &provider::Address) {
        for name in &self.namespaces {
            if *name != self.default_namespace {
                let mark: TextMap = [MARK].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
                let namespace = Namespace { name: name.clone(), labels: mark.clone(), annotations: mark };
                provider.create_namespace(namespace).await.unwrap();
            }
            for secret in &self.secrets_in_each_namespace {
                provider.create_secret(name, secret, b"recorded".to_vec()).await.unwrap();
            }
        }
        for wanted in &self.functions {
            let name = FunctionName::new(&wanted.name, &wanted.namespace).unwrap();
            provider.deploy(deployment(wanted.clone())).await.unwrap();
            provider.scale(&name, u32::try_from(wanted.replicas).unwrap()).await.unwrap();
            provider.set_created_at(&name, &wanted.created_at).unwrap();
            let at_most = match u32::try_from(wanted.available_replicas).unwrap() {
                // A function at zero starts when it is called.
                0 => u32::MAX,
                available => available,
            };
            provider.script(&name, Script { at_most, ..Script::at(function.clone()) });
        }
        for line in &self.logs {
            provider.log(line.clone()).unwrap();
        }
    }
}

/// What was deployed, from how it is listed.
fn deployment(status: FunctionStatus) -> FunctionDeployment {
    FunctionDeployment {
        service: status.name,
        image: status.image,
        namespace: status.namespace,
        env_process: status.env_process,
        env_vars: status.env_vars,
        constraints: status.constraints,
        secrets: status.secrets,
        labels: status.labels,
        annotations: status.annotations,
        limits: status.limits,
        requests: status.requests,
        read_only_root_filesystem: status.read_only_root_filesystem,
    }
}

/// The gateway of a world, at work.
pub(crate) struct Stage {
    pub(crate) address: String,
    pub(crate) queue: Arc<dyn Queue>,
    /// What the functions were sent.
    pub(crate) heard: Heard,
    stopper: Stopper,
    gateway: JoinHandle<std::io::Result<()>>,
    worker: JoinHandle<std::io::Result<()>>,
    /// The functions; they end with the stage.
    _functions: JoinSet<()>,
    _directory: TempDir,
}

impl Stage {
    pub(crate) async fn set(world: &World, auth: bool) -> Self {
        let provider = Arc::new(MemoryProvider::new());
        let directory = tempfile::tempdir().unwrap();
        // Hundreds of stages, and no power cut in any of them.
        let queue = sqlite::open_with(directory.path(), sqlite::Durability::None).unwrap();
        let mut functions = JoinSet::new();
        let (function, heard) = peers::function(&mut functions).await;
        world.build(&provider, &function).await;
        let port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let User { user, password } = world.credentials.clone();
        let auth = auth.then_some(Credentials { user, password });
        let config = Config { listen: port, metrics: port, auth, workers: 1, ..Config::default() };
        let parts = Parts { provider, queue: Some(Arc::clone(&queue)), clock: Arc::new(SystemClock) };
        let gateway = Gateway::build(config, parts).unwrap();
        let address = gateway.address().to_string();
        let (stopper, stop) = daemon::stop::pair();
        let worker = gateway.worker(queue::worker::Config::default()).unwrap();
        let worker = tokio::spawn(worker.run(stop.clone()));
        let gateway = tokio::spawn(gateway.run(stop));
        Self { address, queue, heard, stopper, gateway, worker, _functions: functions, _directory: directory }
    }

    /// Stops gateway and worker, which must not hang.
    pub(crate) async fn strike(self) {
        self.stopper.stop();
        for task in [self.gateway, self.worker] {
            tokio::time::timeout(e2e::PATIENCE, task).await.unwrap().unwrap().unwrap();
        }
        self.queue.close().await;
    }
}
