//! The rights that the provider needs are those the documentation names, and no more.

use super::{Place, client, unique};
use crate::bench::eventually;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{Api, DeleteParams, PostParams};
use kube::{Client, Config as KubeConfig};
use provider::{LogQuery, Provider};
use provider_kubernetes::{Config, KubernetesProvider};
use serde_json::{Value, json};
use std::sync::Arc;
use wire::FunctionName;
use wire::function::FunctionDeployment;
use wire::namespace::Namespace;

fn rules(cluster: bool) -> Value {
    let mut rules = vec![
        json!({"apiGroups": ["openfaas.com"], "resources": ["functions"],
            "verbs": ["get", "list", "watch", "create", "update", "delete"]}),
        json!({"apiGroups": ["openfaas.com"], "resources": ["functions/scale"], "verbs": ["patch"]}),
        json!({"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}),
        json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "create", "patch", "delete"]}),
        json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}),
        json!({"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]}),
        json!({"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["list", "delete"]}),
        json!({"apiGroups": ["metrics.k8s.io"], "resources": ["pods"], "verbs": ["list"]}),
    ];
    if cluster {
        let verbs = ["get", "list", "watch", "create", "update", "delete"];
        rules.push(json!({"apiGroups": [""], "resources": ["namespaces"], "verbs": verbs}));
    }
    rules.into()
}

/// A client with the rights of a service account.
async fn client_as(place: &Place) -> Client {
    let mut config = KubeConfig::infer().await.unwrap();
    config.auth_info.impersonate = Some(format!("system:serviceaccount:{}:gateway", place.name));
    Client::try_from(config).unwrap()
}

fn subject(place: &Place) -> Value {
    json!([{"kind": "ServiceAccount", "name": "gateway", "namespace": place.name}])
}

/// Does everything once.
async fn use_all(provider: &dyn Provider, namespace: &str) {
    let wanted = FunctionDeployment {
        service: "hello".to_owned(),
        image: "owner/one:1".to_owned(),
        namespace: namespace.to_owned(),
        secrets: vec!["key".to_owned()],
        ..FunctionDeployment::default()
    };
    let name = FunctionName::new("hello", namespace).unwrap();
    eventually("the rights", async || provider.namespaces().await.is_ok()).await;
    provider.create_secret(namespace, "key", b"one".to_vec()).await.unwrap();
    provider.update_secret(namespace, "key", b"two".to_vec()).await.unwrap();
    assert_eq!(provider.secrets(namespace).await.unwrap(), ["key"]);
    provider.deploy(wanted.clone()).await.unwrap();
    provider.update(FunctionDeployment { secrets: Vec::new(), ..wanted }).await.unwrap();
    provider.scale(&name, 0).await.unwrap();
    assert_eq!(provider.status(&name, true).await.unwrap().replicas, 0);
    for follow in [false, true] {
        drop(provider.logs(&name, LogQuery { follow, ..LogQuery::default() }).await.unwrap());
    }
    provider.delete(&name, true).await.unwrap();
    provider.delete_secret(namespace, "key").await.unwrap();
}

fn start(config: Config, client: Client) -> (Arc<KubernetesProvider>, daemon::Stopper) {
    let provider = KubernetesProvider::with_client(config, client);
    let (stopper, stop) = daemon::stop::pair();
    tokio::spawn(Arc::clone(&provider).run(stop));
    (provider, stopper)
}

#[tokio::test]
async fn rights_in_one_namespace_are_enough_for_it() {
    let Some(client) = client("rights_in_one_namespace").await else { return };
    let place = Place::new(&client, unique()).await;
    let role = json!({"metadata": {"name": "gateway"}, "rules": rules(false)});
    let binding = json!({"metadata": {"name": "gateway"}, "subjects": subject(&place),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "gateway"}});
    let config = Config { function_namespaces: vec![place.name.clone()], ..Config::default() };
    let (provider, _stopper) = start(config, client_as(&place).await);
    let error = provider.list(&place.name).await.unwrap_err().to_string();
    assert!(error.contains("cannot list resource"), "{error}");
    let params = PostParams::default();
    let roles: Api<Role> = Api::namespaced(client.clone(), &place.name);
    roles.create(&params, &serde_json::from_value(role).unwrap()).await.unwrap();
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), &place.name);
    bindings.create(&params, &serde_json::from_value(binding).unwrap()).await.unwrap();
    use_all(&*provider, &place.name).await;
}

#[tokio::test]
async fn rights_in_the_cluster_are_enough_for_every_namespace() {
    let Some(client) = client("rights_in_the_cluster").await else { return };
    let place = Place::new(&client, unique()).await;
    let role = json!({"metadata": {"name": place.name}, "rules": rules(true)});
    let binding = json!({"metadata": {"name": place.name}, "subjects": subject(&place),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": place.name}});
    let params = PostParams::default();
    let roles: Api<ClusterRole> = Api::all(client.clone());
    roles.create(&params, &serde_json::from_value(role).unwrap()).await.unwrap();
    let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    bindings.create(&params, &serde_json::from_value(binding).unwrap()).await.unwrap();
    let config = Config { function_namespaces: vec![place.name.clone()], cluster_role: true, ..Config::default() };
    let (provider, _stopper) = start(config, client_as(&place).await);
    use_all(&*provider, &place.name).await;
    let shop = || Namespace { name: format!("{}-shop", place.name), ..Namespace::default() };
    let _shop = Place { name: shop().name };
    provider.create_namespace(shop()).await.unwrap();
    provider.update_namespace(shop()).await.unwrap();
    use_all(&*provider, &shop().name).await;
    provider.delete_namespace(&shop().name).await.unwrap();
    bindings.delete(&place.name, &DeleteParams::default()).await.unwrap();
    roles.delete(&place.name, &DeleteParams::default()).await.unwrap();
}
