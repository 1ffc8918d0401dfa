//! Replicas as processes: an unpacked image's command, confined as far as this machine lets us.
//!
//! With a file system of its own a replica finds everything where OpenFaaS's functions look for it. Without one its
//! command is run from the directory its image is unpacked in, and paths it is to use come in its environment.

mod born;
mod command;
mod confined;
mod helper;
mod identity;
mod running;

use crate::config::Config;
use crate::data::Data;
use crate::desired;
use crate::disk;
use crate::images::Images;
use crate::isolation::{Isolation, Network, Wants};
use crate::logs::{Logs, Reader};
use crate::quota::{self, Kept};
use crate::runtime::{Order, Running, Runtime, StartError};
use crate::secrets::Secrets;
use crate::spawner::{self, Spawner};
use crate::survivors;
use crate::upkeep::in_mebibytes;
use async_trait::async_trait;
use born::Born;
use confined::{Confined, Listens, Replica};
use helper::{Helper, Helpers};
use provider::{Address, Door, check};
use running::Process;
use sandbox::cgroup::Cgroup;
use sandbox::{Level, Spec};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use wire::annotation;

/// How long a replica may take to end after its last call.
const ENDING: Duration = Duration::from_secs(1);
/// Between two tries to remove what an earlier run has left.
const CLEARING_PAUSE: Duration = Duration::from_millis(5);

/// Runs replicas as processes.
pub(crate) struct ProcessRuntime {
    config: Config,
    surroundings: Surroundings,
    images: Images,
    secrets: Arc<Secrets>,
    data: Data,
    logs: Arc<Logs>,
    reader: Arc<Reader>,
    spawner: Arc<Spawner>,
    helpers: Arc<Helpers>,
}

/// What is told before anything runs.
#[derive(Clone, Default)]
pub(crate) struct Surroundings {
    /// Where functions without a network of their own reach the gateway.
    pub(crate) gateway_url: Arc<Mutex<String>>,
    /// Where listeners in functions' own networks are served.
    pub(crate) door: Arc<OnceLock<Arc<dyn Door>>>,
}

/// A replica that is prepared: its directory is made, its command is known.
struct Prepared {
    how: How,
    listens: Listens,
    cgroup: Option<Cgroup>,
    grace: Duration,
}

/// How it is started.
enum How {
    Plain(Command),
    Confined { spec: Box<Spec>, egress: bool },
}

/// The socket that a replica is called at, where it serves on one.
const SOCKET: &str = "s";
const METRICS_SOCKET: &str = "m";

/// A replica's own directory: its sockets, secrets and temporary files. What is the function's own is below it.
#[derive(Clone, Debug)]
struct ReplicaDir(PathBuf);

impl ReplicaDir {
    /// The function's own, for its sockets.
    fn inside(&self) -> PathBuf {
        self.0.join("i")
    }

    fn socket(&self) -> PathBuf {
        self.inside().join(SOCKET)
    }

    fn metrics_socket(&self) -> PathBuf {
        self.inside().join(METRICS_SOCKET)
    }

    /// The socket of the agent in the function's network.
    fn agent(&self) -> PathBuf {
        self.0.join("a")
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
        if let Err(error) = disk::remove_dir(&self.0, disk::briefly()) {
            tracing::warn!(%error, dir = %self.0.display(), "A replica's directory cannot be removed");
        }
    }
}

