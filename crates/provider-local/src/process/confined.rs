//! What the sandbox is told of a replica.

use super::identity::{self, Identity};
use super::{METRICS_SOCKET, ReplicaDir, SOCKET, command};
use crate::environment::{self, Given, Serves};
use crate::isolation::{GATEWAY_PORT, Isolation, MOST_PROCESSES, Network, Wants, serves_socket};
use crate::runtime::{Order, StartError};
use image::Image;
use provider::Address;
use sandbox::confine::{Limits, Ports, Rules};
use sandbox::{Level, Mount, Shared, Spec, Target, User, prepare_root};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use wire::annotation;

/// The port of whoever has to leave that one to the other: a watchdog listens where it is told, an image without one
/// often on 8080 whatever it is told.
const OTHER_PORT: u16 = 8079;
/// Where sockets are inside.
pub(super) const SOCKETS: &str = "/run/crema";
/// Room for them, and for the little else that anyone may put there.
const SOCKETS_BYTES: u64 = 1 << 20;
/// Where secrets are inside, as OpenFaaS has it.
const SECRETS: &str = "/var/openfaas/secrets";
const TEMPORARY: &str = "/tmp";
/// What a function may write over its image, in memory.
const SCRATCH_BYTES: u64 = 64 << 20;
/// Who a function is inside a user namespace when its image does not say.
const INSIDE: u32 = 1000;
const OPEN_FILES: u64 = 65_536;
/// Where all replicas of a function are one user and counted together, as many of them may have their most.
const REPLICAS_OF_A_USER: u64 = 8;
/// What programs read of the machine at level `process`.
const READABLE: [&str; 6] =
    ["/etc/localtime", "/usr/share/zoneinfo", "/etc/hosts", "/etc/resolv.conf", "/etc/ssl", "/proc/self"];
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"];

/// A replica that is about to be started.
pub(super) struct Replica<'a> {
    pub(super) order: &'a Order,
    pub(super) image: &'a Image,
    pub(super) root: &'a Path,
    pub(super) dir: &'a ReplicaDir,
    pub(super) data: Option<&'a Path>,
    pub(super) user: Option<u32>,
    pub(super) wants: Wants,
    pub(super) gateway_url: &'a str,
    pub(super) inherited: &'a [(String, String)],
}

/// Where a replica will listen.
pub(super) enum Listens {
    At(Address),
    /// On a socket in the directory that it shares.
    InShared,
}

/// What to start and where it will be.
pub(super) struct Confined {
    pub(super) spec: Spec,
    pub(super) listens: Listens,
    pub(super) write_timeout: Option<String>,
}

