//! Events: what happened to a Function, as `kubectl describe` shows it. One for each turn, none for each look.

use crate::status::condition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{self, Event, EventType, Recorder};
use kube::{Client, Resource, ResourceExt};
use kubernetes::condition::{READY, RECONCILING, REPLICAS_FAILING, STALLED};
use kubernetes::{Function, FunctionState, label};

const ACTION: &str = "Reconcile";
/// Kubernetes takes a kilobyte.
const LONGEST: usize = 900;

/// Publishes events.
pub(crate) struct Reporter(Recorder);

impl Reporter {
    pub(crate) fn new(client: Client, instance: Option<String>) -> Self {
        Self(Recorder::new(client, events::Reporter { controller: label::OPERATOR.to_owned(), instance }))
    }

    /// Says what has turned.
    pub(crate) async fn transition(&self, function: &Function, former: Option<&FunctionState>, now: &FunctionState) {
        for kind in [STALLED, READY, RECONCILING] {
            let (Some(turned), before) = (condition(Some(now), kind), condition(former, kind)) else { continue };
            let Some(type_) = worth(turned, before) else { continue };
            let event = Event {
                type_,
                reason: turned.reason.clone(),
                note: Some(turned.message.chars().take(LONGEST).collect()),
                action: ACTION.to_owned(),
                secondary: None,
            };
            if let Err(error) = self.0.publish(&event, &function.object_ref(&())).await {
                tracing::debug!(%error, function = %function.name_any(), "An event was not published");
            }
            return;
        }
    }
}

/// Whether a condition says something new that a person wants to read later.
fn worth(now: &Condition, before: Option<&Condition>) -> Option<EventType> {
    let same = before.is_some_and(|before| before.status == now.status && before.reason == now.reason);
    // A roll-out that is on its way shows in the Deployment's own events.
    if same || now.status != "True" || (now.type_ == RECONCILING && now.reason != REPLICAS_FAILING) {
        return None;
    }
    Some(if now.type_ == READY { EventType::Normal } else { EventType::Warning })
}
