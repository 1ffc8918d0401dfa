//! A provider at work in a directory of its own.

use crate::function::{self, BEHAVIOUR, get};
use daemon::{Clock, Stopper, SystemClock};
use image::{Builder, ImageConfig, Store};
use provider::{Address, Provider, ReplicaTable};
use provider_local::{Config, LocalProvider};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tempfile::TempDir;
use wire::FunctionName;
use wire::function::FunctionDeployment;
use wire::label::{IMAGE_SERVES, SERVES_UNIX_SOCKET};

pub(crate) const IMAGE: &str = "test/function:1";
pub(crate) const OTHER_IMAGE: &str = "test/function:2";
/// An image without the label.
pub(crate) const FOREIGN_IMAGE: &str = "test/foreign:1";

/// A provider, its directory and its reconcile loop.
pub(crate) struct Bench {
    pub(crate) provider: Arc<LocalProvider>,
    pub(crate) dir: Arc<TempDir>,
    stopper: Stopper,
    /// A thread of its own, so that dropping can wait for the end whatever the test's runtime does.
    running: Option<JoinHandle<()>>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = Arc::new(tempfile::Builder::new().prefix("pl").tempdir().unwrap());
        images(dir.path());
        Self::at(dir, change)
    }

    /// A provider on what another one has left in its directory.
    pub(crate) fn at(dir: Arc<TempDir>, change: impl FnOnce(&mut Config)) -> Self {
        let provider = build(dir.path(), change);
        let (stopper, stop) = daemon::stop::pair();
        let running = thread::spawn({
            let provider = Arc::clone(&provider);
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(provider.run(stop));
            }
        });
        Self { provider, dir, stopper, running: Some(running) }
    }

    pub(crate) fn table(&self) -> ReplicaTable {
        self.provider.replicas()
    }

    /// Deploys and waits until as many replicas as it starts with are ready; gives the first one's socket.
    pub(crate) async fn deployed(&self, deployment: FunctionDeployment) -> PathBuf {
        let name: FunctionName = deployment.service.parse().unwrap();
        self.provider.deploy(deployment).await.unwrap();
        self.ready(&name, 1).await
    }

    /// Waits for so many ready replicas; gives the first one's socket.
    pub(crate) async fn ready(&self, name: &FunctionName, count: usize) -> PathBuf {
        let mut table = self.table();
        let ready = table.wait_for(name, |found| found.is_some_and(|found| found.ready.len() == count));
        let ready = tokio::time::timeout(Duration::from_secs(30), ready).await;
        assert!(ready.is_ok_and(|alive| alive), "never {count} ready: {:?}", self.table().get(name));
        self.socket(name)
    }

    pub(crate) fn socket(&self, name: &FunctionName) -> PathBuf {
        let found = self.table().get(name).unwrap();
        match found.ready.first().map(|replica| replica.address.clone()) {
            Some(Address::Unix(socket)) => socket.path(),
            other => panic!("no socket: {other:?}"),
        }
    }

    /// The sockets of all ready replicas, seen at one moment.
    pub(crate) fn sockets(&self, name: &FunctionName) -> Vec<PathBuf> {
        let found = self.table().get(name).unwrap();
        let socket = |replica: &Arc<provider::Replica>| match &replica.address {
            Address::Unix(socket) => socket.path(),
            other => panic!("no socket: {other}"),
        };
        found.ready.iter().map(socket).collect()
    }

    pub(crate) async fn pid(&self, name: &FunctionName) -> i32 {
        call(&self.socket(name), "/pid").await.parse().unwrap()
    }

    /// Waits for something in a function's log.
    pub(crate) async fn logged(&self, name: &FunctionName, text: &str) {
        use futures_util::StreamExt;
        let query = provider::LogQuery { follow: true, ..provider::LogQuery::default() };
        let mut lines = self.provider.logs(name, query).await.unwrap();
        let found = async {
            while let Some(line) = lines.next().await {
                if line.text.contains(text) {
                    return;
                }
            }
            panic!("the log ended without {text:?}");
        };
        tokio::time::timeout(Duration::from_secs(30), found).await.unwrap();
    }

    /// Stops the provider; gives its directory.
    pub(crate) async fn stop(mut self) -> Arc<TempDir> {
        self.stopper.stop();
        let running = self.running.take().unwrap();
        tokio::task::spawn_blocking(move || running.join().unwrap()).await.unwrap();
        assert_eq!(function::processes_of(self.dir.path()), [] as [i32; 0], "something was left running");
        Arc::clone(&self.dir)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stopper.stop();
        self.running.take().map(JoinHandle::join).transpose().map(drop).unwrap_or_default();
    }
}

pub(crate) fn build(dir: &Path, change: impl FnOnce(&mut Config)) -> Arc<LocalProvider> {
    let mut config = Config::new(dir, dir.join("run"), "http://127.0.0.1:8081".to_owned());
    change(&mut config);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    LocalProvider::build(config, Store::open(dir.join("images")).unwrap(), clock).unwrap()
}

/// Puts the test images into the store under a directory.
pub(crate) fn images(dir: &Path) {
    let store = Store::open(dir.join("images")).unwrap();
    for (name, label) in [(IMAGE, Some("1")), (OTHER_IMAGE, Some("2")), (FOREIGN_IMAGE, None)] {
        image_with(&store, name, label.unwrap_or_default(), label.is_some());
    }
}

/// An image with these bytes at a path; its command is `/bin/function`.
pub(crate) fn image_of(store: &Store, name: &str, path: &str, program: &[u8]) {
    let mut config = ImageConfig { entrypoint: vec!["/bin/function".to_owned()], ..ImageConfig::default() };
    config.labels.insert(IMAGE_SERVES.to_owned(), SERVES_UNIX_SOCKET.to_owned());
    Builder::new(config).bytes(path, program, 0o755).build(store, &name.parse().unwrap()).unwrap();
}

/// An image that differs from others by `version`.
pub(crate) fn image_with(store: &Store, name: &str, version: &str, is_ours: bool) {
    let mut config = ImageConfig {
        env: vec![("VERSION".to_owned(), version.to_owned())],
        working_dir: "/home/app".to_owned(),
        entrypoint: vec!["/bin/function".to_owned()],
        ..ImageConfig::default()
    };
    if is_ours {
        config.labels.insert(IMAGE_SERVES.to_owned(), SERVES_UNIX_SOCKET.to_owned());
    }
    Builder::new(config)
        .bytes("/bin/function", function::script(), 0o755)
        .directory("/home/app", 0o755)
        .build(store, &name.parse().unwrap())
        .unwrap();
}

pub(crate) fn deployment(name: &str) -> FunctionDeployment {
    FunctionDeployment { service: name.to_owned(), image: IMAGE.to_owned(), ..FunctionDeployment::default() }
}

/// A function that behaves so.
pub(crate) fn behaving(name: &str, behaviour: &str) -> FunctionDeployment {
    let mut deployment = deployment(name);
    deployment.env_vars.insert(BEHAVIOUR.to_owned(), behaviour.to_owned());
    deployment
}

/// Calls a function on its socket.
pub(crate) async fn call(socket: &Path, path: &str) -> String {
    let (socket, path) = (socket.to_owned(), path.to_owned());
    tokio::task::spawn_blocking(move || get(&socket, &path)).await.unwrap().unwrap()
}
