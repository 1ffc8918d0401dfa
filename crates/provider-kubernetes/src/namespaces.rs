//! Namespaces of functions: those with the annotation `openfaas`, and the default one.

use crate::admit;
use crate::answer::{self, Refusal, ask};
use crate::board::Board;
use crate::config::{Config, SYSTEM_NAMESPACE};
use crate::mirror::Key;
use crate::origin;
use crate::watching::seen;
use k8s_openapi::api::core::v1::{Namespace as Object, PersistentVolumeClaim};
use kube::api::{Api, DeleteParams, ListParams, PostParams, Preconditions};
use kube::{Client, ResourceExt};
use kubernetes::{Function, label};
use provider::{ProviderError, Result, check};
use std::time::Duration;
use tokio::time::Instant;
use wire::function::TextMap;
use wire::namespace::{MARK, Namespace};

/// How long a removal waits until nothing is left of the namespace.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(200);
/// How often a change is tried that others get in the way of.
const TRIES: usize = 5;

/// What is kept of a namespace.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Space {
    labels: TextMap,
    annotations: TextMap,
    /// Whether it has the annotation.
    pub(crate) marked: bool,
}

impl Space {
    /// One that is being removed is gone.
    pub(crate) fn of(object: Object) -> Option<Self> {
        if object.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let visible = |map: Option<TextMap>| -> TextMap {
            map.unwrap_or_default().into_iter().filter(|(key, _)| !is_the_clusters(key)).collect()
        };
        let annotations = visible(object.metadata.annotations);
        Some(Self {
            labels: visible(object.metadata.labels),
            marked: annotations.contains_key(label::FUNCTION_NAMESPACE),
            annotations,
        })
    }

    /// As the REST API shows it.
    pub(crate) fn namespace(&self, name: &str) -> Namespace {
        Namespace { name: name.to_owned(), annotations: self.annotations.clone(), labels: self.labels.clone() }
    }
}

/// Labels and annotations that belong to the cluster and its tools: the REST API neither shows nor changes them.
fn is_the_clusters(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else { return false };
    ["kubernetes.io", "k8s.io", "cattle.io", "helm.sh"]
        .iter()
        .any(|suffix| domain.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

/// Changes of namespaces.
pub(crate) struct Namespaces<'a> {
    pub(crate) client: &'a Client,
    pub(crate) board: &'a Board,
    pub(crate) config: &'a Config,
}

impl Namespaces<'_> {
    pub(crate) fn list(&self) -> Vec<Namespace> {
        let mark = || [MARK].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let shown = |(name, space): (String, Option<std::sync::Arc<Space>>)| match space {
            Some(space) => space.namespace(&name),
            None => Namespace { name, labels: mark(), annotations: mark() },
        };
        self.board.spaces().into_iter().map(shown).collect()
    }

    pub(crate) async fn create(&self, namespace: Namespace) -> Result<()> {
        check(&namespace)?;
        let name = namespace.name.clone();
        if self.board.check_space(&name).is_ok() {
            return Err(ProviderError::Exists(format!("namespace {name}")));
        }
        self.may_change(&name)?;
        let mut object = Object::default();
        object.metadata.name = Some(name.clone());
        put(&mut object, namespace);
        object.labels_mut().insert(label::MANAGED_BY.to_owned(), label::MANAGED_BY_GATEWAY.to_owned());
        let made = ask(format!("make namespace {name}"), self.api().create(&params(), &object)).await;
        let made = made.map_err(|refusal| match refusal {
            Refusal::Exists(_) => ProviderError::Exists(format!("namespace {name}")),
            other => other.into(),
        })?;
        self.board.wrote::<Object>(seen(made));
        Ok(())
    }

    pub(crate) async fn update(&self, namespace: Namespace) -> Result<()> {
        check(&namespace)?;
        let name = namespace.name.clone();
        self.board.check_space(&name)?;
        self.may_change(&name)?;
        for _ in 0..TRIES {
            let mut object = self.get(&name).await?;
            self.is_ours(&object, "changed")?;
            object.metadata.labels.get_or_insert_default().retain(|key, _| is_the_clusters(key));
            object.metadata.annotations.get_or_insert_default().retain(|key, _| is_the_clusters(key));
            put(&mut object, namespace.clone());
            match ask(format!("change namespace {name}"), self.api().replace(&name, &params(), &object)).await {
                Ok(changed) => {
                    self.board.wrote::<Object>(seen(changed));
                    return Ok(());
                }
                Err(Refusal::Changed(_)) => {}
                Err(Refusal::NotFound(_)) => return Err(ProviderError::NoNamespace(name)),
                Err(other) => return Err(other.into()),
            }
        }
        Err(ProviderError::Conflict(format!("namespace {name} is being changed by others all the time: try again")))
    }

    pub(crate) async fn delete(&self, name: &str) -> Result<()> {
        self.board.check_space(name)?;
        if self.config.function_namespaces.iter().any(|named| named == name) {
            return Err(ProviderError::Conflict(format!(
                "namespace {name} is one the gateway is configured with and cannot be deleted"
            )));
        }
        self.may_change(name)?;
        let object = self.get(name).await?;
        self.is_ours(&object, "deleted")?;
        self.is_empty(name).await?;
        let uid = object.metadata.uid.clone();
        let preconditions = Some(Preconditions { uid: uid.clone(), resource_version: None });
        let deletion = DeleteParams { preconditions, ..DeleteParams::default() };
        let deleted = ask(format!("delete namespace {name}"), self.api().delete(name, &deletion)).await;
        answer::if_there(deleted)?;
        self.board.deleted::<Object>(&Key::new("", name), uid.as_deref().unwrap_or_default());
        self.wait_until_gone(name, uid.as_deref()).await
    }

    /// Whether nothing would be lost: functions, and data of those that were deleted and may come back.
    async fn is_empty(&self, name: &str) -> Result<()> {
        let functions: Api<Function> = Api::namespaced(self.client.clone(), name);
        let one = ListParams::default().limit(1);
        let functions = ask(format!("list the functions of {name}"), functions.list_metadata(&one)).await?;
        if let Some(function) = functions.items.first() {
            return Err(ProviderError::Conflict(format!(
                "namespace {name} still has functions, {} among them: delete them first",
                function.name_any()
            )));
        }
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), name);
        let claims = ask(format!("list the claims of {name}"), claims.list_metadata(&ListParams::default())).await?;
        let kept: Vec<String> = claims.items.iter().map(ResourceExt::name_any).collect();
        if kept.is_empty() {
            return Ok(());
        }
        Err(ProviderError::Conflict(format!(
            "namespace {name} still holds data, which would be deleted with it: {}; delete these claims first (kubectl \
             delete pvc --namespace {name} NAME), or next time delete the functions with purge",
            kept.join(", ")
        )))
    }

    /// A namespace of the same name can be made only when nothing is left of the old one.
    async fn wait_until_gone(&self, name: &str, uid: Option<&str>) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let found =
                ask(format!("look whether namespace {name} is gone"), self.api().get_metadata_opt(name)).await?;
            if found.is_none_or(|found| found.metadata.uid.as_deref() != uid) {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        tracing::warn!(namespace = name, "A deleted namespace is still ending");
        Ok(())
    }

    async fn get(&self, name: &str) -> Result<Object> {
        let found = ask(format!("read namespace {name}"), self.api().get_opt(name)).await?;
        found.ok_or_else(|| ProviderError::NoNamespace(name.to_owned()))
    }

    /// What Git or an administrator has made is theirs.
    fn is_ours(&self, object: &Object, done: &str) -> Result<()> {
        match origin::of(&object.metadata).filter(|_| !self.config.adopt) {
            None => Ok(()),
            Some(origin) => Err(ProviderError::Conflict(format!(
                "namespace {} did not come through the REST API ({origin} looks after it) and is not {done} by it: \
                 change it where it comes from, or set {}=true on the gateway",
                object.name_any(),
                crate::config::ENV_ADOPT
            ))),
        }
    }

    fn may_change(&self, name: &str) -> Result<()> {
        if name == SYSTEM_NAMESPACE {
            return Err(ProviderError::Invalid(format!("namespace {name} is the cluster's own")));
        }
        match self.config.cluster_role {
            true => Ok(()),
            false => Err(ProviderError::Invalid(format!(
                "namespace {name}: this platform has rights in {} only; set {}=true on the gateway and give it a \
                 ClusterRole (chart value clusterRole) to have more namespaces",
                self.config.function_namespaces.join(", "),
                crate::config::ENV_CLUSTER_ROLE
            ))),
        }
    }

    fn api(&self) -> Api<Object> {
        Api::all(self.client.clone())
    }
}

