//! How far functions are confined on this machine, and what each of them asks for.

use crate::way_out::WayOut;
use image::Image;
use provider::{ProviderError, Result};
use rustix::process::Pid;
use sandbox::cgroup::{self, Cgroup, Controllers, Removal};
use sandbox::uids::Uids;
use sandbox::{Launcher, Level};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use wire::FunctionName;
use wire::annotation;
use wire::function::FunctionDeployment;
use wire::label::{IMAGE_SERVES, SERVES_UNIX_SOCKET};

/// Where control groups are.
const CGROUPS: &str = "/sys/fs/cgroup";
/// The gateway's port in a function's own network, as OpenFaaS's functions know it.
pub(crate) const GATEWAY_PORT: u16 = 8080;
/// Processes and threads of one replica, where they are counted.
pub(crate) const MOST_PROCESSES: u64 = 512;

/// What a function reaches over the network: the annotation `com.crema.network`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Network {
    /// The gateway and nothing else.
    #[default]
    Gateway,
    /// Besides, the outside, but nothing of this machine.
    Egress,
    /// All that this machine reaches, and its own services.
    Host,
    /// Nothing.
    None,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "gateway" => Ok(Self::Gateway),
            "egress" => Ok(Self::Egress),
            "host" => Ok(Self::Host),
            "none" => Ok(Self::None),
            _ => Err(format!("{text:?} is no network: give gateway (the default), egress, host or none")),
        }
    }
}

/// What a deployment asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wants {
    pub(crate) network: Network,
    at_least: Level,
}

impl Wants {
    pub(crate) fn of(deployment: &FunctionDeployment) -> Result<Self> {
        Ok(Self {
            network: parsed(deployment, annotation::NETWORK)?.unwrap_or_default(),
            at_least: parsed(deployment, annotation::ISOLATION)?.unwrap_or(Level::None),
        })
    }
}

fn parsed<T: FromStr<Err: fmt::Display>>(deployment: &FunctionDeployment, name: &str) -> Result<Option<T>> {
    let Some(text) = deployment.annotations.get(name) else { return Ok(None) };
    let parsed = text.trim().parse();
    parsed.map(Some).map_err(|error| ProviderError::Invalid(format!("annotation {name}: {error}")))
}

/// Whether an image's process serves on the Unix socket it is told, as our SDK and our watchdog do.
pub(crate) fn serves_socket(image: &Image) -> bool {
    image.config.labels.get(IMAGE_SERVES).is_some_and(|serves| serves == SERVES_UNIX_SOCKET)
}

/// How far functions are to be confined, and what is needed for it.
#[derive(Clone, Debug)]
pub struct IsolationConfig {
    /// The least that will do; where it cannot be had, nothing is started.
    pub least: Level,
    /// The most that is tried.
    pub most: Level,
    /// A directory of the platform's own: the functions' user ids are kept in it.
    pub state: PathBuf,
    /// The program that helps to confine, which calls [`sandbox::helper::intercept`]; this one when it is `None`.
    pub helper: Option<PathBuf>,
}

impl IsolationConfig {
    /// As much as this machine gives.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self { least: Level::None, most: Level::Full, state: state.to_owned(), helper: None }
    }
}

/// What this machine can do.
#[derive(Debug)]
pub struct Isolation {
    pub(crate) launcher: Launcher,
    level: Level,
    /// Why it is not more.
    reasons: Vec<String>,
    controllers: Option<Controllers>,
    /// As root: every function is a user of its own.
    uids: Option<Uids>,
    way_out: WayOut,
    pub(crate) seccomp: Option<Arc<[u8]>>,
}

impl Isolation {
    /// No confinement: functions are plain processes.
    #[must_use]
    pub fn none() -> Self {
        Self {
            launcher: Launcher::of_this_program(),
            level: Level::None,
            reasons: vec!["it was told to confine nothing (--isolation-max none)".to_owned()],
            controllers: None,
            uids: None,
            way_out: WayOut::default(),
            seccomp: None,
        }
    }

    /// Tries what this machine can do. An error says why it is less than is asked for.
    pub async fn probe(config: &IsolationConfig) -> std::result::Result<Self, String> {
        let mut isolation = Self::none();
        if config.most == Level::None {
            return Ok(isolation);
        }
        isolation.launcher = config.helper.as_ref().map_or_else(Launcher::of_this_program, Launcher::new);
        let found = sandbox::probe(&isolation.launcher, &config.state).await;
        isolation.level = found.level.min(config.most);
        isolation.reasons = found.missing.iter().map(ToString::to_string).collect();
        if found.level > config.most {
            isolation.reasons.push(format!("it was told to go no further than {} (--isolation-max)", config.most));
        }
        if isolation.level < config.least {
            return Err(format!(
                "functions can be confined at level {} here, and at least {} is asked for: {}",
                isolation.level,
                config.least,
                isolation.reasons()
            ));
        }
        if isolation.level == Level::None {
            return Ok(isolation);
        }
        isolation.seccomp = Some(sandbox::seccomp::program(isolation.level).map_err(|error| error.to_string())?.into());
        if rustix::process::geteuid().is_root() {
            isolation.uids = Some(Uids::open(&config.state.join("uids.json")).map_err(|error| error.to_string())?);
        }
        isolation.way_out = WayOut::new(&config.state);
        if isolation.level >= Level::Userns {
            isolation.find_controllers(&config.state);
        }
        Ok(isolation)
    }

