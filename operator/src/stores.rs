//! What is known of the cluster: one watch for each kind, kept small, and which Functions each change touches.
//!
//! After the first lists nothing is listed again: the API server says what changes.

use crate::objects::{Around, SecretKind};
use crate::trouble::{self, PodView, Trouble};
use crate::{Config, pace::Pace};
use futures_util::stream::{self, BoxStream, SelectAll};
use futures_util::{Stream, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Secret, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ApiResource, PartialObjectMeta};
use kube::core::{DynamicResourceScope, NamespaceResourceScope};
use kube::runtime::controller::ReconcileRequest;
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource, ResourceExt};
use kubernetes::{Function, Profile, WATCH_SECONDS, label};
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use watcher::Event;

/// Types of secrets for pulling images.
const PULL_TYPES: [&str; 2] = ["kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg"];

/// A Function to look at.
pub(crate) type Request = Result<ReconcileRequest<Function>, Infallible>;
/// Functions to look at, as they come.
pub(crate) type Queue = SelectAll<BoxStream<'static, Request>>;
type Names<K> = Store<PartialObjectMeta<K>>;

/// What is known of the cluster.
pub(crate) struct Stores {
    pub(crate) functions: Store<Function>,
    pub(crate) deployments: Store<Deployment>,
    pub(crate) services: Store<Service>,
    pub(crate) claims: Names<PersistentVolumeClaim>,
    pods: Store<PodView>,
    files: Names<Secret>,
    pulls: [Names<Secret>; 2],
    profiles: Store<Profile>,
    profiles_namespace: String,
    /// In cluster mode: which namespaces are for functions.
    namespaces: Option<Names<Namespace>>,
    function_namespace: String,
}

impl Stores {
    /// Begins to watch; the watches go on as the queue is polled.
    pub(crate) fn follow(client: &Client, config: &Config) -> (Self, Queue) {
        let scope = Scope {
            client: client.clone(),
            namespace: (!config.cluster_role).then(|| config.function_namespace.clone()),
        };
        let mut queue = SelectAll::new();
        let (functions, writer) = store::<Function>(());
        let watch = Watch { functions: functions.clone() };
        let plain = || watcher::Config::default().timeout(WATCH_SECONDS);
        let ours = || plain().labels(&format!("{}={}", label::MANAGED_BY, label::MANAGED_BY_OPERATOR));

        queue.push(watch.run("Functions", scope.api(), plain(), writer, bare, |function| vec![itself(function)]));
        let (deployments, writer) = store(());
        queue.push(watch.run("Deployments", scope.api(), ours(), writer, bare, labelled::<Deployment>));
        let (services, writer) = store(());
        queue.push(watch.run("Services", scope.api(), ours(), writer, bare, labelled::<Service>));
        let (claims, writer) = store(());
        queue.push(watch.run("PersistentVolumeClaims", scope.api(), ours(), writer, bare, labelled));
        let (pods, writer) = store(trouble::pod_resource());
        let of_functions = plain().labels(label::FUNCTION);
        let api = scope.dynamic(&trouble::pod_resource());
        queue.push(watch.run(
            "Pods",
            api,
            of_functions,
            writer,
            |pod: &mut PodView| trouble::slim(&mut pod.metadata),
            labelled,
        ));

        let users = || {
            let functions = functions.clone();
            move |secret: &PartialObjectMeta<Secret>| {
                using_secret(&functions, secret.namespace().as_deref(), &secret.name_any())
            }
        };
        let others = PULL_TYPES.map(|kind| format!("type!={kind}")).join(",");
        let (files, writer) = store(());
        queue.push(watch.run("Secrets", scope.api(), plain().fields(&others), writer, name_only, users()));
        let pulls = PULL_TYPES.map(|kind| {
            let (pulls, writer) = store(());
            let of_type = plain().fields(&format!("type={kind}"));
            queue.push(watch.run("pull Secrets", scope.api(), of_type, writer, name_only, users()));
            pulls
        });
        let (profiles, writer) = store(());
        let api = Api::namespaced(client.clone(), &config.profiles_namespace);
        let users = functions.clone();
        queue.push(watch.run("Profiles", api, plain(), writer, bare, move |profile: &Profile| {
            using_profile(&users, &profile.name_any())
        }));
        let namespaces = config.cluster_role.then(|| {
            let (namespaces, writer) = store(());
            let within = functions.clone();
            let api: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
            queue.push(watch.run("Namespaces", api, plain(), writer, bare, move |namespace| {
                in_namespace(&within, &namespace.name_any())
            }));
            namespaces
        });
        let stores = Self {
            functions,
            deployments,
            services,
            claims,
            pods,
            files,
            pulls,
            profiles,
            profiles_namespace: config.profiles_namespace.clone(),
            namespaces,
            function_namespace: config.function_namespace.clone(),
        };
        (stores, queue)
    }

