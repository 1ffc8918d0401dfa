//! All namespaces that are marked, and no other.

use crate::cluster::{Running, test};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, Patch, PatchParams};
use kubernetes::Function;
use operator::Config;
use serde_json::json;

#[test]
fn in_cluster_mode_a_namespace_is_looked_after_from_when_it_is_marked() {
    test("in_cluster_mode_a_namespace_is_looked_after_from_when_it_is_marked", |cluster| async move {
        let config =
            Config { cluster_role: true, function_namespace: "operator-it-none".to_owned(), ..cluster.config() };
        let operator = Running::start_in(config, Some(cluster.namespace.clone())).await;
        cluster.function("order", json!({})).await;
        operator.settled().await;
        let untouched = cluster.api::<Function>().get("order").await.unwrap();
        assert_eq!(untouched.status, None);
        assert!(cluster.api::<Deployment>().get_opt("order").await.unwrap().is_none());
        let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
        let mark = Patch::Merge(json!({"metadata": {"annotations": {"openfaas": "1"}}}));
        namespaces.patch(&cluster.namespace, &PatchParams::default(), &mark).await.unwrap();
        cluster.ready("order").await;
        operator.stop().await;
    });
}
