//! What is seen of a Function, in the words that Fleet, Flux, Argo and `kubectl wait` read.
//!
//! `Ready` follows the roll-out of this generation, not the number of replicas: a function at zero is ready, and so is
//! one that is being scaled. `Healthy` follows the replicas.

use crate::trouble::Trouble;
use crate::{Stalled, objects};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kubernetes::condition::{HEALTHY, READY, RECONCILING, REPLICAS_FAILING, STALLED};
use kubernetes::{AppliedProfile, Function, FunctionState};

/// The reason that replicas may not be made.
const NOT_MADE: &str = "FailedCreate";

/// How far a Function is.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// It is looked at for the first time.
    Accepted,
    /// Its objects are applied.
    Applied { profiles: Vec<AppliedProfile>, notes: Vec<String> },
    /// It has to wait for something that ends by itself.
    Waiting(String),
    /// It cannot be done.
    Stalled(Stalled),
}

/// What is known about a Function's replicas.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen<'a> {
    pub(crate) deployment: Option<&'a Deployment>,
    /// What keeps its latest pods from serving.
    pub(crate) trouble: Option<&'a Trouble>,
}

/// The status; conditions that have not changed keep their time.
pub(crate) fn state(
    function: &Function,
    former: Option<&FunctionState>,
    outcome: &Outcome,
    seen: Seen<'_>,
    now: Timestamp,
) -> FunctionState {
    let wanted = wanted(function, seen.deployment);
    let status = seen.deployment.and_then(|deployment| deployment.status.as_ref());
    let available = status.and_then(|status| status.available_replicas).unwrap_or(0);
    let (replicas, generation) = (status.and_then(|status| status.replicas).unwrap_or(0), function.metadata.generation);
    let write = |said: Said| {
        let former = former.and_then(|state| state.conditions.iter().find(|former| former.type_ == said.kind));
        let since = former.filter(|former| former.status == said.status).map(|former| former.last_transition_time.0);
        Condition {
            type_: said.kind.to_owned(),
            status: said.status.to_owned(),
            reason: said.reason,
            message: said.message,
            observed_generation: generation,
            last_transition_time: Time(since.unwrap_or(now)),
        }
    };
    let mut conditions: Vec<_> = progress(outcome, seen).into_iter().map(write).collect();
    conditions.push(write(health(wanted, available, seen)));
    FunctionState {
        conditions,
        replicas,
        available_replicas: available,
        unavailable_replicas: (wanted - available).max(0),
        observed_generation: generation,
        selector: function.metadata.name.as_deref().map(objects::selector),
        profiles: match outcome {
            Outcome::Applied { profiles, .. } => profiles.clone(),
            _ => former.map(|former| former.profiles.clone()).unwrap_or_default(),
        },
    }
}

/// What the Deployment is told, as a data directory may allow less than the Function asks for.
fn wanted(function: &Function, deployment: Option<&Deployment>) -> i32 {
    let told = deployment.and_then(|deployment| deployment.spec.as_ref()?.replicas);
    told.unwrap_or_else(|| objects::replicas(function))
}

struct Said {
    kind: &'static str,
    status: &'static str,
    reason: String,
    message: String,
}

fn said(kind: &'static str, status: &'static str, reason: &str, message: &str) -> Said {
    Said { kind, status, reason: reason.to_owned(), message: message.to_owned() }
}

/// Ready, with Reconciling or Stalled where it is not.
fn progress(outcome: &Outcome, seen: Seen<'_>) -> Vec<Said> {
    let going = |ready, reason: &str, message: &str| {
        vec![said(READY, ready, reason, message), said(RECONCILING, "True", reason, message)]
    };
    let stuck = |reason: &str, message: &str| {
        vec![said(READY, "False", reason, message), said(STALLED, "True", reason, message)]
    };
    match outcome {
        Outcome::Accepted => going("Unknown", "Accepted", "its objects are about to be applied"),
        Outcome::Waiting(why) => going("False", "Waiting", why),
        Outcome::Stalled(stalled) => stuck(stalled.reason(), &stalled.to_string()),
        Outcome::Applied { notes, .. } => match rollout(seen) {
            Rollout::Done if notes.is_empty() => vec![said(READY, "True", "Applied", "its objects are as it says")],
            Rollout::Done => vec![said(READY, "True", "Applied", &notes.join("; "))],
            Rollout::Going(reason, message) => going("False", &reason, &message),
            Rollout::Stuck(reason, message) => stuck(&reason, &message),
        },
    }
}