    /// Waits until everything was listed once: before that, what is not known may yet be there.
    pub(crate) async fn ready(&self) {
        // An error means that the watches have ended, and with them whoever waits here.
        macro_rules! wait {
            ($($store:expr),*) => { $( drop($store.wait_until_ready().await); )* };
        }
        wait!(
            self.functions,
            self.deployments,
            self.services,
            self.claims,
            self.pods,
            self.files,
            self.pulls[0],
            self.pulls[1],
            self.profiles
        );
        if let Some(namespaces) = &self.namespaces {
            wait!(namespaces);
        }
    }

    /// Whether functions of a namespace are looked after.
    pub(crate) fn is_ours(&self, namespace: &str) -> bool {
        let Some(namespaces) = &self.namespaces else { return namespace == self.function_namespace };
        let marked =
            |known: Arc<PartialObjectMeta<Namespace>>| known.annotations().contains_key(label::FUNCTION_NAMESPACE);
        namespace == self.function_namespace || namespaces.get(&ObjectRef::new(namespace)).is_some_and(marked)
    }

    /// What keeps the pods of a template from serving; the same of several while it lasts.
    pub(crate) fn trouble(&self, namespace: &str, function: &str, revision: &str) -> Option<Trouble> {
        let latest = |pod: &PodView| {
            pod.metadata.namespace.as_deref() == Some(namespace)
                && pod.labels().get(label::FUNCTION).is_some_and(|name| name == function)
                && pod.metadata.deletion_timestamp.is_none()
                && pod.annotations().get(crate::objects::ANNOTATION_REVISION).is_some_and(|of| of == revision)
        };
        self.pods.state_filter(latest).iter().filter_map(|pod| trouble::of(pod)).min()
    }
}

impl Around for Stores {
    fn secret(&self, namespace: &str, name: &str) -> Option<SecretKind> {
        let reference = ObjectRef::new(name).within(namespace);
        if self.files.get(&reference).is_some() {
            return Some(SecretKind::Files);
        }
        self.pulls.iter().any(|store| store.get(&reference).is_some()).then_some(SecretKind::Pull)
    }

    fn profile(&self, name: &str) -> Option<Arc<Profile>> {
        self.profiles.get(&ObjectRef::new(name).within(&self.profiles_namespace))
    }
}

/// One namespace, or all.
struct Scope {
    client: Client,
    namespace: Option<String>,
}

impl Scope {
    fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    fn dynamic<K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>>(
        &self,
        kind: &ApiResource,
    ) -> Api<K> {
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, kind),
            None => Api::all_with(self.client.clone(), kind),
        }
    }
}

/// Makes watches.
struct Watch {
    functions: Store<Function>,
}

impl Watch {
    /// Fills a store and says which Functions a change touches. A new list may lack what went away meanwhile, so after
    /// one all are looked at.
    fn run<K>(
        &self,
        what: &'static str,
        api: Api<K>,
        select: watcher::Config,
        writer: Writer<K>,
        slim: impl FnMut(&mut K) + Send + 'static,
        touched: impl Fn(&K) -> Vec<ObjectRef<Function>> + Send + Sync + 'static,
    ) -> BoxStream<'static, Request>
    where
        K: Resource<DynamicType: Clone + Eq + Hash + Send + Sync + Unpin>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let functions = self.functions.clone();
        let mut away = false;
        let events = watcher(api, select).modify(slim).backoff(Pace::default()).reflect(writer);
        let touched = move |event: Result<Event<K>, watcher::Error>| {
            report(what, &event, &mut away);
            let references = match event {
                Ok(Event::Apply(object) | Event::Delete(object)) => touched(&object),
                Ok(Event::InitDone) => functions.state().iter().map(|function| itself(function)).collect(),
                Ok(Event::Init | Event::InitApply(_)) | Err(_) => Vec::new(),
            };
            stream::iter(references.into_iter().map(|reference| Ok(ReconcileRequest::from(reference))))
        };
        flat(events, touched).boxed()
    }
}

