//! A Function object as the provider keeps it, and what the REST API and the replica table say of it.

use crate::origin;
use kubernetes::{Function, FunctionSpec, FunctionState, at_least, condition, label as names};
use provider::{FunctionReplicas, Replica, Standing};
use std::sync::Arc;
use wire::function::{FunctionDeployment, FunctionStatus};
use wire::{FunctionName, annotation};

// What a label may ask for is the same wherever it is read.
const _: () = assert!(kubernetes::MAX_REPLICAS == provider::check::MAX_REPLICAS);

/// What is wanted of a function, and how it goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    /// The object's identity: one of the same name that is made later has another.
    pub(crate) uid: String,
    pub(crate) spec: FunctionSpec,
    /// When it was made, RFC 3339.
    pub(crate) created_at: String,
    /// Who looks after it when it is not ours to change.
    pub(crate) origin: Option<String>,
    /// What is wrong with it, in the operator's words.
    pub(crate) trouble: Option<String>,
}

impl Wanted {
    pub(crate) fn of(function: Function) -> Self {
        Self {
            origin: origin::of(&function.metadata),
            uid: function.metadata.uid.unwrap_or_default(),
            created_at: function.metadata.creation_timestamp.map_or_else(wire::function::never, |at| at.0.to_string()),
            trouble: function.status.as_ref().and_then(trouble),
            spec: function.spec,
        }
    }

    /// The label `com.openfaas.scale.min`, or 1.
    pub(crate) fn at_least(&self) -> u32 {
        at_least(self.spec.labels.as_ref())
    }

    /// Replicas wanted.
    pub(crate) fn desired(&self) -> u32 {
        self.spec.replicas.map_or_else(|| self.at_least(), |replicas| u32::try_from(replicas).unwrap_or(0))
    }

    pub(crate) fn deployment(&self, name: &FunctionName) -> FunctionDeployment {
        self.spec.deployment(name.namespace())
    }

    /// What the table says of it.
    pub(crate) fn replicas(&self, ready: Vec<Arc<Replica>>) -> FunctionReplicas {
        FunctionReplicas {
            ready,
            desired: self.desired(),
            at_least: self.at_least(),
            annotations: self.spec.annotations.clone().unwrap_or_default(),
            labels: self.spec.labels.clone().unwrap_or_default(),
            trouble: self.trouble.clone(),
        }
    }

    /// What the REST API says of it.
    pub(crate) fn status(&self, name: &FunctionName, ready: usize) -> FunctionStatus {
        let mut deployment = self.deployment(name);
        let said = [(annotation::STATUS, &self.trouble), (names::ORIGIN, &self.origin)];
        for (key, text) in said {
            if let Some(text) = text {
                deployment.annotations.insert(key.to_owned(), text.clone());
            }
        }
        let standing = Standing { created_at: self.created_at.clone(), desired: self.desired(), ready };
        provider::status(name, deployment, standing)
    }
}

/// Why no replica gets ready: the operator cannot make it, or what it made does not get ready.
fn trouble(state: &FunctionState) -> Option<String> {
    let found = |kind: &str, status: &str| {
        state.conditions.iter().find(|condition| condition.type_ == kind && condition.status == status)
    };
    let failing = |kind: &str, status: &str| {
        found(kind, status).filter(|condition| condition.reason == condition::REPLICAS_FAILING)
    };
    let said = found(condition::STALLED, "True")
        .or_else(|| failing(condition::RECONCILING, "True"))
        .or_else(|| failing(condition::HEALTHY, "False"))?;
    Some(if said.message.is_empty() { said.reason.clone() } else { said.message.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use condition::REPLICAS_FAILING as FAILING;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
    use kubernetes::MAX_REPLICAS;
    use wire::label;

    fn wanted(spec: FunctionSpec) -> Wanted {
        let created_at = "2026-01-02T03:04:05Z".to_owned();
        Wanted { uid: "1".to_owned(), spec, created_at, origin: None, trouble: None }
    }

    #[test]
    fn replicas_are_those_scaled_to_or_the_label_s() {
        let labels = |least: &str| Some([(label::SCALE_MIN.to_owned(), least.to_owned())].into());
        for (least, replicas, desired, at_least) in [
            (None, None, 1, 1),
            (Some("3"), None, 3, 3),
            (Some("3"), Some(0), 0, 3),
            (Some("0"), None, 1, 1),
            (Some("many"), Some(2), 2, 1),
            (Some("99999999"), Some(-4), 0, MAX_REPLICAS),
        ] {
            let spec = FunctionSpec { labels: least.and_then(labels), replicas, ..FunctionSpec::default() };
            let wanted = wanted(spec);
            assert_eq!((wanted.desired(), wanted.at_least()), (desired, at_least), "{least:?} {replicas:?}");
        }
    }

    #[test]
    fn a_status_says_what_is_wrong_and_who_looks_after_it() {
        let name: FunctionName = "order.shop".parse().unwrap();
        let fine = wanted(FunctionSpec { name: "order".to_owned(), ..FunctionSpec::default() });
        assert!(fine.status(&name, 1).annotations.is_empty());
        let stalled = Wanted {
            origin: Some("Fleet".to_owned()),
            trouble: Some("secret api-key is missing".to_owned()),
            ..fine.clone()
        };
        let status = stalled.status(&name, 0);
        assert_eq!(status.annotations[annotation::STATUS], "secret api-key is missing");
        assert_eq!(status.annotations[names::ORIGIN], "Fleet");
        assert_eq!((status.name.as_str(), status.namespace.as_str()), ("order", "shop"));
    }

    #[test]
    fn only_what_is_no_progress_is_trouble() {
        let state = |type_: &str, status: &str, reason: &str| {
            let mut condition: Condition = serde_json::from_str(
                r#"{"type":"","status":"","reason":"","message":"why","lastTransitionTime":"2026-01-02T03:04:05Z"}"#,
            )
            .unwrap();
            type_.clone_into(&mut condition.type_);
            status.clone_into(&mut condition.status);
            reason.clone_into(&mut condition.reason);
            FunctionState { conditions: vec![condition], ..FunctionState::default() }
        };
        assert_eq!(trouble(&state(condition::STALLED, "True", "SecretMissing")).as_deref(), Some("why"));
        assert_eq!(trouble(&state(condition::STALLED, "False", "x")), None);
        assert_eq!(trouble(&state(condition::RECONCILING, "True", "Progressing")), None);
        assert_eq!(trouble(&state(condition::RECONCILING, "True", FAILING)).as_deref(), Some("why"));
        assert_eq!(trouble(&state(condition::HEALTHY, "False", FAILING)).as_deref(), Some("why"));
        assert_eq!(trouble(&state(condition::HEALTHY, "False", "ScaledToZero")), None);
        assert_eq!(trouble(&state(condition::READY, "False", "x")), None);
    }
}
