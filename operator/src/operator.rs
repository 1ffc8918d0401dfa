//! Waits for the lead, makes Functions true while it has it, and gives it back.

use crate::Config;
use crate::lease::Lease;
use crate::metrics::Metrics;
use crate::reconcile::Reconciler;
use crate::report::Reporter;
use crate::stores::Stores;
use daemon::{Clock, Health, Stop, health};
use futures_util::StreamExt;
use kube::Client;
use kube::runtime::controller::{self, Error as ControllerError, applier};
use kubernetes::Function;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// How many Functions are looked at at the same time.
const CONCURRENCY: u16 = 8;

/// Makes Functions true.
pub struct Operator {
    health: Health,
    lead: Lead,
}

/// Why there is no operator.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The address of `/healthz`, `/ready` and `/metrics`.
    #[error("cannot listen on {address} for /healthz, /ready and /metrics (CREMA_METRICS): {error}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
}

impl Operator {
    /// Takes what it needs and listens; it begins in [`run`](Self::run).
    pub async fn build(config: Config, client: Client, clock: Arc<dyn Clock>) -> Result<Self, OperatorError> {
        let address = config.metrics;
        let bound = Health::bind(address).await;
        let health = bound.map_err(|error| OperatorError::Listen { address, error })?;
        Ok(Self { health, lead: Lead { config: Arc::new(config), client, clock, metrics: Arc::default() } })
    }

    /// Where `/healthz`, `/ready` and `/metrics` are.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.health.address()
    }

    /// Works until `stop`.
    pub async fn run(self, stop: Stop) {
        let Self { health, lead } = self;
        health::beside(Some(health), Arc::clone(&lead.metrics), lead.run(stop)).await;
    }
}

struct Lead {
    config: Arc<Config>,
    client: Client,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

impl Lead {
    async fn run(&self, mut stop: Stop) {
        let Some(election) = &self.config.election else {
            tokio::select! { () = stop.wait() => {}, never = self.act() => match never {} }
            return;
        };
        let lease = Lease::new(self.client.clone(), election, Arc::clone(&self.clock));
        while !stop.is_stopped() {
            let mut held = tokio::select! {
                () = stop.wait() => return,
                held = lease.acquire() => held,
            };
            tracing::info!(identity = election.identity, "This operator leads");
            let stopped = tokio::select! {
                () = stop.wait() => true,
                () = lease.keep(&mut held) => false,
                never = self.act() => match never {},
            };
            self.metrics.leads(false);
            if stopped {
                lease.release(held).await;
            } else {
                tracing::warn!("The lead is lost: the Lease could not be renewed");
            }
        }
    }

    /// Looks at every Function that may not be as it should be. What is under way when this is dropped is given up: a
    /// request that was sent may still be done, the next leader does it again.
    async fn act(&self) -> Infallible {
        self.metrics.leads(true);
        let (stores, queue) = Stores::follow(&self.client, &self.config);
        let functions = stores.functions.clone();
        let reconciler = Arc::new(Reconciler {
            client: self.client.clone(),
            config: Arc::clone(&self.config),
            stores,
            clock: Arc::clone(&self.clock),
            reporter: Reporter::new(self.client.clone(), self.config.election.as_ref().map(|own| own.identity.clone())),
            metrics: Arc::clone(&self.metrics),
            memory: Mutex::default(),
        });
        let looks = applier(
            |function: Arc<Function>, reconciler: Arc<Reconciler>| Box::pin(reconciler.look(function)),
            |function, error, reconciler: Arc<Reconciler>| reconciler.after(&function, error),
            Arc::clone(&reconciler),
            functions.clone(),
            queue,
            controller::Config::default().concurrency(CONCURRENCY),
        );
        let mut looks = std::pin::pin!(looks);
        while let Some(look) = looks.next().await {
            self.metrics.looked(functions.len());
            match look {
                Ok(_) | Err(ControllerError::ReconcilerFailed(..)) => {}
                Err(ControllerError::ObjectNotFound(gone)) => reconciler.forget(gone.namespace.as_deref(), &gone.name),
                Err(ControllerError::QueueError(never)) => match never {},
                Err(ControllerError::RunnerError(error)) => tracing::error!(%error, "A watch has ended"),
            }
        }
        // Watches do not end.
        std::future::pending().await
    }
}
