//! What a confined process is to be: everything the helper needs to know, sent to it over its socket.

use crate::Level;
use crate::confine::{Limits, Rules};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// How much a function may keep in its `/tmp` when nothing else is said.
pub const DEFAULT_TMP_BYTES: u64 = 64 << 20;

/// What a confined process is to be.
///
/// At [`Level::Full`] and [`Level::Userns`] the program, the working directory and the targets of mounts are paths
/// inside `root`. At [`Level::Process`] and [`Level::None`] there is no inside: they are paths of this machine, and
/// `root`, `writable`, `hostname`, `mounts`, `texts`, `shared`, the sizes and the network are not looked at. At [`Level::None`] neither
/// are `limits`, `files` and `seccomp`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Spec {
    /// How far it is confined.
    pub level: Level,
    /// The directory of the unpacked image, prepared by [`crate::prepare_root`].
    pub root: PathBuf,
    /// Bytes that may be written over the image, which stays as it is; `None`: the root is read-only.
    pub writable: Option<u64>,
    /// The program and its arguments. A program without a slash is looked for in the `PATH` of `env`. Empty: all is
    /// made as if for a program, and the process ends.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// The working directory; empty: the root.
    pub working_dir: PathBuf,
    /// Who the process is. As root: who it becomes, at every level but [`Level::None`]. As an ordinary user: the
    /// number that this user has inside, at [`Level::Userns`].
    pub user: Option<User>,
    /// The name of the machine inside.
    pub hostname: String,
    /// What is shown inside besides the image, in this order.
    pub mounts: Vec<Mount>,
    /// Files that are made for it, in memory, each to be read only.
    pub texts: Vec<Text>,
    /// A directory that it shares with the platform.
    pub shared: Option<Shared>,
    /// The size of `/tmp` inside.
    pub tmp_bytes: u64,
    /// The size of `/dev/shm` inside.
    pub shm_bytes: u64,
    /// What it reaches.
    pub network: Network,
    /// The files that it writes `0` into before its program runs, to be in its control groups.
    pub cgroups: Vec<PathBuf>,
    /// What it may use.
    pub limits: Limits,
    /// The files and ports it may use, where the kernel can hold it to that; `None`: no such rules.
    pub files: Option<Rules>,
    /// What [`crate::seccomp::program`] made for the level.
    #[serde(with = "bytes")]
    pub seccomp: Option<Arc<[u8]>>,
}

/// Many bytes as one piece, which is far faster than byte by byte.
mod bytes {
    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};
    use std::fmt;
    use std::sync::Arc;

    pub(super) fn serialize<S: Serializer>(bytes: &Option<Arc<[u8]>>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes.as_deref().unwrap_or_default())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<[u8]>>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Option<Arc<[u8]>>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(Some(bytes.into()).filter(|bytes: &Arc<[u8]>| !bytes.is_empty()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// A user and a group by number.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct User {
    /// The user's number.
    pub uid: u32,
    /// The group's number; it is the only group.
    pub gid: u32,
}

/// A file or directory of this machine that is shown inside.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Mount {
    /// A path of this machine.
    pub source: PathBuf,
    /// A path inside, which must be there: see [`crate::prepare_root`].
    pub target: PathBuf,
    /// Whether it can only be read.
    pub read_only: bool,
}

impl Mount {
    /// Shows `source` at `target`, to be read only.
    pub fn read_only(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self { source: source.into(), target: target.into(), read_only: true }
    }

    /// Shows `source` at `target`, to be written too.
    pub fn writable(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self { read_only: false, ..Self::read_only(source, target) }
    }
}

/// A file that is made for a process.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Text {
    /// A path inside, which must be there: see [`crate::prepare_root`].
    pub target: PathBuf,
    /// What is in it.
    pub content: String,
}

/// A directory in memory, the process's own, that the platform sees too: by a descriptor, since it has no path outside.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Shared {
    /// A path inside, which must be there: see [`crate::prepare_root`].
    pub target: PathBuf,
    /// How much it holds.
    pub bytes: u64,
}

/// What a confined process reaches, at [`Level::Full`] and [`Level::Userns`].
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Network {
    /// A network of its own, with nothing in it but the loopback device.
    Own {
        /// Addresses to listen on inside; the sockets are handed out in this order.
        listen: Vec<SocketAddr>,
        /// Where an agent that hands out sockets of this network listens, if one is wanted.
        agent: Option<PathBuf>,
    },
    /// The network of this machine.
    Host,
}

impl Spec {
    /// A process with the defaults: read-only root, a network of its own, no user, nothing mounted.
    #[must_use]
    pub fn new(level: Level, root: impl Into<PathBuf>, argv: Vec<String>) -> Self {
        Self {
            level,
            root: root.into(),
            writable: None,
            argv,
            env: Vec::new(),
            working_dir: PathBuf::new(),
            user: None,
            hostname: "function".to_owned(),
            mounts: Vec::new(),
            texts: Vec::new(),
            shared: None,
            tmp_bytes: DEFAULT_TMP_BYTES,
            shm_bytes: DEFAULT_TMP_BYTES,
            network: Network::Own { listen: Vec::new(), agent: None },
            cgroups: Vec::new(),
            limits: Limits::default(),
            files: None,
            seccomp: None,
        }
    }
}
