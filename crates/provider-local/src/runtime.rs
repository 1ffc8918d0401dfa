//! The runtime seam: who makes a replica run.
//!
//! Two implementations: processes, and in tests one that does what a script says.

use crate::desired::Desired;
use crate::readiness::Probe;
use async_trait::async_trait;
use provider::Address;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use wire::FunctionName;

/// A replica to start.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) name: FunctionName,
    /// A short name no other replica has, of letters and digits.
    pub(crate) id: String,
    /// The replica's name in logs.
    pub(crate) instance: String,
    pub(crate) desired: Arc<Desired>,
}

/// Makes replicas run.
#[async_trait]
pub(crate) trait Runtime: Send + Sync + 'static {
    /// Ends what an earlier process of the platform left behind.
    async fn clear_survivors(&self);

    /// Starts a replica. It need not be ready when this returns.
    async fn start(&self, order: &Order) -> Result<Arc<dyn Running>, StartError>;

    /// Ends what is kept ready for starts; nothing is started any more.
    async fn close(&self);
}

/// A replica that runs. When it is dropped, it is ended.
#[async_trait]
pub(crate) trait Running: Send + Sync + 'static {
    /// Where it listens.
    fn address(&self) -> Address;

    /// Waits until it can be called, asked as the probe says. Waits for ever when that never comes: [`Running::ended`]
    /// and time tell more.
    async fn ready(&self, probe: &Probe);

    /// Waits until it has ended and nothing of it is left; gives how, in words.
    async fn ended(&self) -> String;

    /// Asks it to end.
    fn terminate(&self);

    /// Ends it.
    fn kill(&self);

    /// What it has used so far and uses now, when that is known.
    fn sample(&self) -> Option<Sample>;

    /// How long to wait between asking it to end and ending it.
    fn grace(&self) -> Duration;
}

/// A reading of what a replica uses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// CPU time since its start.
    pub(crate) cpu: Duration,
    pub(crate) memory_bytes: u64,
}

/// Why a replica could not be started.
#[derive(Debug)]
pub(crate) struct StartError(String);

impl StartError {
    /// What was being done, and what happened.
    pub(crate) fn new(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self(format!("{what}: {error}"))
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}