    /// Control groups are found again after a crash by a name that no other platform on this machine has.
    fn find_controllers(&mut self, state: &Path) {
        let Ok(state) = fs::metadata(state) else { return };
        let parent = format!("crema-{:x}-{:x}", state.dev(), state.ino());
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        match Controllers::probe(Path::new(CGROUPS), &own, &parent) {
            Ok(controllers) => self.controllers = Some(controllers),
            Err(error) => self.reasons.push(error.to_string()),
        }
    }

    /// How far every function is confined.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Whether control groups bound memory and processor time.
    pub(crate) fn controlled(&self) -> (bool, bool) {
        let available = self.controllers.as_ref().map(Controllers::available).unwrap_or_default();
        (available.memory, available.cpu)
    }

    /// Whether control groups bound the number of processes.
    pub(crate) fn counts_processes(&self) -> bool {
        self.controllers.as_ref().is_some_and(|controllers| controllers.available().pids)
    }

    /// In words: the level, what is bounded, and why it is no more.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = self.level.to_string();
        if let Some(controllers) = &self.controllers {
            let available = controllers.available();
            let named = [(available.memory, "memory"), (available.cpu, "cpu"), (available.pids, "processes")];
            let named: Vec<&str> = named.into_iter().filter_map(|(is, name)| is.then_some(name)).collect();
            text += &format!("; bounded by control groups: {}", named.join(", "));
        }
        for reason in &self.reasons {
            text += &format!("; {reason}");
        }
        text
    }

    /// Whether a deployment can be run as it asks for.
    pub(crate) fn admit(&self, deployment: &FunctionDeployment, image: &Image) -> Result<()> {
        let wants = Wants::of(deployment)?;
        let refuse = |what: String| Err(ProviderError::Invalid(what));
        if wants.at_least > self.level {
            return refuse(format!(
                "annotation {} asks for isolation level {}, and this machine gives {}: {}",
                annotation::ISOLATION,
                wants.at_least,
                self.level,
                self.reasons()
            ));
        }
        if !serves_socket(image) && self.level < Level::Userns {
            return refuse(format!(
                "image {} does not carry the label {IMAGE_SERVES}={SERVES_UNIX_SOCKET}, so it needs a file system of its \
                 own (isolation level userns or full), and this machine gives {}: {}; functions built with Crema's SDK \
                 or watchdog run at every level",
                deployment.image,
                self.level,
                self.reasons()
            ));
        }
        match wants.network {
            Network::Egress if self.level < Level::Full => refuse(format!(
                "annotation {}: egress needs isolation level full (root), and this machine gives {}: run crema as root, \
                 or give the function the machine's own network with host",
                annotation::NETWORK,
                self.level
            )),
            Network::None if self.level < Level::Userns => refuse(format!(
                "annotation {}: none needs isolation level userns or full, and this machine gives {}: {}",
                annotation::NETWORK,
                self.level,
                self.reasons()
            )),
            _ => Ok(()),
        }
    }

    fn reasons(&self) -> String {
        self.reasons.join("; ")
    }

    /// Whether every function is a user of its own.
    pub(crate) const fn has_users(&self) -> bool {
        self.uids.is_some()
    }

    /// The user a function is, when it is one of its own.
    pub(crate) fn user(&self, name: &FunctionName) -> std::result::Result<Option<u32>, sandbox::uids::UidsError> {
        self.uids.as_ref().map(|uids| uids.uid(&format!("{}/{}", name.namespace(), name.name()))).transpose()
    }

    /// A control group with a deployment's limits, where there are control groups.
    pub(crate) fn cgroup(
        &self,
        id: &str,
        deployment: &FunctionDeployment,
    ) -> std::result::Result<Option<Cgroup>, cgroup::CgroupError> {
        let Some(controllers) = &self.controllers else { return Ok(None) };
        let limits = deployment.limits.as_ref();
        let memory = limits.and_then(|limits| wire::quantity::memory(&limits.memory).ok());
        let cpu = limits.and_then(|limits| wire::quantity::cpu(&limits.cpu).ok());
        let limits = cgroup::Limits { memory_bytes: memory, cpu_millis: cpu, pids: Some(MOST_PROCESSES) };
        controllers.create(id, &limits).map(Some)
    }

    /// Gives the network of a process a way out. Blocks for some milliseconds.
    pub(crate) fn let_out(&self, process: Pid) -> io::Result<()> {
        self.way_out.give(process)
    }

    /// Sees to it that those with a way out reach no more than they are to. Blocks for some milliseconds.
    pub(crate) fn uphold(&self) {
        self.way_out.uphold();
    }

    /// Removes control groups and network devices that an earlier process of the platform left behind; `false`: some are still in use.
    pub(crate) fn clear_left_over(&self) -> bool {
        if let Err(error) = self.way_out.clear_left_over() {
            tracing::warn!(%error, "What an earlier run left of functions' way out cannot be removed");
        }
        let Some(controllers) = &self.controllers else { return true };
        match controllers.clear_left_over(|_| false) {
            Ok(Removal::Busy) => false,
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%error, "Control groups of an earlier run cannot be removed");
                true
            }
        }
    }

    /// Removes what all functions' control groups and networks had in common. Blocks.
    pub(crate) fn close(&self) {
        if let Err(error) = self.way_out.close() {
            tracing::warn!(%error, "The functions' way out cannot be removed; the next start tries again");
        }
        if let Some(Err(error)) = self.controllers.as_ref().map(Controllers::close) {
            tracing::warn!(%error, "The functions' control group cannot be removed");
        }
    }
}