fn params() -> PostParams {
    PostParams { field_manager: Some(label::GATEWAY.to_owned()), ..PostParams::default() }
}

fn check(namespace: &Namespace) -> Result<()> {
    check::namespace(&namespace.name)?;
    for key in namespace.labels.keys().chain(namespace.annotations.keys()) {
        if is_the_clusters(key) || key == label::MANAGED_BY {
            return Err(ProviderError::Invalid(format!("{key}: is the cluster's to set, not the REST API's")));
        }
        if !admit::is_key(key) {
            let key: String = key.chars().take(80).collect();
            return Err(ProviderError::Invalid(format!("{key:?} is no name of a label or annotation")));
        }
    }
    Ok(())
}

/// Puts labels and annotations on a namespace; the one that makes it a namespace of functions is always there.
fn put(object: &mut Object, namespace: Namespace) {
    object.labels_mut().extend(namespace.labels);
    let annotations = object.annotations_mut();
    annotations.extend(namespace.annotations);
    annotations.entry(label::FUNCTION_NAMESPACE.to_owned()).or_insert_with(|| MARK.1.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_the_cluster_is_neither_shown_nor_changed() {
        for theirs in [
            "kubernetes.io/metadata.name",
            "pod-security.kubernetes.io/enforce",
            "app.kubernetes.io/managed-by",
            "field.cattle.io/projectId",
            "meta.helm.sh/release-name",
        ] {
            assert!(is_the_clusters(theirs), "{theirs}");
            let labels = [(theirs.to_owned(), "x".to_owned())].into();
            let namespace = Namespace { name: "shop".to_owned(), labels, ..Namespace::default() };
            assert!(matches!(check(&namespace), Err(ProviderError::Invalid(_))), "{theirs}");
        }
        for ours in ["openfaas", "team", "example.com/owner", "notkubernetes.io/x"] {
            assert!(!is_the_clusters(ours), "{ours}");
        }
    }

    #[test]
    fn a_namespace_that_is_ending_is_gone() {
        let of = |meta: &str| Space::of(serde_json::from_str(&format!("{{\"metadata\":{meta}}}")).unwrap());
        assert!(of(r#"{"name":"a","annotations":{"openfaas":"1"}}"#).unwrap().marked);
        assert!(!of(r#"{"name":"a","labels":{"openfaas":"1"}}"#).unwrap().marked);
        assert!(of(r#"{"name":"a","deletionTimestamp":"2026-01-02T03:04:05Z"}"#).is_none());
    }
}
