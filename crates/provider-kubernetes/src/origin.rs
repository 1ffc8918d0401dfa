//! Who has applied an object: the REST API changes only what came through it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kubernetes::label;

/// What tools leave on the objects that they look after, and would put back: a label's or an annotation's beginning, and
/// the tool.
const MARKS: [(&str, &str); 7] = [
    ("fleet.cattle.io/", "Fleet"),
    ("objectset.rio.cattle.io/", "Fleet"),
    ("argocd.argoproj.io/", "Argo CD"),
    ("kustomize.toolkit.fluxcd.io/", "Flux"),
    ("helm.toolkit.fluxcd.io/", "Flux"),
    ("meta.helm.sh/", "Helm"),
    ("objectset.k3s.cattle.io/", "K3s"),
];
/// What `kubectl apply` leaves.
const KUBECTL: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Who looks after an object; `None` when it came through the REST API.
pub(crate) fn of(metadata: &ObjectMeta) -> Option<String> {
    let labels = metadata.labels.iter().flatten();
    let annotations = metadata.annotations.iter().flatten();
    let keys: Vec<&String> = labels.chain(annotations).map(|(key, _)| key).collect();
    if let Some((_, tool)) = MARKS.iter().find(|(mark, _)| keys.iter().any(|key| key.starts_with(mark))) {
        return Some((*tool).to_owned());
    }
    match metadata.labels.as_ref().and_then(|labels| labels.get(label::MANAGED_BY)) {
        Some(ours) if ours == label::MANAGED_BY_GATEWAY => return None,
        Some(other) => return Some(other.clone()),
        None => {}
    }
    if keys.iter().any(|key| *key == KUBECTL) {
        return Some("kubectl".to_owned());
    }
    let managers = metadata.managed_fields.iter().flatten();
    let first = managers.filter(|entry| entry.subresource.is_none()).find_map(|entry| entry.manager.clone());
    // kubectl-client-side-apply, kubectl-create: the program is what a person knows.
    Some(match first {
        Some(manager) if manager.starts_with("kubectl") => "kubectl".to_owned(),
        Some(manager) if !manager.is_empty() => manager,
        Some(_) | None => "another program".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
    use std::collections::BTreeMap;

    fn map(key: &str, value: &str) -> Option<BTreeMap<String, String>> {
        Some([(key.to_owned(), value.to_owned())].into())
    }

    fn managed(manager: &str, subresource: Option<&str>) -> ManagedFieldsEntry {
        ManagedFieldsEntry {
            manager: Some(manager.to_owned()),
            subresource: subresource.map(str::to_owned),
            ..ManagedFieldsEntry::default()
        }
    }

    #[test]
    fn an_object_tells_who_looks_after_it() {
        let ours = || map(label::MANAGED_BY, label::MANAGED_BY_GATEWAY);
        let meta = |labels, annotations| ObjectMeta { labels, annotations, ..ObjectMeta::default() };
        assert_eq!(of(&meta(ours(), None)), None);
        assert_eq!(of(&meta(map(label::MANAGED_BY, "Helm"), None)).as_deref(), Some("Helm"));
        assert_eq!(of(&meta(None, map(KUBECTL, "{}"))).as_deref(), Some("kubectl"));
        // What was exported from a cluster and put into Git belongs to Git, though it carries our label.
        let fleet = meta(ours(), map("objectset.rio.cattle.io/id", "store"));
        assert_eq!(of(&fleet).as_deref(), Some("Fleet"));
        let applied = ObjectMeta {
            managed_fields: Some(vec![managed("crema-gateway", Some("scale")), managed("kubectl-create", None)]),
            ..ObjectMeta::default()
        };
        assert_eq!(of(&applied).as_deref(), Some("kubectl"));
        assert_eq!(of(&ObjectMeta::default()).as_deref(), Some("another program"));
    }
}
