//! Replicas as processes: an unpacked image's command, run on this machine as a process group of its own.
//!
//! There is no mount namespace: the command is run from the directory its image is unpacked in, and paths it is to use
//! come in its environment.

mod command;
mod running;

use crate::config::Config;
use crate::data::Data;
use crate::desired;
use crate::disk;
use crate::environment::{self, Given, Serves};
use crate::images::Images;
use crate::logs::{Logs, Reader};
use crate::runtime::{Order, Running, Runtime, StartError};
use crate::secrets::Secrets;
use crate::spawner::{self, Spawner};
use crate::survivors;
use async_trait::async_trait;
use running::Process;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use wire::annotation;

/// Tries to start a file that someone still has open for writing: a process being forked elsewhere holds what is
/// being unpacked for a moment.
const BUSY_TRIES: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// How long a replica may take to end after its last call.
const ENDING: Duration = Duration::from_secs(1);

/// Runs replicas as processes.
pub(crate) struct ProcessRuntime {
    config: Config,
    /// Told before anything runs.
    gateway_url: Arc<Mutex<String>>,
    images: Images,
    secrets: Arc<Secrets>,
    data: Data,
    logs: Arc<Logs>,
    reader: Arc<Reader>,
    spawner: Arc<Spawner>,
}

/// A replica that is prepared: its directory is made, its command is known.
struct Prepared {
    command: Command,
    grace: Duration,
}

/// A replica's own directory: its sockets, secrets and temporary files.
#[derive(Clone, Debug)]
struct ReplicaDir(PathBuf);

impl ReplicaDir {
    fn socket(&self) -> PathBuf {
        self.0.join("s")
    }

    fn metrics_socket(&self) -> PathBuf {
        self.0.join("m")
    }

    fn secrets(&self) -> PathBuf {
        self.0.join("secrets")
    }

    fn temporary(&self) -> PathBuf {
        self.0.join("tmp")
    }

    /// Removes it, when nothing runs in it any more.
    fn remove(&self, secrets: &Secrets) {
        secrets.unmount(&self.secrets());
        if let Err(error) = disk::remove_dir(&self.0) {
            tracing::warn!(%error, dir = %self.0.display(), "A replica's directory cannot be removed");
        }
    }
}

impl ProcessRuntime {
    pub(crate) fn new(
        config: Config,
        gateway_url: Arc<Mutex<String>>,
        images: Images,
        secrets: Arc<Secrets>,
        logs: Arc<Logs>,
    ) -> io::Result<Self> {
        let data = Data::new(&config.data);
        let (reader, spawner) = (Arc::new(Reader::new()?), Arc::new(Spawner::new()?));
        Ok(Self { config, gateway_url, images, secrets, data, logs, reader, spawner })
    }

    /// The longest socket path there will be.
    pub(crate) fn longest_socket(config: &Config) -> PathBuf {
        ReplicaDir(replicas_dir(config).join("00000000")).metrics_socket()
    }

    fn prepare(&self, order: &Order, dir: &ReplicaDir) -> Result<Prepared, StartError> {
        let deployment = &order.desired.deployment;
        let reference = deployment.image.parse().map_err(|error| StartError::new("read the image's name", error))?;
        let image = self
            .images
            .pinned(&reference, &order.desired.digest)
            .map_err(|error| StartError::new("find its image", error))?;
        let root = self.images.unpack(&image).map_err(|error| StartError::new("unpack its image", error))?;

        disk::make_dir(&dir.temporary()).map_err(|error| StartError::new("make its directory", error))?;
        self.secrets
            .mount(&dir.secrets(), order.name.namespace(), &deployment.secrets, None)
            .map_err(|error| StartError::new("give it its secrets", error))?;
        let data = match desired::has_data(deployment) {
            true => {
                Some(self.data.open(&order.name).map_err(|error| StartError::new("open its data directory", error))?)
            }
            false => None,
        };
        let gateway_url = self.gateway_url.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let given = Given {
            gateway_url: &gateway_url,
            inherited: &self.config.inherited,
            serves: Serves::Sockets { calls: &dir.socket(), metrics: &dir.metrics_socket() },
            secrets: &dir.secrets(),
            data: data.as_deref(),
            temporary: &dir.temporary(),
            home: None,
        };
        let variables = environment::variables(&image.config.env, &order.name, deployment, &given);
        let grace = self.grace(variables.get("write_timeout").map(String::as_str));
        let command = command::build(&root, &image.config, variables)
            .map_err(|error| StartError::new(format!("find its command in {}", root.display()), error))?;
        Ok(Prepared { command, grace })
    }

    /// A call may take as long as the function's `write_timeout`; its end takes a moment more.
    fn grace(&self, write_timeout: Option<&str>) -> Duration {
        let given = write_timeout.and_then(|text| wire::duration::parse(text).ok()).filter(|time| !time.is_zero());
        given.map_or(self.config.stop_grace, |time| (time + ENDING).min(self.config.stop_grace_most))
    }

    async fn spawn(&self, mut command: Command) -> io::Result<Child> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        spawner::bind_to_parent(&mut command);
        for _ in 0..BUSY_TRIES {
            let (same, child) = self.spawner.spawn(command).await;
            match child {
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => command = same,
                child => return child,
            }
            tokio::time::sleep(BUSY_PAUSE).await;
        }
        Err(io::ErrorKind::ExecutableFileBusy.into())
    }

    async fn run(self: &Arc<Self>, order: &Order, dir: &ReplicaDir) -> Result<Process, StartError> {
        let prepared = tokio::task::spawn_blocking({
            let (runtime, order, dir) = (Arc::clone(self), order.clone(), dir.clone());
            move || runtime.prepare(&order, &dir)
        });
        let prepared = prepared.await.map_err(|error| StartError::new("prepare it", error))??;
        let program = PathBuf::from(prepared.command.get_program());
        let child = self
            .spawn(prepared.command)
            .await
            .map_err(|error| StartError::new(format!("run {}", program.display()), error))?;
        let ready_path = order.desired.deployment.annotations.get(annotation::READY_PATH);
        let parts = running::Parts {
            dir: dir.clone(),
            ready_path: ready_path.cloned(),
            grace: prepared.grace,
            secrets: Arc::clone(&self.secrets),
            log: self.logs.of(&order.name),
            reader: Arc::clone(&self.reader),
            instance: order.instance.clone(),
            spawner: Arc::clone(&self.spawner),
        };
        Process::watch(child, parts).map_err(|error| StartError::new("watch its process", error))
    }
}

/// Processes started from unpacked images. The handle that [`Runtime`] is implemented on.
pub(crate) struct Processes(pub(crate) Arc<ProcessRuntime>);

#[async_trait]
impl Runtime for Processes {
    async fn clear_survivors(&self) {
        let run = replicas_dir(&self.0.config);
        if let Err(error) = survivors::clear(run).await {
            tracing::warn!(%error, "What an earlier run left behind cannot be removed");
        }
    }

    async fn start(&self, order: &Order) -> Result<Arc<dyn Running>, StartError> {
        let dir = ReplicaDir(replicas_dir(&self.0.config).join(&order.id));
        match self.0.run(order, &dir).await {
            Ok(process) => Ok(Arc::new(process)),
            Err(error) => {
                survivors::sweep(&dir.0).await;
                dir.remove(&self.0.secrets);
                Err(error)
            }
        }
    }
}

/// Where replicas' directories are: nothing else is.
fn replicas_dir(config: &Config) -> PathBuf {
    Path::new(&config.run).join("fn")
}
