//! Whose an object is that carries the name we need.

use crate::Stalled;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kubernetes::{Function, label};

/// Whose it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Owner {
    /// The Function's; or ours without an owner, as an orphaning deletion leaves it.
    Function,
    /// A former Function's of this name: it is about to be deleted.
    Former,
    /// Someone else's; what is known about whom.
    Other(String),
}

impl Owner {
    pub(crate) fn of(object: &ObjectMeta, function: &Function) -> Self {
        let owners = object.owner_references.iter().flatten();
        let controller = owners.into_iter().find(|owner| owner.controller == Some(true));
        let Some(controller) = controller else {
            return if is_ours(object, function) { Self::Function } else { Self::Other(whose(object)) };
        };
        if Some(&controller.uid) == function.metadata.uid.as_ref() {
            return Self::Function;
        }
        let same = controller.kind == Function::kind(&()) && Some(&controller.name) == function.metadata.name.as_ref();
        if same { Self::Former } else { Self::Other(format!("it belongs to {} {}", controller.kind, controller.name)) }
    }

    pub(crate) fn stalled(self, kind: &str, function: &Function) -> Option<Stalled> {
        let Self::Other(whose) = self else { return None };
        let name = function.metadata.name.clone().unwrap_or_default();
        Some(Stalled::NameTaken { kind: kind.to_owned(), name, whose })
    }
}

/// Whether it carries the labels of what we make of this Function.
pub(crate) fn is_ours(object: &ObjectMeta, function: &Function) -> bool {
    let labelled = |key: &str| object.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
    labelled(label::MANAGED_BY) == Some(label::MANAGED_BY_OPERATOR)
        && labelled(label::FUNCTION) == function.metadata.name.as_deref()
}

fn whose(object: &ObjectMeta) -> String {
    let labels = object.labels.as_ref();
    let annotations = object.annotations.as_ref();
    if let Some(release) = annotations.and_then(|annotations| annotations.get("meta.helm.sh/release-name")) {
        return format!("it came with the Helm release {release}");
    }
    match labels.and_then(|labels| labels.get(label::MANAGED_BY)) {
        Some(manager) => format!("it is managed by {manager}"),
        None => "it was made by someone else".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
    use std::collections::BTreeMap;

    fn function() -> Function {
        let mut function = Function::new("order", Default::default());
        function.metadata.uid = Some("1".to_owned());
        function
    }

    fn owned(kind: &str, name: &str, uid: &str) -> ObjectMeta {
        let owner = OwnerReference {
            kind: kind.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            controller: Some(true),
            ..OwnerReference::default()
        };
        ObjectMeta { owner_references: Some(vec![owner]), ..ObjectMeta::default() }
    }

    fn labelled(labels: &[(&str, &str)]) -> ObjectMeta {
        let labels = labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }
    }

    #[test]
    fn only_what_this_function_owns_or_lost_is_its_own() {
        let of = |object: &ObjectMeta| Owner::of(object, &function());
        assert_eq!(of(&owned("Function", "order", "1")), Owner::Function);
        assert_eq!(of(&owned("Function", "order", "0")), Owner::Former);
        assert!(matches!(of(&owned("Rollout", "order", "7")), Owner::Other(whose) if whose.contains("Rollout order")));
        let lost = labelled(&[("faas_function", "order"), ("app.kubernetes.io/managed-by", "crema")]);
        assert_eq!(of(&lost), Owner::Function);
        let theirs = labelled(&[("faas_function", "order"), ("app.kubernetes.io/managed-by", "Helm")]);
        assert_eq!(of(&theirs), Owner::Other("it is managed by Helm".to_owned()));
        assert!(matches!(of(&ObjectMeta::default()), Owner::Other(_)));
        let helm = ObjectMeta {
            annotations: Some(BTreeMap::from([("meta.helm.sh/release-name".to_owned(), "shop".to_owned())])),
            ..ObjectMeta::default()
        };
        let stalled = of(&helm).stalled("Service", &function()).unwrap();
        assert_eq!(stalled.reason(), "NameTaken");
        assert!(stalled.to_string().contains("Helm release shop"), "{stalled}");
    }
}
