//! One look at one Function: what it asks for is made true, what is seen is written down.

use crate::apply::{self, ApplyError};
use crate::metrics::Metrics;
use crate::objects::{self, ANNOTATION_REVISION};
use crate::pace::Pace;
use crate::report::Reporter;
use crate::status::{self, Outcome, Seen};
use crate::stores::{self, Stores};
use crate::trouble::Trouble;
use crate::{Config, Stalled};
use daemon::Clock;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Client, Resource, ResourceExt};
use kubernetes::{Function, FunctionState, label};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How soon to look again at what passes by itself.
const SOON: Duration = Duration::from_secs(2);

/// What every look needs.
pub(crate) struct Reconciler {
    pub(crate) client: Client,
    pub(crate) config: Arc<Config>,
    pub(crate) stores: Stores,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) reporter: Reporter,
    pub(crate) metrics: Arc<Metrics>,
    /// Of each Function what is remembered between looks. Locked for moments, never across an await.
    pub(crate) memory: Mutex<HashMap<String, Memory>>,
}

/// What is remembered of a Function.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Failures in a row.
    failures: u32,
    /// The status that was written last, until the watch shows it.
    written: Option<Written>,
}

#[derive(Clone, Debug)]
struct Written {
    uid: Option<String>,
    version: u64,
    state: FunctionState,
}

/// Why a look came to no end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    /// The API server is away, or another writer was quicker.
    #[error("{}", stores::chain(.0))]
    Api(#[from] kube::Error),
}

impl Reconciler {
    /// Looks at a Function.
    pub(crate) async fn look(self: Arc<Self>, function: Arc<Function>) -> Result<Action, ReconcileError> {
        self.stores.ready().await;
        let namespace = function.namespace().unwrap_or_default();
        if function.metadata.deletion_timestamp.is_some() {
            return Ok(Action::await_change());
        }
        if !self.stores.is_ours(&namespace) {
            tracing::debug!(function = %function.name_any(), namespace, "Its namespace is not one for functions");
            return Ok(Action::await_change());
        }
        let told = self.replicas(&function);
        if function.spec.replicas != told {
            // Not before the number: it is for the version that was read.
            let number = self.tell(&function, told).await;
            self.accept(&function).await?;
            number?;
            // The change comes back by the watch.
            return Ok(Action::await_change());
        }
        let (outcome, applied) = match self.make_true(&function).await {
            Ok(made) => made,
            Err(ApplyError::Ending) => return Ok(Action::requeue(SOON)),
            Err(ApplyError::Api(error)) => {
                self.accept(&function).await?;
                return Err(error.into());
            }
            Err(ApplyError::Wait(why)) => (Outcome::Waiting(why), None),
            Err(ApplyError::Stalled(stalled)) => (Outcome::Stalled(stalled), None),
        };
        let known = || self.stores.deployments.get(&ObjectRef::new(&function.name_any()).within(&namespace));
        let deployment = applied.map(Arc::new).or_else(known).filter(|deployment| owned(deployment, &function));
        let trouble = deployment.as_ref().and_then(|deployment| self.trouble(&function, deployment));
        let seen = Seen { deployment: deployment.as_deref(), trouble: trouble.as_ref() };
        self.write(&function, &outcome, seen).await?;
        self.remember(&function, |memory| memory.failures = 0);
        Ok(match outcome {
            Outcome::Waiting(_) => Action::requeue(SOON),
            Outcome::Stalled(stalled) => stalled.look_again().map_or_else(Action::await_change, Action::requeue),
            Outcome::Accepted | Outcome::Applied { .. } => Action::await_change(),
        })
    }

    /// When to look again after an error.
    pub(crate) fn after(&self, function: &Function, error: &ReconcileError) -> Action {
        let failures = self.remember(function, |memory| {
            memory.failures = memory.failures.saturating_add(1);
            memory.failures
        });
        self.metrics.failed();
        let (name, namespace) = (function.name_any(), function.namespace().unwrap_or_default());
        if failures == 3 {
            tracing::warn!(%error, function = name, namespace, "A function cannot be made true; trying on");
        } else {
            tracing::debug!(%error, function = name, namespace, failures, "Trying again");
        }
        Action::requeue(Pace::after(failures))
    }

    /// Forgets a Function that is gone.
    pub(crate) fn forget(&self, namespace: Option<&str>, name: &str) {
        let key = format!("{}/{name}", namespace.unwrap_or_default());
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }

    /// The first word about a Function of which nothing can be said yet: without one, Fleet would call it ready.
    async fn accept(&self, function: &Function) -> Result<(), ReconcileError> {
        if self.former(function).is_some() {
            return Ok(());
        }
        self.write(function, &Outcome::Accepted, Seen::default()).await
    }

    /// The replicas a Function is to ask for: as many as it does, the least its label allows unless none, and where it
    /// does not say, as many as run. Whoever replaces the whole object, as Fleet does to correct a drift, takes the number
    /// away without meaning to; and without a number nothing can be scaled by its subresource.
    fn replicas(&self, function: &Function) -> Option<i32> {
        let reference = ObjectRef::new(&function.name_any()).within(&function.namespace().unwrap_or_default());
        let runs = || {
            let deployment = self.stores.deployments.get(&reference).filter(|deployment| owned(deployment, function));
            deployment.and_then(|deployment| deployment.spec.as_ref()?.replicas)
        };
        let least = objects::least(function);
        Some(match function.spec.replicas.or_else(runs) {
            Some(0) => 0,
            Some(asked) => asked.max(least),
            None => least,
        })
    }

