//! Which of several operators acts: the one that holds a Lease.
//!
//! The holder renews it every [`RENEW`]. Another takes it once it has not changed for [`DURATION`] by its own steady
//! clock; what the Lease says the time is matters to nobody, as clocks of edge boxes may be years apart. A holder that
//! cannot renew stops acting before the others may begin. Each write names the version it was read as, so of two that
//! reach for it one gets it.

use crate::config::Election;
use daemon::Clock;
use k8s_openapi::api::coordination::v1::{Lease as Object, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use kube::{Client, Error};
use kubernetes::label;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// The Lease's name.
pub const LEASE: &str = "crema-operator";
/// How long a Lease holds.
pub const DURATION: Duration = Duration::from_secs(10);
/// How often it is renewed.
pub const RENEW: Duration = Duration::from_secs(3);
/// When a holder that cannot renew gives up: before others may take it.
const GIVE_UP: Duration = Duration::from_secs(8);
/// How often the others look.
const LOOK: Duration = Duration::from_secs(2);
/// How long a renewal waits before it is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(3);

/// The Lease as one of those who want it sees it.
pub(crate) struct Lease {
    api: Api<Object>,
    identity: String,
    clock: Arc<dyn Clock>,
}

/// The Lease, held.
pub(crate) struct Held {
    object: Object,
    /// When the last renewal was asked for.
    since: Instant,
}

impl Lease {
    pub(crate) fn new(client: Client, election: &Election, clock: Arc<dyn Clock>) -> Self {
        let api = Api::namespaced(client, &election.namespace);
        Self { api, identity: election.identity.clone(), clock }
    }

    /// Waits until it is ours.
    pub(crate) async fn acquire(&self) -> Held {
        let mut seen: Option<(String, Instant)> = None;
        let mut warned = false;
        loop {
            let asked = Instant::now();
            let wait = match within(self.look(&mut seen)).await {
                Ok(Ok(object)) => return Held { object, since: asked },
                Ok(Err(wait)) => wait,
                Err(error) if warned => {
                    tracing::debug!(%error, "The Lease cannot be read or written");
                    LOOK
                }
                Err(error) => {
                    warned = true;
                    tracing::warn!(%error, lease = LEASE, "The Lease cannot be read or written; trying on");
                    LOOK
                }
            };
            sleep(wait).await;
        }
    }

    /// Looks once: takes it, or says when to look again.
    async fn look(&self, seen: &mut Option<(String, Instant)>) -> Result<Result<Object, Duration>, Error> {
        let Some(object) = self.api.get_opt(LEASE).await? else {
            return taken(self.api.create(&PostParams::default(), &self.ours(None)).await);
        };
        let spec = object.spec.as_ref();
        let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
        if holder.is_empty() || holder == self.identity {
            return self.take(&object).await;
        }
        let version = object.metadata.resource_version.clone().unwrap_or_default();
        let since = match seen {
            Some((known, since)) if *known == version => *since,
            _ => seen.insert((version, Instant::now())).1,
        };
        match DURATION.checked_sub(since.elapsed()).filter(|left| !left.is_zero()) {
            Some(left) => Ok(Err(left.min(LOOK))),
            None => {
                tracing::info!(holder, "The operator that led has not renewed its Lease");
                self.take(&object).await
            }
        }
    }

    async fn take(&self, former: &Object) -> Result<Result<Object, Duration>, Error> {
        taken(self.api.replace(LEASE, &PostParams::default(), &self.ours(Some(former))).await)
    }

    /// Renews it until it is lost.
    pub(crate) async fn keep(&self, held: &mut Held) {
        loop {
            sleep(RENEW.saturating_sub(held.since.elapsed()).max(AGAIN)).await;
            let left = GIVE_UP.saturating_sub(held.since.elapsed());
            if left.is_zero() {
                return;
            }
            let (asked, params) = (Instant::now(), PostParams::default());
            let ours = self.ours(Some(&held.object));
            let renewal = within(self.api.replace(LEASE, &params, &ours));
            let Ok(renewed) = timeout(left, renewal).await else { return };
            match renewed {
                Ok(object) => *held = Held { object, since: asked },
                Err(Error::Api(status)) if status.is_conflict() || status.is_not_found() => {
                    // An answer that was lost may have been a renewal of ours.
                    let now = within(self.api.get_opt(LEASE)).await.ok().flatten();
                    let Some(object) = now.filter(|now| self.holds(now)) else { return };
                    held.object = object;
                }
                Err(error) => tracing::debug!(%error, "The Lease was not renewed"),
            }
        }
    }

    /// Lets the next one have it at once.
    pub(crate) async fn release(&self, held: Held) {
        let mut released = within(self.let_go(held.object)).await;
        if matches!(&released, Err(Error::Api(status)) if status.is_conflict()) {
            // A renewal that was given up came through.
            released = match within(self.api.get_opt(LEASE)).await {
                Ok(Some(now)) if self.holds(&now) => within(self.let_go(now)).await,
                other => other.map(drop),
            };
        }
        if let Err(error) = released {
            tracing::debug!(%error, "The Lease was not given back; it runs out");
        }
    }

    async fn let_go(&self, mut object: Object) -> Result<(), Error> {
        if let Some(spec) = object.spec.as_mut() {
            spec.holder_identity = Some(String::new());
        }
        self.api.replace(LEASE, &PostParams::default(), &object).await.map(drop)
    }

    fn holds(&self, object: &Object) -> bool {
        object.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref()) == Some(&self.identity)
    }

    fn ours(&self, former: Option<&Object>) -> Object {
        let now = MicroTime(self.clock.now());
        let before = former.and_then(|former| former.spec.clone()).unwrap_or_default();
        let kept = former.is_some_and(|former| self.holds(former));
        let transitions = before.lease_transitions.unwrap_or(0);
        let started = former.is_some() && !kept;
        Object {
            metadata: match former {
                Some(former) => former.metadata.clone(),
                None => ObjectMeta {
                    name: Some(LEASE.to_owned()),
                    labels: Some([(label::MANAGED_BY.to_owned(), label::MANAGED_BY_OPERATOR.to_owned())].into()),
                    ..ObjectMeta::default()
                },
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: Some(i32::try_from(DURATION.as_secs()).unwrap_or(i32::MAX)),
                acquire_time: before.acquire_time.filter(|_| kept).or_else(|| Some(now.clone())),
                renew_time: Some(now),
                lease_transitions: Some(if started { transitions.saturating_add(1) } else { transitions }),
                ..before
            }),
        }
    }
}

/// A conflict means that another was quicker.
fn taken(written: Result<Object, Error>) -> Result<Result<Object, Duration>, Error> {
    match written {
        Ok(object) => Ok(Ok(object)),
        Err(Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(Err(LOOK)),
        Err(error) => Err(error),
    }
}

/// A request that takes too long is one that has failed.
async fn within<T>(request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match timeout(REQUEST, request).await {
        Ok(answer) => answer,
        Err(late) => Err(Error::Service(Box::new(late))),
    }
}
