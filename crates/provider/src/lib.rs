//! The provider seam: who runs functions.
//!
//! [`Provider`] is what the gateway asks of whoever runs functions; [`ReplicaTable`] is the live view of ready
//! replicas that the hot path reads without asking anyone. Layers below HTTP know no status codes: [`ProviderError`]
//! says what happened, the gateway chooses the code.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod check;
mod door;
mod error;
#[cfg(feature = "memory")]
pub mod memory;
mod replicas;
mod status;
#[cfg(feature = "suite")]
pub mod suite;

pub use door::Door;
pub use error::ProviderError;
pub use replicas::{Address, FunctionReplicas, Replica, ReplicaTable, Replicas, TableWriter};
pub use status::{Standing, status};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use wire::function::{FunctionDeployment, FunctionStatus};
use wire::info::ProviderInfo;
use wire::log::LogLine;
use wire::namespace::Namespace;
use wire::{DEFAULT_NAMESPACE, FunctionName};

/// What a call of [`Provider`] gives.
pub type Result<T> = std::result::Result<T, ProviderError>;

/// Which log lines are wanted.
#[derive(Clone, Debug, Default)]
pub struct LogQuery {
    /// Only the last so many lines of what is there; all when absent.
    pub tail: Option<usize>,
    /// Only lines at or after this moment, RFC 3339.
    pub since: Option<String>,
    /// Only this replica's lines.
    pub instance: Option<String>,
    /// Whether to go on with new lines as they come.
    pub follow: bool,
}

/// Whether a deploy changed anything.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Deployed {
    /// The function is new or differs from what was there.
    Changed,
    /// The same thing was deployed already; nothing was restarted.
    Unchanged,
}

/// Runs functions. Every implementation passes `suite` (behind the feature of that name).
///
/// Names are checked by the caller ([`FunctionName`]); a namespace or secret name that does not follow
/// [`wire::name::check_label`] and [`wire::name::check_subdomain`] is [`ProviderError::Invalid`].
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// Who this provider is.
    fn info(&self) -> ProviderInfo;

    /// The namespace of functions and secrets that are named without one.
    fn default_namespace(&self) -> &str {
        DEFAULT_NAMESPACE
    }

    /// The live view of replicas. It holds every deployed function, also those at zero, before the first call of
    /// anything else returns.
    fn replicas(&self) -> ReplicaTable;

    /// The functions of a namespace, by name. `invocation_count` is 0: the gateway counts.
    async fn list(&self, namespace: &str) -> Result<Vec<FunctionStatus>>;

    /// One function; with `usage`, what it uses when that is known.
    async fn status(&self, name: &FunctionName, usage: bool) -> Result<FunctionStatus>;

    /// Deploys a new function. [`ProviderError::Exists`] when there is one. Returns when the desired state is on disk;
    /// everything that can be checked without starting it (image, secrets, quantities) has been checked.
    async fn deploy(&self, deployment: FunctionDeployment) -> Result<Deployed>;

    /// Replaces a function's specification. [`ProviderError::NoFunction`] when there is none. A failed update never
    /// harms what runs.
    async fn update(&self, deployment: FunctionDeployment) -> Result<Deployed>;

    /// Removes a function. Its data directory stays unless `purge`.
    async fn delete(&self, name: &FunctionName, purge: bool) -> Result<()>;

    /// Asks for so many replicas; 0 stops all. Returns when the wish is on disk, not when it is fulfilled.
    async fn scale(&self, name: &FunctionName, replicas: u32) -> Result<()>;

    /// The same for a call that found no replica, unless some are wanted by now: where several gateways ask, whoever has
    /// scaled meanwhile is right.
    async fn wake(&self, name: &FunctionName, replicas: u32) -> Result<()> {
        self.scale(name, replicas).await
    }

    /// A function's log lines, oldest first.
    async fn logs(&self, name: &FunctionName, query: LogQuery) -> Result<BoxStream<'static, LogLine>>;

    /// The namespaces, the default one among them.
    async fn namespaces(&self) -> Result<Vec<Namespace>>;

    /// Makes a namespace; [`ProviderError::Exists`] when there is one.
    async fn create_namespace(&self, namespace: Namespace) -> Result<()>;

    /// Replaces a namespace's labels and annotations.
    async fn update_namespace(&self, namespace: Namespace) -> Result<()>;

    /// Removes a namespace; [`ProviderError::Conflict`] while it has functions, and always for the default one.
    async fn delete_namespace(&self, name: &str) -> Result<()>;

    /// The names of a namespace's secrets, sorted.
    async fn secrets(&self, namespace: &str) -> Result<Vec<String>>;

    /// Makes a secret; [`ProviderError::Exists`] when there is one.
    async fn create_secret(&self, namespace: &str, name: &str, value: Vec<u8>) -> Result<()>;

    /// Replaces a secret's value; [`ProviderError::NoSecret`] when there is none. Running replicas see it.
    async fn update_secret(&self, namespace: &str, name: &str, value: Vec<u8>) -> Result<()>;

    /// Removes a secret; [`ProviderError::Conflict`] while a function mounts it.
    async fn delete_secret(&self, namespace: &str, name: &str) -> Result<()>;
}