fn flat<S: Stream, O: Stream>(stream: S, map: impl FnMut(S::Item) -> O) -> impl Stream<Item = O::Item> {
    stream.map(map).flatten()
}

/// Says it once that a watch does not work, and once that it does again.
fn report<K>(what: &'static str, event: &Result<Event<K>, watcher::Error>, away: &mut bool) {
    match event {
        Err(error) if *away => tracing::debug!(what, error = %chain(error), "Cannot be watched"),
        Err(error) => {
            *away = true;
            tracing::warn!(what, error = %chain(error), "Cannot be watched; trying on");
        }
        Ok(Event::InitDone | Event::Apply(_) | Event::Delete(_)) if *away => {
            *away = false;
            tracing::info!(what, "Watched again");
        }
        Ok(_) => {}
    }
}

/// An error and what caused it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

fn store<K: Resource + Clone + 'static>(kind: K::DynamicType) -> (Store<K>, Writer<K>)
where
    K::DynamicType: Eq + Hash + Clone,
{
    let writer = Writer::new(kind);
    (writer.as_reader(), writer)
}

fn bare<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

/// Of a secret only that it is there.
fn name_only<K: Resource>(object: &mut K) {
    let metadata = object.meta_mut();
    *metadata = ObjectMeta {
        name: metadata.name.take(),
        namespace: metadata.namespace.take(),
        resource_version: metadata.resource_version.take(),
        ..ObjectMeta::default()
    };
}

pub(crate) fn itself(function: &Function) -> ObjectRef<Function> {
    ObjectRef::from_obj(function)
}

/// The Function that an object is labelled with.
fn labelled<K: Resource>(object: &K) -> Vec<ObjectRef<Function>> {
    let metadata = object.meta();
    let name = metadata.labels.as_ref().and_then(|labels| labels.get(label::FUNCTION));
    let (Some(name), Some(namespace)) = (name, metadata.namespace.as_deref()) else { return Vec::new() };
    vec![ObjectRef::new(name).within(namespace)]
}

fn those(functions: &Store<Function>, of: impl Fn(&Function) -> bool) -> Vec<ObjectRef<Function>> {
    functions.state_filter(of).iter().map(|function| itself(function)).collect()
}

fn using_secret(functions: &Store<Function>, namespace: Option<&str>, name: &str) -> Vec<ObjectRef<Function>> {
    those(functions, |function| {
        function.metadata.namespace.as_deref() == namespace
            && function.spec.secrets.iter().flatten().any(|secret| secret == name)
    })
}

fn using_profile(functions: &Store<Function>, name: &str) -> Vec<ObjectRef<Function>> {
    those(functions, |function| {
        let named = function.spec.annotations.as_ref().and_then(|annotations| annotations.get(label::PROFILE));
        named.is_some_and(|names| wire::annotation::items(names).any(|profile| profile == name))
    })
}

fn in_namespace(functions: &Store<Function>, namespace: &str) -> Vec<ObjectRef<Function>> {
    those(functions, |function| function.metadata.namespace.as_deref() == Some(namespace))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Request, Response};
    use kube::client::Body;
    use std::time::Duration;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn every_watch_ends_before_its_connection_counts_as_dead() {
        let (sender, mut watched) = mpsc::unbounded_channel();
        let serve = move |request: Request<Body>| {
            let (uri, sender) = (request.uri().to_string(), sender.clone());
            async move {
                if uri.contains("watch=true") {
                    sender.send(uri).unwrap();
                    std::future::pending::<()>().await;
                }
                let nothing = r#"{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}"#;
                Ok::<_, Infallible>(Response::new(Body::from(nothing.as_bytes().to_vec())))
            }
        };
        let client = Client::new(tower::service_fn(serve), "default");
        let (_stores, queue) = Stores::follow(&client, &Config { cluster_role: true, ..Config::default() });
        let all = async {
            for _ in 0..10 {
                let uri = watched.recv().await.unwrap();
                assert!(uri.contains(&format!("timeoutSeconds={WATCH_SECONDS}")), "{uri}");
            }
        };
        let following = async {
            tokio::select! {
                () = all => {}
                () = queue.for_each(|_| std::future::ready(())) => panic!("the queue ended"),
            }
        };
        tokio::time::timeout(Duration::from_secs(60), following).await.expect("not all is watched");
    }
}