    async fn tell(&self, function: &Function, replicas: Option<i32>) -> Result<(), ReconcileError> {
        let api: Api<Function> = Api::namespaced(self.client.clone(), &function.namespace().unwrap_or_default());
        let patch = Patch::Merge(number(function, replicas));
        match api.patch_scale(&function.name_any(), &PatchParams::apply(label::OPERATOR), &patch).await {
            Ok(_) => Ok(()),
            // It was deleted meanwhile.
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn make_true(&self, function: &Function) -> Result<(Outcome, Option<Deployment>), ApplyError> {
        let wanted = match objects::build(function, &self.stores, &self.config) {
            Ok(wanted) => wanted,
            Err(stalled) => return self.scaled(function, stalled).await,
        };
        match apply::all(&self.client, &self.stores, function, &wanted).await {
            Ok((deployment, more)) => {
                let mut notes = wanted.notes;
                notes.extend(more);
                Ok((Outcome::Applied { profiles: wanted.profiles, notes }, Some(deployment)))
            }
            Err(ApplyError::Stalled(stalled)) => self.scaled(function, stalled).await,
            Err(error) => Err(error),
        }
    }

    /// What was made of it before stays, and is scaled.
    async fn scaled(&self, function: &Function, stalled: Stalled) -> Result<(Outcome, Option<Deployment>), ApplyError> {
        apply::scale(&self.client, &self.stores, function).await?;
        Ok((Outcome::Stalled(stalled), None))
    }

    fn trouble(&self, function: &Function, deployment: &Deployment) -> Option<Trouble> {
        let template = deployment.spec.as_ref()?.template.metadata.as_ref()?;
        let revision = template.annotations.as_ref()?.get(ANNOTATION_REVISION)?;
        self.stores.trouble(&function.namespace()?, &function.name_any(), revision)
    }

    /// Writes the status when it says something new.
    async fn write(&self, function: &Function, outcome: &Outcome, seen: Seen<'_>) -> Result<(), ReconcileError> {
        let former = self.former(function);
        let state = status::state(function, former.as_ref(), outcome, seen, self.clock.now());
        if former.as_ref() == Some(&state) {
            return Ok(());
        }
        let (name, namespace) = (function.name_any(), function.namespace().unwrap_or_default());
        let api: Api<Function> = Api::namespaced(self.client.clone(), &namespace);
        let body = json!({
            "apiVersion": Function::api_version(&()),
            "kind": Function::kind(&()),
            // Not another of the same name.
            "metadata": { "uid": function.metadata.uid },
            "status": state,
        });
        let params = PatchParams::apply(label::OPERATOR).force();
        let written = match api.patch_status(&name, &params, &Patch::Apply(&body)).await {
            Ok(written) => written,
            // It was deleted meanwhile.
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let version = version(&written);
        self.reporter.transition(function, former.as_ref(), &state).await;
        self.remember(function, |memory| {
            memory.written = version.map(|version| Written { uid: function.metadata.uid.clone(), version, state });
        });
        Ok(())
    }

    /// The status as it is: the watch may not yet show what was written last.
    fn former(&self, function: &Function) -> Option<FunctionState> {
        let seen = version(function);
        let written = self.remember(function, |memory| {
            let newer = memory.written.take().filter(|written| {
                written.uid == function.metadata.uid && seen.is_some_and(|seen| seen < written.version)
            });
            memory.written.clone_from(&newer);
            newer
        });
        written.map(|written| written.state).or_else(|| function.status.clone())
    }

    fn remember<T>(&self, function: &Function, change: impl FnOnce(&mut Memory) -> T) -> T {
        let key = format!("{}/{}", function.namespace().unwrap_or_default(), function.name_any());
        change(self.memory.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default())
    }
}

fn owned(deployment: &Deployment, function: &Function) -> bool {
    crate::owner::Owner::of(deployment.meta(), function) == crate::owner::Owner::Function
}

/// The number of replicas, for the Function as it was read: who has scaled it meanwhile is not overruled.
fn number(function: &Function, replicas: Option<i32>) -> Value {
    let metadata = &function.metadata;
    json!({ "metadata": { "uid": metadata.uid, "resourceVersion": metadata.resource_version },
        "spec": { "replicas": replicas } })
}

/// Versions of one kind of object can be compared.
fn version(function: &Function) -> Option<u64> {
    function.metadata.resource_version.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_for_the_function_as_it_was_read() {
        let object = json!({"apiVersion": "openfaas.com/v1", "kind": "Function", "spec": {"name": "a", "image": "b"},
            "metadata": {"name": "a", "uid": "7", "resourceVersion": "41"}});
        let function: Function = serde_json::from_value(object).unwrap();
        let wanted = json!({"metadata": {"uid": "7", "resourceVersion": "41"}, "spec": {"replicas": 2}});
        assert_eq!(number(&function, Some(2)), wanted);
    }
}
