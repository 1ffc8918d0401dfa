//! The provider against a real cluster, the one that KUBECONFIG names. Each test has namespaces of its own.

mod elsewhere;
mod promises;
mod rights;

use crate::bench::eventually;
use daemon::{Env, ProcessEnv};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Client, ResourceExt};
use kubernetes::{Function, label};
use provider::{Provider, ProviderError};
use provider_kubernetes::{Config, KubernetesProvider};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wire::FunctionName;
use wire::function::FunctionDeployment;

/// The cluster's client; `None`, after saying so once, where there is no cluster.
pub(crate) async fn client(test: &str) -> Option<Client> {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if ProcessEnv.get("KUBECONFIG").is_none() {
        if SAID.lock().unwrap().insert(test.to_owned()) {
            skipped(test);
        }
        return None;
    }
    let client = kubernetes::client().await.unwrap();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in kubernetes::definitions() {
        let name = definition.name_any();
        let apply = PatchParams::apply("crema-test").force();
        definitions.patch(&name, &apply, &Patch::Apply(&definition)).await.unwrap();
        let established = await_condition(definitions.clone(), &name, conditions::is_crd_established());
        tokio::time::timeout(Duration::from_secs(30), established).await.unwrap().unwrap();
    }
    Some(client)
}

#[expect(clippy::print_stderr, reason = "a test that cannot run says so")]
fn skipped(test: &str) {
    eprintln!("SKIPPED {test}: no KUBECONFIG, which names the kubeconfig of a cluster for tests");
}

/// A namespace that goes with it.
pub(crate) struct Place {
    pub(crate) name: String,
}

impl Place {
    pub(crate) async fn new(client: &Client, name: String) -> Self {
        let annotations = [(label::FUNCTION_NAMESPACE.to_owned(), "1".to_owned())].into();
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.clone());
        namespace.metadata.annotations = Some(annotations);
        Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        Self { name }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let name = self.name.clone();
        // A runtime of its own: the test's is ending.
        let delete = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = kubernetes::client().await.unwrap();
                Api::<Namespace>::all(client)
                    .delete(&name, &DeleteParams::default())
                    .await
                    .map(drop)
                    .unwrap_or_default();
            });
        };
        std::thread::spawn(delete).join().unwrap();
    }
}

pub(crate) fn unique() -> String {
    format!("pk-{}", &uuid::Uuid::new_v4().simple().to_string()[..10])
}

/// A provider of one namespace.
async fn provider_of(client: &Client, place: &Place) -> (Arc<KubernetesProvider>, daemon::Stopper) {
    let config = Config { function_namespaces: vec![place.name.clone()], ..Config::default() };
    let provider = KubernetesProvider::with_client(config, client.clone());
    let (stopper, stop) = daemon::stop::pair();
    tokio::spawn(Arc::clone(&provider).run(stop));
    (provider, stopper)
}

#[tokio::test]
async fn what_kubectl_applies_and_what_the_rest_api_deploys_live_side_by_side() {
    let Some(client) = client("what_kubectl_applies").await else { return };
    let place = Place::new(&client, unique()).await;
    let (provider, _stopper) = provider_of(&client, &place).await;
    let functions: Api<Function> = Api::namespaced(client.clone(), &place.name);
    let applied = json!({"apiVersion": "openfaas.com/v1", "kind": "Function", "metadata": {"name": "git"},
        "spec": {"name": "git", "image": "owner/one:1", "limits": {"memory": "64Mi", "cpu": ""}}});
    let apply = || async {
        let params = PatchParams::apply("kubectl");
        functions.patch("git", &params, &Patch::Apply(&applied)).await.unwrap()
    };
    apply().await;
    let git = FunctionName::new("git", &place.name).unwrap();
    eventually("the applied function", async || provider.status(&git, false).await.is_ok()).await;
    let status = provider.status(&git, true).await.unwrap();
    assert_eq!((status.annotations[label::ORIGIN].as_str(), status.usage), ("kubectl", None));
    let mine = FunctionDeployment {
        service: "mine".to_owned(),
        image: "owner/one:1".to_owned(),
        namespace: place.name.clone(),
        ..FunctionDeployment::default()
    };
    provider.deploy(mine.clone()).await.unwrap();
    let theirs = FunctionDeployment { service: "git".to_owned(), image: "owner/two:2".to_owned(), ..mine.clone() };
    assert!(matches!(provider.update(theirs).await, Err(ProviderError::Conflict(_))));
    assert!(matches!(provider.delete(&git, false).await, Err(ProviderError::Conflict(_))));
    // A hand-scaled function survives being applied again.
    provider.scale(&git, 3).await.unwrap();
    assert_eq!(apply().await.spec.replicas, Some(3));
    let name = FunctionName::new("mine", &place.name).unwrap();
    provider.scale(&name, 0).await.unwrap();
    let next = FunctionDeployment { image: "owner/two:2".to_owned(), ..mine };
    provider.update(next).await.unwrap();
    let object = functions.get("mine").await.unwrap();
    assert_eq!((object.spec.replicas, object.spec.image.as_str()), (Some(0), "owner/two:2"));
    assert!(provider.status(&name, false).await.unwrap().annotations.is_empty());
    functions.delete("git", &DeleteParams::default()).await.unwrap();
    eventually("the end of it", async || provider.replicas().get(&git).is_none()).await;
}

#[tokio::test]
async fn only_a_purge_deletes_the_claim_of_a_function() {
    let Some(client) = client("only_a_purge_deletes").await else { return };
    let place = Place::new(&client, unique()).await;
    let (provider, _stopper) = provider_of(&client, &place).await;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &place.name);
    for (service, purge) in [("kept", false), ("purged", true)] {
        let labels = json!({label::FUNCTION: service, label::MANAGED_BY: label::MANAGED_BY_OPERATOR});
        let claim = json!({"metadata": {"name": label::data_claim(service), "labels": labels}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}});
        claims.create(&PostParams::default(), &serde_json::from_value(claim).unwrap()).await.unwrap();
        let wanted = FunctionDeployment {
            service: service.to_owned(),
            image: "owner/one:1".to_owned(),
            namespace: place.name.clone(),
            ..FunctionDeployment::default()
        };
        provider.deploy(wanted).await.unwrap();
        provider.delete(&FunctionName::new(service, &place.name).unwrap(), purge).await.unwrap();
    }
    eventually("the purge", async || claims.get_opt("purged-data").await.unwrap().is_none()).await;
    assert!(claims.get_opt("kept-data").await.unwrap().is_some_and(|kept| kept.metadata.deletion_timestamp.is_none()));
}