enum Rollout {
    Done,
    Going(String, String),
    Stuck(String, String),
}

fn rollout(seen: Seen<'_>) -> Rollout {
    let Some(deployment) = seen.deployment else {
        return Rollout::Going("RollingOut".to_owned(), "its Deployment is about to be made".to_owned());
    };
    let status = deployment.status.as_ref();
    let observed = status.and_then(|status| status.observed_generation) >= deployment.metadata.generation;
    if !observed {
        return Rollout::Going("RollingOut".to_owned(), "its new replicas are about to be started".to_owned());
    }
    let progressing = of_deployment(deployment, "Progressing");
    let progressing = progressing.map(|progressing| (progressing.status.as_str(), progressing.reason.as_deref()));
    // A version from before comes back without a word of progress: replicas of another are still there then.
    let is_latest = status.is_some_and(|status| status.updated_replicas >= status.replicas);
    let is_out = progressing == Some(("True", Some("NewReplicaSetAvailable")));
    if let Some(message) = not_made(seen).filter(|_| !(is_out && is_latest)) {
        return Rollout::Stuck(NOT_MADE.to_owned(), message);
    }
    match progressing {
        _ if is_out && is_latest => Rollout::Done,
        Some(("False", Some("ProgressDeadlineExceeded"))) => {
            let (_, message) = why(seen, "", "no new replica became ready in time");
            let reason = seen.trouble.map_or("ProgressDeadlineExceeded", |trouble| &trouble.reason).to_owned();
            Rollout::Stuck(reason, format!("{message}{}", still(deployment)))
        }
        _ => {
            let (reason, message) = why(seen, "RollingOut", "its new replicas are being started");
            let still = if seen.trouble.is_some() { still(deployment) } else { "" };
            Rollout::Going(reason, format!("{message}{still}"))
        }
    }
}

fn why(seen: Seen<'_>, reason: &str, message: &str) -> (String, String) {
    match seen.trouble {
        Some(trouble) => (REPLICAS_FAILING.to_owned(), format!("{}: {}", trouble.reason, trouble.message)),
        None => (reason.to_owned(), message.to_owned()),
    }
}

fn still(deployment: &Deployment) -> &'static str {
    let available = deployment.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0);
    if available > 0 { "; the version before keeps serving" } else { "" }
}

/// Why replicas may not be made, a quota for one.
fn not_made(seen: Seen<'_>) -> Option<String> {
    let failure = of_deployment(seen.deployment?, "ReplicaFailure").filter(|failure| failure.status == "True")?;
    Some(failure.message.clone().unwrap_or_default().chars().take(400).collect())
}

fn of_deployment<'a>(deployment: &'a Deployment, kind: &str) -> Option<&'a DeploymentCondition> {
    deployment.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

fn health(wanted: i32, available: i32, seen: Seen<'_>) -> Said {
    let not_made = not_made(seen);
    if available > 0 {
        let more = not_made.map(|message| format!("; more cannot be made: {message}")).unwrap_or_default();
        return said(HEALTHY, "True", "ReplicasReady", &format!("at least one replica is ready{more}"));
    }
    if wanted == 0 {
        return said(HEALTHY, "False", "ScaledToZero", "no replica is asked for");
    }
    if let (Some(message), None) = (not_made, seen.trouble) {
        return said(HEALTHY, "False", REPLICAS_FAILING, &format!("{NOT_MADE}: {message}"));
    }
    let (reason, message) = why(seen, "NoReplicaReady", "no replica is ready");
    said(HEALTHY, "False", &reason, &message)
}

/// A condition of a status.
pub(crate) fn condition<'a>(state: Option<&'a FunctionState>, kind: &str) -> Option<&'a Condition> {
    state?.conditions.iter().find(|condition| condition.type_ == kind)
}

#[cfg(test)]
mod tests;
