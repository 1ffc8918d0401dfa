//! What the REST API changes, and what it leaves to whoever has made it.

use crate::api::Api;
use crate::bench::{Bench, NAMESPACE, cluster, deployment, eventually};
use http::Method;
use kubernetes::label;
use provider::{Deployed, Provider, ProviderError};
use provider_kubernetes::Config;
use serde_json::{Value, json};
use std::time::Duration;
use wire::FunctionName;
use wire::function::{FunctionDeployment, TextMap};
use wire::namespace::Namespace;

fn from_git(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {"meta.helm.sh/release-name": "shop", "objectset.rio.cattle.io/id": "x"}},
        "spec": {"name": name, "image": "owner/one:1", "labels": {"com.openfaas.scale.min": "2"}},
    })
}

fn map<const N: usize>(entries: [(&str, &str); N]) -> TextMap {
    entries.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

async fn with_git(config: Config) -> (Bench, FunctionName) {
    let bench = Bench::at(Api::with_namespaces(&[NAMESPACE]), config);
    bench.api.put("functions", NAMESPACE, from_git("order"));
    let name = "order".parse().unwrap();
    bench.ready(&name, 2).await;
    (bench, name)
}

#[tokio::test]
async fn what_git_has_applied_is_shown_and_scaled_but_not_changed() {
    let (bench, name) = with_git(cluster()).await;
    let status = bench.provider.status(&name, false).await.unwrap();
    assert_eq!(status.annotations, map([(label::ORIGIN, "Fleet")]));
    assert_eq!(bench.provider.list(NAMESPACE).await.unwrap(), [status]);
    let other = FunctionDeployment { image: "owner/two:2".to_owned(), ..deployment("order") };
    for error in
        [bench.provider.update(other.clone()).await.unwrap_err(), bench.provider.delete(&name, true).await.unwrap_err()]
    {
        assert!(matches!(error, ProviderError::Conflict(_)), "{error}");
        assert!(error.to_string().contains("Fleet") && error.to_string().contains("CREMA_ADOPT"), "{error}");
    }
    assert!(matches!(bench.provider.deploy(other).await, Err(ProviderError::Exists(_))));
    bench.provider.scale(&name, 3).await.unwrap();
    bench.ready(&name, 3).await;
    assert_eq!(bench.api.get("functions", NAMESPACE, "order").unwrap()["spec"]["image"], "owner/one:1");
}

#[tokio::test]
async fn a_setting_lets_the_rest_api_change_what_git_has_applied() {
    let (bench, name) = with_git(Config { adopt: true, ..cluster() }).await;
    let other = FunctionDeployment { image: "owner/two:2".to_owned(), ..deployment("order") };
    assert_eq!(bench.provider.update(other).await.unwrap(), Deployed::Changed);
    let object = bench.api.get("functions", NAMESPACE, "order").unwrap();
    assert_eq!(object["spec"]["image"], "owner/two:2");
    assert_eq!(object["metadata"]["annotations"]["meta.helm.sh/release-name"], "shop", "marks of others stay");
    bench.provider.delete(&name, false).await.unwrap();
    assert!(bench.api.get("functions", NAMESPACE, "order").is_none());
}

#[tokio::test]
async fn only_scaling_writes_the_number_of_replicas() {
    let bench = Bench::new();
    let replicas = || bench.api.get("functions", NAMESPACE, "order").unwrap()["spec"]["replicas"].clone();
    let name = bench.deployed("order").await;
    assert_eq!(replicas(), Value::Null);
    let object = bench.api.get("functions", NAMESPACE, "order").unwrap();
    assert_eq!(object["metadata"]["labels"][label::MANAGED_BY], label::MANAGED_BY_GATEWAY);
    let env = |value: &str| FunctionDeployment { env_vars: map([("A", value)]), ..deployment("order") };
    bench.provider.update(env("1")).await.unwrap();
    assert_eq!(replicas(), Value::Null);
    bench.provider.scale(&name, 4).await.unwrap();
    bench.provider.update(env("2")).await.unwrap();
    assert_eq!(replicas(), 4);
    let least = FunctionDeployment { labels: map([("com.openfaas.scale.min", "2")]), ..env("2") };
    bench.provider.update(least).await.unwrap();
    assert_eq!(replicas(), 2, "the label that says how many has changed");
    let data = FunctionDeployment { annotations: map([("com.crema.data.path", "/data")]), ..env("3") };
    bench.provider.update(data).await.unwrap();
    assert_eq!(replicas(), 1);
    let error = bench.provider.scale(&name, 2).await.unwrap_err();
    assert!(matches!(error, ProviderError::Invalid(_)) && error.to_string().contains("data directory"), "{error}");
    bench.provider.scale(&name, 0).await.unwrap();
    bench.ready(&name, 0).await;
}

#[tokio::test]
async fn a_change_that_others_get_in_the_way_of_is_tried_again() {
    let bench = Bench::new();
    bench.deployed("order").await;
    let env = FunctionDeployment { env_vars: map([("A", "1")]), ..deployment("order") };
    bench.api.refuse_times(3, Method::PUT, "functions", 409, "the object has been modified");
    assert_eq!(bench.provider.update(env.clone()).await.unwrap(), Deployed::Changed);
    bench.api.refuse(Method::PUT, "functions", 409, "the object has been modified");
    let error = bench.provider.update(deployment("order")).await.unwrap_err();
    assert!(matches!(error, ProviderError::Conflict(_)), "{error}");
}

#[tokio::test]
async fn a_function_on_its_way_out_is_waited_for_by_whoever_deploys_it_again() {
    let bench = Bench::new();
    let name = bench.deployed("order").await;
    let mut ending = bench.api.get("functions", NAMESPACE, "order").unwrap();
    ending["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z".into();
    bench.api.put("functions", NAMESPACE, ending);
    eventually("its end", async || bench.count(&name).is_none()).await;
    assert!(matches!(bench.provider.update(deployment("order")).await, Err(ProviderError::NoFunction(_))));
    let error = bench.provider.deploy(deployment("order")).await.unwrap_err();
    assert!(matches!(error, ProviderError::Conflict(_)), "{error}");
    assert!(error.to_string().contains("still being deleted"), "{error}");
    bench.api.remove("functions", NAMESPACE, "order");
    bench.deployed("order").await;
}

#[tokio::test]
async fn what_the_cluster_refuses_is_said_in_its_words() {
    let bench = Bench::new();
    bench.api.refuse(Method::POST, "functions", 422, "spec.name: Invalid value");
    let error = bench.provider.deploy(deployment("order")).await.unwrap_err();
    assert!(matches!(error, ProviderError::Invalid(_)) && error.to_string().contains("spec.name"), "{error}");
    bench.api.refuse_nothing();
    bench.api.refuse(Method::POST, "functions", 403, "exceeded quota: functions=10");
    let error = bench.provider.deploy(deployment("order")).await.unwrap_err();
    assert!(matches!(error, ProviderError::Conflict(_)) && error.to_string().contains("exceeded quota"), "{error}");
    bench.api.refuse_nothing();
    let denied = "secrets \"key\" is forbidden: User \"gateway\" cannot get resource \"secrets\" in API group \"\"";
    bench.api.refuse(Method::GET, "secrets", 403, denied);
    let secret = FunctionDeployment { secrets: vec!["key".to_owned()], ..deployment("order") };
    let error = bench.provider.deploy(secret).await.unwrap_err().to_string();
    assert!(error.contains("lacks a right") && error.contains("cannot get resource \"secrets\""), "{error}");
}

#[tokio::test]
async fn what_is_wrong_is_seen_in_the_status_and_the_table() {
    let bench = Bench::new();
    let name = bench.deployed("order").await;
    let mut object = bench.api.get("functions", NAMESPACE, "order").unwrap();
    object["status"] = json!({"conditions": [{"type": "Stalled", "status": "True", "reason": "SecretMissing",
        "message": "secret key is not in namespace openfaas-fn", "lastTransitionTime": "2026-01-02T03:04:05Z"}]});
    bench.api.put("functions", NAMESPACE, object.clone());
    let table = bench.provider.replicas();
    eventually("the trouble", async || table.get(&name).is_some_and(|found| found.trouble.is_some())).await;
    let status = bench.provider.status(&name, false).await.unwrap();
    assert!(status.annotations[wire::annotation::STATUS].contains("secret key"), "{:?}", status.annotations);
    object["status"] = json!({"conditions": []});
    bench.api.put("functions", NAMESPACE, object);
    eventually("its end", async || table.get(&name).is_some_and(|found| found.trouble.is_none())).await;
    assert!(bench.provider.status(&name, false).await.unwrap().annotations.is_empty());
}

#[tokio::test]
async fn secrets_of_others_are_mounted_but_neither_listed_nor_changed() {
    let bench = Bench::new();
    bench.api.put("secrets", NAMESPACE, json!({"metadata": {"name": "theirs"}, "data": {"a": "eA=="}}));
    assert!(bench.provider.secrets(NAMESPACE).await.unwrap().is_empty());
    let mounting = FunctionDeployment { secrets: vec!["theirs".to_owned()], ..deployment("order") };
    bench.provider.deploy(mounting).await.unwrap();
    for result in [
        bench.provider.update_secret(NAMESPACE, "theirs", b"x".to_vec()).await,
        bench.provider.delete_secret(NAMESPACE, "theirs").await,
        bench.provider.create_secret(NAMESPACE, "theirs", b"x".to_vec()).await.map_err(|error| match error {
            ProviderError::Exists(text) => ProviderError::Conflict(text),
            other => other,
        }),
    ] {
        assert!(matches!(result, Err(ProviderError::Conflict(_))), "{result:?}");
    }
    bench.provider.create_secret(NAMESPACE, "db.password", vec![0, 255]).await.unwrap();
    let made = bench.api.get("secrets", NAMESPACE, "db.password").unwrap();
    assert_eq!((&made["data"], &made["type"]), (&json!({"db.password": "AP8="}), &json!("Opaque")));
    bench.provider.update_secret(NAMESPACE, "db.password", b"new".to_vec()).await.unwrap();
    let changed = bench.api.get("secrets", NAMESPACE, "db.password").unwrap();
    assert_eq!(changed["data"], json!({"db.password": "bmV3"}));
    assert_eq!(changed["metadata"]["labels"][label::MANAGED_BY], label::MANAGED_BY_OPENFAAS);
}

#[tokio::test]
async fn a_namespace_goes_only_when_nothing_is_lost_with_it() {
    let bench = Bench::new();
    let shop = || Namespace { name: "shop".to_owned(), ..Namespace::default() };
    bench.provider.create_namespace(shop()).await.unwrap();
    assert_eq!(bench.api.get("namespaces", "", "shop").unwrap()["metadata"]["annotations"]["openfaas"], "1");
    bench.api.put("persistentvolumeclaims", "shop", json!({"metadata": {"name": "order-data"}}));
    let error = bench.provider.delete_namespace("shop").await.unwrap_err();
    assert!(matches!(error, ProviderError::Conflict(_)) && error.to_string().contains("order-data"), "{error}");
    bench.api.remove("persistentvolumeclaims", "shop", "order-data");
    bench.provider.delete_namespace("shop").await.unwrap();
    // Made by an administrator.
    let theirs = json!({"metadata": {"name": "office", "annotations": {"openfaas": "1"},
        "labels": {"kubernetes.io/metadata.name": "office", "team": "a"}}});
    bench.api.put("namespaces", "", theirs);
    eventually("the namespace", async || bench.provider.list("office").await.is_ok()).await;
    let shown = bench.provider.namespaces().await.unwrap().into_iter().find(|space| space.name == "office").unwrap();
    assert_eq!(shown.labels, map([("team", "a")]));
    let office = Namespace { name: "office".to_owned(), ..Namespace::default() };
    for result in [bench.provider.update_namespace(office).await, bench.provider.delete_namespace("office").await] {
        assert!(matches!(result, Err(ProviderError::Conflict(_))), "{result:?}");
    }
}

#[tokio::test]
async fn data_stays_unless_it_is_purged() {
    let bench = Bench::new();
    for (name, purge) in [("kept", false), ("purged", true), ("theirs", true), ("without", true)] {
        let name = bench.deployed(name).await;
        if name.name() != "without" {
            let of = if name.name() == "theirs" { "postgres" } else { "crema" };
            let claim = json!({"metadata": {"name": format!("{}-data", name.name()), "labels": {
                "faas_function": name.name(), "app.kubernetes.io/managed-by": of}}});
            bench.api.put("persistentvolumeclaims", NAMESPACE, claim);
        }
        bench.provider.delete(&name, purge).await.unwrap();
    }
    let theirs = bench.api.get("persistentvolumeclaims", NAMESPACE, "theirs-data");
    assert!(theirs.is_some(), "the claim of somebody else");
    assert!(bench.api.get("persistentvolumeclaims", NAMESPACE, "kept-data").is_some());
    assert!(bench.api.get("persistentvolumeclaims", NAMESPACE, "purged-data").is_none());
}

#[tokio::test(start_paused = true)]
async fn usage_is_told_where_it_is_measured_and_rarely_asked_for_where_not() {
    let bench = Bench::new();
    let name = bench.deployed("order").await;
    bench.api.refuse(Method::GET, "pods", 404, "the server could not find the requested resource");
    for _ in 0..5 {
        assert_eq!(bench.provider.status(&name, true).await.unwrap().usage, None);
    }
    let asked = bench.api.requests().iter().filter(|request| request.contains("metrics.k8s.io")).count();
    assert_eq!(asked, 1);
    bench.api.refuse_nothing();
    let measured = json!({"metadata": {"name": "order-1", "labels": {"faas_function": "order"}},
        "containers": [{"name": "order", "usage": {"cpu": "2500000n", "memory": "3Mi"}}]});
    bench.api.put("pods", NAMESPACE, measured);
    tokio::time::sleep(Duration::from_secs(61)).await;
    let usage = bench.provider.status(&name, true).await.unwrap().usage.unwrap();
    assert!((usage.cpu - 2.5).abs() < 1e-9 && (usage.total_memory_bytes - 3_145_728.0).abs() < 1.0, "{usage:?}");
    assert_eq!(bench.provider.status(&name, false).await.unwrap().usage, None);
}

#[tokio::test]
async fn a_call_that_finds_no_replica_leaves_what_another_gateway_has_scaled() {
    let bench = Bench::new();
    let replicas = || bench.api.get("functions", NAMESPACE, "order").unwrap()["spec"]["replicas"].clone();
    let name = bench.deployed("order").await;
    bench.provider.scale(&name, 0).await.unwrap();
    let mut object = bench.api.get("functions", NAMESPACE, "order").unwrap();
    object["spec"]["replicas"] = json!(3);
    bench.api.put("functions", NAMESPACE, object);
    // Whether the table has heard of it or not.
    bench.provider.wake(&name, 1).await.unwrap();
    assert_eq!(replicas(), 3);
    bench.provider.scale(&name, 0).await.unwrap();
    // Something else of it changes first.
    bench.api.refuse_times(2, Method::PATCH, "functions", 409, "the object has been modified");
    bench.provider.wake(&name, 1).await.unwrap();
    assert_eq!(replicas(), 1);
}