impl ProcessRuntime {
    pub(crate) fn new(
        config: Config,
        surroundings: Surroundings,
        images: Images,
        secrets: Arc<Secrets>,
        logs: Arc<Logs>,
    ) -> io::Result<Self> {
        let data = Data::new(&config.data);
        let (reader, spawner) = (Arc::new(Reader::new()?), Arc::new(Spawner::new()?));
        let helpers = Arc::new(Helpers::new(&config.isolation, Arc::clone(&spawner)));
        Ok(Self { config, surroundings, images, secrets, data, logs, reader, spawner, helpers })
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

        let isolation = &self.config.isolation;
        let user = isolation.user(&order.name).map_err(|error| StartError::new("give it a user of its own", error))?;
        // With a file system of its own it has them there.
        let parts = (isolation.level() < Level::Userns).then(|| [dir.inside(), dir.temporary()]);
        for part in parts.iter().flatten() {
            let made = disk::make_dir(part).and_then(|()| disk::give(part, user));
            made.map_err(|error| StartError::new("make its directory", error))?;
        }
        self.secrets
            .mount(&dir.secrets(), order.name.namespace(), &deployment.secrets, user)
            .map_err(|error| StartError::new("give it its secrets", error))?;
        let data = match check::has_data(&deployment.annotations) {
            true => Some(self.data(order, user).map_err(|error| StartError::new("open its data directory", error))?),
            false => None,
        };
        let replica = Replica {
            order,
            image: &image,
            root: &root,
            dir,
            data: data.as_deref(),
            user,
            wants: Wants::of(deployment).map_err(|error| StartError::new("read what it asks for", error))?,
            gateway_url: &self.surroundings.gateway_url.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            inherited: &self.config.inherited,
        };
        let Confined { mut spec, listens, write_timeout } = match isolation.level() {
            Level::None => return self.plain(&replica),
            Level::Process => {
                let places = [Some(root.as_path()), Some(&dir.inside()), data.as_deref()];
                self.let_through(places.into_iter().flatten(), user)?;
                replica.beside(isolation)?
            }
            Level::Userns | Level::Full => replica.inside(isolation)?,
        };
        let cgroup = isolation
            .cgroup(&order.id, deployment)
            .map_err(|error| StartError::new("make its control group", error))?;
        spec.cgroups = cgroup.iter().flat_map(Cgroup::procs_files).collect();
        let grace = self.grace(write_timeout.as_deref());
        let egress = replica.wants.network == Network::Egress && isolation.level() == Level::Full;
        Ok(Prepared { how: How::Confined { spec: Box::new(spec), egress }, listens, cgroup, grace })
    }

    fn plain(&self, replica: &Replica<'_>) -> Result<Prepared, StartError> {
        let variables = replica.plain_variables();
        let grace = self.grace(variables.get("write_timeout").map(String::as_str));
        let command = command::build(replica.root, &replica.image.config, variables)
            .map_err(|error| StartError::new(format!("find its command in {}", replica.root.display()), error))?;
        let listens = Listens::At(Address::Unix(replica.dir.socket().into()));
        Ok(Prepared { how: How::Plain(command), listens, cgroup: None, grace })
    }

    /// The data directory, the function's own; also when another version or another level of isolation left it.
    fn data(&self, order: &Order, user: Option<u32>) -> io::Result<PathBuf> {
        let dir = self.data.open(&order.name)?;
        let owner = user.unwrap_or_else(|| rustix::process::geteuid().as_raw());
        if rustix::process::geteuid().is_root() {
            disk::give_all(&dir, owner)?;
        }
        self.bound(order, &dir, user);
        Ok(dir)
    }

    /// Holds a data directory to its size, where the file system can; elsewhere it is measured.
    fn bound(&self, order: &Order, dir: &Path, user: Option<u32>) {
        let most_bytes = desired::data_size(&order.desired.deployment);
        let text = match quota::keep_below(dir, user, most_bytes) {
            Ok(Kept::Newly) => {
                let most = in_mebibytes(most_bytes.unwrap_or_default());
                format!("{}: project quota holds its data directory to {most}", annotation::DATA_SIZE)
            }
            Ok(Kept::Enforced | Kept::Free | Kept::Measured(_)) => return,
            Err(error) => {
                tracing::warn!(function = %order.name, %error, "A data directory is not held to its size");
                format!("{} is measured, not enforced: {error}", annotation::DATA_SIZE)
            }
        };
        self.logs.of(&order.name).note("", &text);
    }