impl Replica<'_> {
    /// For a level with a file system of its own.
    pub(super) fn inside(&self, isolation: &Isolation) -> Result<Confined, StartError> {
        let deployment = &self.order.desired.deployment;
        let config = &self.image.config;
        let identity = Identity::of(self.root, config);
        let number = self.user.or(identity.number).unwrap_or(INSIDE);
        let (serves, gateway_port, listens) = self.ports()?;
        let own_network = self.wants.network != Network::Host;
        let gateway_url = match own_network {
            true => format!("http://127.0.0.1:{gateway_port}"),
            false => self.gateway_url.to_owned(),
        };
        let data = self.data.and(deployment.annotations.get(annotation::DATA_PATH)).map(PathBuf::from);
        let sockets = [SOCKET, METRICS_SOCKET].map(|name| Path::new(SOCKETS).join(name));
        let given = Given {
            gateway_url: &gateway_url,
            inherited: self.inherited,
            serves: match serves {
                None => Serves::Sockets { calls: &sockets[0], metrics: &sockets[1] },
                Some(port) => Serves::Port(port),
            },
            secrets: Path::new(SECRETS),
            data: data.as_deref(),
            temporary: Path::new(TEMPORARY),
            home: Some(&identity.home),
        };
        let variables = environment::variables(&config.env, &self.order.name, deployment, &given);

        let mut spec = Spec::new(isolation.level(), self.root, argv(self.image));
        spec.writable = (!deployment.read_only_root_filesystem).then_some(SCRATCH_BYTES);
        spec.working_dir = PathBuf::from(&config.working_dir);
        spec.user = Some(User { uid: number, gid: number });
        spec.hostname = hostname(&self.order.instance);
        spec.mounts = self.mounts(data.as_deref());
        spec.shared =
            matches!(listens, Listens::InShared).then(|| Shared { target: SOCKETS.into(), bytes: SOCKETS_BYTES });
        spec.texts = identity::files(self.root, &identity, number, &spec.hostname, self.wants.network);
        spec.network = match own_network {
            true => sandbox::Network::Own {
                listen: match self.wants.network {
                    Network::None => Vec::new(),
                    _ => vec![SocketAddr::from((Ipv4Addr::LOCALHOST, gateway_port))],
                },
                agent: serves.map(|_| self.dir.agent()),
            },
            false => sandbox::Network::Host,
        };
        let files = spec.texts.iter().map(|text| Target::File(text.target.clone()));
        let dirs = spec.mounts.iter().map(|mount| &mount.target).chain(spec.shared.iter().map(|shared| &shared.target));
        let targets: Vec<Target> = dirs.cloned().map(Target::Dir).chain(files).collect();
        prepare_root(self.root, &targets).map_err(|error| StartError::new("prepare its root directory", error))?;
        let write_timeout = variables.get("write_timeout").cloned();
        spec.env = variables.into_iter().collect();
        self.bound(&mut spec, isolation);
        Ok(Confined { spec, listens, write_timeout })
    }

    /// For the level without a file system of its own.
    pub(super) fn beside(&self, isolation: &Isolation) -> Result<Confined, StartError> {
        let variables = self.plain_variables();
        let write_timeout = variables.get("write_timeout").cloned();
        let command = command::build(self.root, &self.image.config, variables)
            .map_err(|error| StartError::new(format!("find its command in {}", self.root.display()), error))?;
        let text = |word: &std::ffi::OsStr| word.to_string_lossy().into_owned();
        let argv = std::iter::once(command.get_program()).chain(command.get_args()).map(text).collect();
        let mut spec = Spec::new(isolation.level(), self.root, argv);
        spec.env = command.get_envs().filter_map(|(key, value)| Some((text(key), text(value?)))).collect();
        spec.working_dir = command.get_current_dir().unwrap_or(self.root).to_owned();
        spec.user = self.user.map(|uid| User { uid, gid: uid });
        let gateway = self.gateway_url.rsplit(':').next().and_then(|port| port.trim_end_matches('/').parse().ok());
        spec.files = Some(Rules {
            executable: vec![self.root.to_owned()],
            readable: READABLE.iter().map(PathBuf::from).chain([self.dir.secrets()]).collect(),
            writable: [self.dir.inside(), self.dir.temporary()]
                .into_iter()
                .chain(self.data.map(Path::to_owned))
                .chain(DEVICES.iter().map(PathBuf::from))
                .collect(),
            ports: (self.wants.network == Network::Gateway)
                .then(|| Ports { connect: gateway.into_iter().collect(), bind: Vec::new() }),
        });
        self.bound(&mut spec, isolation);
        Ok(Confined { spec, listens: Listens::At(Address::Unix(self.dir.socket().into())), write_timeout })
    }

    /// The environment of a replica that sees this machine's file system.
    pub(super) fn plain_variables(&self) -> std::collections::BTreeMap<String, String> {
        let given = Given {
            gateway_url: self.gateway_url,
            inherited: self.inherited,
            serves: Serves::Sockets { calls: &self.dir.socket(), metrics: &self.dir.metrics_socket() },
            secrets: &self.dir.secrets(),
            data: self.data,
            temporary: &self.dir.temporary(),
            home: None,
        };
        environment::variables(&self.image.config.env, &self.order.name, &self.order.desired.deployment, &given)
    }

    /// What every level has.
    fn bound(&self, spec: &mut Spec, isolation: &Isolation) {
        spec.seccomp.clone_from(&isolation.seccomp);
        let (memory, _) = isolation.controlled();
        let limits = self.order.desired.deployment.limits.as_ref().filter(|_| !memory);
        let data_bytes = limits.and_then(|limits| wire::quantity::memory(&limits.memory).ok());
        let processes = self.processes(isolation);
        spec.limits = Limits { open_files: Some(OPEN_FILES), processes, data_bytes, ..Limits::default() };
    }

    /// Where no control group counts processes, its user's are counted, if they are its own alone.
    fn processes(&self, isolation: &Isolation) -> Option<u64> {
        let level = isolation.level();
        match isolation.counts_processes() {
            true => None,
            // The replica's own namespace is counted.
            false if level >= Level::Userns => Some(MOST_PROCESSES),
            false => self.user.map(|_| MOST_PROCESSES * REPLICAS_OF_A_USER),
        }
    }

    /// The port to tell it, if it is to listen on one, the gateway's port beside it, and where to call it.
    fn ports(&self) -> Result<(Option<u16>, u16, Listens), StartError> {
        if serves_socket(self.image) {
            return Ok((None, GATEWAY_PORT, Listens::InShared));
        }
        if self.wants.network == Network::Host {
            let port = free_port().map_err(|error| StartError::new("find a free port", error))?;
            return Ok((Some(port), port, Listens::At(Address::Tcp((Ipv4Addr::LOCALHOST, port).into()))));
        }
        let (port, gateway) = match is_watchdog(self.image) {
            true => (OTHER_PORT, GATEWAY_PORT),
            false => (GATEWAY_PORT, OTHER_PORT),
        };
        Ok((Some(port), gateway, Listens::At(Address::Inside { agent: self.dir.agent().into(), port })))
    }

    /// Directories, all of them.
    fn mounts(&self, data: Option<&Path>) -> Vec<Mount> {
        let mut mounts = vec![Mount::read_only(self.dir.secrets(), SECRETS)];
        if let (Some(source), Some(target)) = (self.data, data) {
            mounts.push(Mount::writable(source, target));
        }
        mounts
    }
}

/// The replica's name as far as the kernel takes one for a machine.
fn hostname(instance: &str) -> String {
    const LONGEST: usize = 64;
    instance.chars().take(LONGEST).collect()
}

fn argv(image: &Image) -> Vec<String> {
    image.config.entrypoint.iter().chain(&image.config.cmd).cloned().collect()
}

/// Whether an image starts with a watchdog, which listens on the port it is told.
fn is_watchdog(image: &Image) -> bool {
    let words = image.config.entrypoint.iter().chain(&image.config.cmd);
    words.filter_map(|word| Path::new(word).file_name()?.to_str()).any(|name| name.ends_with("watchdog"))
}

/// A port that nobody has at this moment.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
