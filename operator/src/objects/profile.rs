//! Profiles, merged in the order a function names them; later ones win (kubernetes.md §1).

use super::{Around, RECREATE};
use crate::{Config, Stalled};
use k8s_openapi::api::core::v1::ResourceRequirements;
use kubernetes::{AppliedProfile, ProfileRef, ProfileSpec, label};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wire::annotation::items;
use wire::function::FunctionDeployment;

/// All profiles of a function in one.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub(super) spec: ProfileSpec,
    pub(super) applied: Vec<AppliedProfile>,
}

impl Merged {
    pub(super) fn of(deployment: &FunctionDeployment, around: &impl Around, config: &Config) -> Result<Self, Stalled> {
        let mut merged = Self::default();
        let names = deployment.annotations.get(label::PROFILE).map_or("", String::as_str);
        for name in items(names) {
            let namespace = config.profiles_namespace.clone();
            let Some(profile) = around.profile(name) else {
                return Err(Stalled::ProfileMissing { name: name.to_owned(), namespace });
            };
            merged.add(&profile.spec);
            merged.applied.push(AppliedProfile {
                profile_ref: ProfileRef { name: name.to_owned(), namespace },
                observed_generation: profile.metadata.generation,
            });
        }
        Ok(merged)
    }

    pub(super) fn recreate(&self) -> bool {
        self.spec.strategy.as_ref().is_some_and(|strategy| strategy.type_.as_deref() == Some(RECREATE))
    }

    fn add(&mut self, profile: &ProfileSpec) {
        let spec = &mut self.spec;
        if let Some(more) = &profile.tolerations {
            spec.tolerations.get_or_insert_default().extend(more.iter().cloned());
        }
        fields(&mut spec.pod_security_context, profile.pod_security_context.as_ref());
        fields(&mut spec.dns_config, profile.dns_config.as_ref());
        resources(&mut spec.resources, profile.resources.as_ref());
        replace(&mut spec.runtime_class_name, &profile.runtime_class_name);
        replace(&mut spec.affinity, &profile.affinity);
        replace(&mut spec.topology_spread_constraints, &profile.topology_spread_constraints);
        replace(&mut spec.dns_policy, &profile.dns_policy);
        replace(&mut spec.priority_class_name, &profile.priority_class_name);
        replace(&mut spec.strategy, &profile.strategy);
    }
}

fn replace<T: Clone>(former: &mut Option<T>, later: &Option<T>) {
    if later.is_some() {
        former.clone_from(later);
    }
}

/// The fields that are set in the later one replace those of the former.
pub(super) fn fields<T: Clone + Serialize + DeserializeOwned>(former: &mut Option<T>, later: Option<&T>) {
    let Some(later) = later else { return };
    let Some(present) = former else {
        *former = Some(later.clone());
        return;
    };
    let (Ok(Value::Object(mut all)), Ok(Value::Object(more))) =
        (serde_json::to_value(&*present), serde_json::to_value(later))
    else {
        return;
    };
    all.extend(more);
    if let Ok(merged) = serde_json::from_value(Value::Object(all)) {
        *present = merged;
    }
}

fn resources(former: &mut Option<ResourceRequirements>, later: Option<&ResourceRequirements>) {
    let Some(later) = later else { return };
    let present = former.get_or_insert_default();
    for (into, from) in [(&mut present.limits, &later.limits), (&mut present.requests, &later.requests)] {
        if let Some(more) = from {
            into.get_or_insert_default().extend(more.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
    }
    replace(&mut present.claims, &later.claims);
}