    /// Without a file system of its own a function that is another user has to get through our directories.
    fn let_through<'a>(&self, mut places: impl Iterator<Item = &'a Path>, user: Option<u32>) -> Result<(), StartError> {
        if user.is_none() {
            return Ok(());
        }
        let state = self.config.functions.parent().unwrap_or(&self.config.functions);
        places
            .try_for_each(|place| disk::let_through(state, place))
            .map_err(|error| StartError::new("let it through to its directories", error))
    }

    /// A call may take as long as the function's `write_timeout`; its end takes a moment more.
    fn grace(&self, write_timeout: Option<&str>) -> Duration {
        let given = write_timeout.and_then(|text| wire::duration::parse(text).ok()).filter(|time| !time.is_zero());
        given.map_or(self.config.stop_grace, |time| (time + ENDING).min(self.config.stop_grace_most))
    }

    /// A helper, where functions are confined.
    async fn helper(&self) -> Result<Option<Helper>, StartError> {
        if self.isolation().level() == Level::None {
            return Ok(None);
        }
        self.helpers.take().await.map(Some).map_err(|error| StartError::new("start its helper", error))
    }

    async fn bear(&self, how: How, helper: Option<Helper>) -> Result<Born, StartError> {
        match how {
            How::Plain(mut command) => {
                command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
                spawner::bind_to_parent(&mut command);
                let program = PathBuf::from(command.get_program());
                let child = self.spawner.spawn(command).await;
                child.map(Born::plain).map_err(|error| StartError::new(format!("run {}", program.display()), error))
            }
            How::Confined { spec, egress } => {
                let (helper, control) = helper
                    .and_then(Helper::take)
                    .ok_or_else(|| StartError::new("start its helper", io::Error::from(io::ErrorKind::NotFound)))?;
                let isolation = Arc::clone(&self.config.isolation);
                let let_out =
                    async move |process| tokio::task::spawn_blocking(move || isolation.let_out(process)).await?;
                // It does not wait for what nobody has to prepare.
                let started = match egress {
                    true => control.start_after(helper, &spec, let_out).await,
                    false => control.start(helper, &spec).await,
                };
                let started = started.map_err(|error| StartError::new("confine it", error))?;
                Born::confined(started, self.surroundings.door.get())
                    .map_err(|error| StartError::new("open the gateway in its network", error))
            }
        }
    }

    /// Whether a replica and what it starts are in a namespace of processes.
    fn has_own_processes(&self) -> bool {
        self.isolation().level() >= Level::Userns
    }

    fn isolation(&self) -> &Isolation {
        &self.config.isolation
    }

    async fn run(self: &Arc<Self>, order: &Order, dir: &ReplicaDir) -> Result<Process, StartError> {
        let prepared = tokio::task::spawn_blocking({
            let (runtime, order, dir) = (Arc::clone(self), order.clone(), dir.clone());
            move || runtime.prepare(&order, &dir)
        });
        let (prepared, helper) = tokio::join!(prepared, self.helper());
        let Prepared { how, listens, cgroup, grace } =
            prepared.map_err(|error| StartError::new("prepare it", error))??;
        let parts = running::Parts {
            dir: dir.clone(),
            cgroup,
            has_own_processes: self.has_own_processes(),
            grace,
            secrets: Arc::clone(&self.secrets),
            log: self.logs.of(&order.name),
            reader: Arc::clone(&self.reader),
            instance: order.instance.clone(),
            spawner: Arc::clone(&self.spawner),
        };
        let born = match helper {
            Ok(helper) => self.bear(how, helper).await,
            Err(error) => Err(error),
        };
        match born {
            Ok(born) => {
                Process::watch(born, listens, parts).await.map_err(|error| StartError::new("watch its process", error))
            }
            Err(error) => {
                running::remove_cgroup(parts.cgroup.as_ref()).await;
                Err(error)
            }
        }
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
        let begun = tokio::time::Instant::now();
        loop {
            let isolation = Arc::clone(&self.0.config.isolation);
            let cleared = tokio::task::spawn_blocking(move || isolation.clear_left_over()).await;
            if cleared.unwrap_or(true) || begun.elapsed() > ENDING {
                break;
            }
            tokio::time::sleep(CLEARING_PAUSE).await;
        }
    }

    async fn start(&self, order: &Order) -> Result<Arc<dyn Running>, StartError> {
        let dir = ReplicaDir(replicas_dir(&self.0.config).join(&order.id));
        match self.0.run(order, &dir).await {
            Ok(process) => Ok(Arc::new(process)),
            Err(error) => {
                if !self.0.has_own_processes() {
                    survivors::sweep(&dir.0).await;
                }
                let secrets = Arc::clone(&self.0.secrets);
                tokio::task::spawn_blocking(move || dir.remove(&secrets)).await.unwrap_or_default();
                Err(error)
            }
        }
    }

    async fn close(&self) {
        self.0.helpers.close().await;
    }
}

/// Where replicas' directories are: nothing else is.
fn replicas_dir(config: &Config) -> PathBuf {
    Path::new(&config.run).join("fn")
}
