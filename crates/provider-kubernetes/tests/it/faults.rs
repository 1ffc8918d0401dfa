//! The table while the API server is away, forgets, or says nothing: calls go on to where they went.

use crate::api::{Api, Mode};
use crate::bench::{Bench, NAMESPACE, cluster, deployment, eventually};
use http::Method;
use provider::{Provider, ProviderError, ReplicaTable};
use provider_kubernetes::Config;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;
use wire::FunctionName;

fn slice(function: &str, endpoints: Value) -> Value {
    json!({
        "metadata": {"name": format!("{function}-x1"),
            "labels": {"kubernetes.io/service-name": function, "faas_function": function}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}], "endpoints": endpoints,
    })
}

fn endpoint(address: &str, conditions: Value) -> Value {
    json!({"addresses": [address], "conditions": conditions, "targetRef": {"kind": "Pod", "name": address}})
}

fn function(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"name": name, "image": "owner/one:1"}})
}

fn addresses(bench: &Bench, name: &FunctionName) -> Vec<String> {
    let found = bench.provider.replicas().get(name);
    found.iter().flat_map(|found| &found.ready).map(|replica| replica.address.to_string()).collect()
}

/// The fewest replicas of a function that a reader of the table ever sees.
struct Fewest(Arc<AtomicUsize>, #[expect(dead_code, reason = "held")] AbortOnDropHandle<()>);

impl Fewest {
    fn of(mut table: ReplicaTable, name: &FunctionName) -> Self {
        let fewest = Arc::new(AtomicUsize::new(usize::MAX));
        let (noted, name) = (Arc::clone(&fewest), name.clone());
        let task = tokio::spawn(async move {
            loop {
                let count = table.get(&name).map_or(0, |found| found.ready.len());
                noted.fetch_min(count, Ordering::Relaxed);
                if !table.changed().await {
                    return;
                }
            }
        });
        Self(fewest, AbortOnDropHandle::new(task))
    }

    fn seen(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn calls_go_on_while_the_api_server_is_away_and_follow_it_when_it_is_back() {
    let bench = Bench::new();
    let name = bench.deployed("order").await;
    bench.ready(&name, 1).await;
    let fewest = Fewest::of(bench.provider.replicas(), &name);
    bench.api.set(Mode::Down);
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(bench.count(&name), Some(1));
    assert_eq!(bench.provider.status(&name, true).await.unwrap().available_replicas, 1);
    let error = bench.provider.deploy(deployment("other")).await.unwrap_err();
    assert!(matches!(error, ProviderError::Failed { .. }), "{error}");
    assert!(error.to_string().contains("the Kubernetes API server does not answer"), "{error}");
    assert!(error.to_string().contains("connection refused"), "{error}");
    bench.api.put("endpointslices", NAMESPACE, slice("order", json!([endpoint("10.0.0.9", json!({"ready": true}))])));
    bench.api.set(Mode::Up);
    eventually("the pod of meanwhile", async || addresses(&bench, &name).len() == 2).await;
    assert!(fewest.seen() >= 1);
    bench.provider.scale(&name, 2).await.unwrap();
    bench.ready(&name, 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_has_come_up_empty_takes_nothing_off_the_table() {
    let bench = Bench::new();
    let name = bench.deployed("order").await;
    bench.ready(&name, 1).await;
    let fewest = Fewest::of(bench.provider.replicas(), &name);
    bench.api.set(Mode::Blank);
    bench.api.drop_watches(true);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(bench.count(&name), Some(1), "an empty list was believed");
    bench.api.set(Mode::Up);
    tokio::time::sleep(Duration::from_secs(60)).await;
    bench.provider.scale(&name, 2).await.unwrap();
    bench.ready(&name, 2).await;
    assert_eq!(fewest.seen(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_truly_gone_leaves_the_table_after_a_second_look() {
    let bench = Bench::alone(Api::with_namespaces(&[NAMESPACE]), cluster());
    bench.api.put("functions", NAMESPACE, function("order"));
    let name: FunctionName = "order".parse().unwrap();
    eventually("the function", async || bench.count(&name).is_some()).await;
    bench.api.set(Mode::Down);
    bench.api.remove("functions", NAMESPACE, "order");
    bench.api.drop_watches(true);
    bench.api.set(Mode::Up);
    eventually("its end", async || bench.count(&name).is_none()).await;
    assert!(bench.provider.list(NAMESPACE).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn lists_that_fail_empty_nothing_and_watches_that_end_are_resumed() {
    let bench = Bench::new();
    let name = bench.deployed("order").await;
    bench.ready(&name, 1).await;
    let fewest = Fewest::of(bench.provider.replicas(), &name);
    for resource in ["functions", "endpointslices", "namespaces"] {
        bench.api.refuse(Method::GET, resource, 500, "etcdserver: leader changed");
    }
    bench.api.drop_watches(true);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(bench.count(&name), Some(1));
    bench.api.refuse_nothing();
    for replicas in [2, 3, 1] {
        bench.api.drop_watches(replicas == 3);
        bench.provider.scale(&name, replicas).await.unwrap();
        bench.ready(&name, replicas as usize).await;
    }
    assert_eq!(fewest.seen(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_restored_from_a_backup_is_followed_again() {
    let bench = Bench::new();
    let name = bench.deployed("order").await;
    let table = bench.provider.replicas();
    let wish = |replicas: u32| {
        let mut object = bench.api.get("functions", NAMESPACE, "order").unwrap();
        object["spec"]["replicas"] = replicas.into();
        bench.api.put("functions", NAMESPACE, object);
    };
    let heard = async |replicas: u32| {
        let heard = async || table.get(&name).is_some_and(|found| found.desired == replicas);
        eventually("a wish of someone else", heard).await;
    };
    for replicas in 1..=20 {
        wish(replicas);
        heard(replicas).await;
        bench.ready(&name, replicas as usize).await;
    }
    let fewest = Fewest::of(bench.provider.replicas(), &name);
    bench.api.restore();
    wish(21);
    heard(21).await;
    bench.provider.scale(&name, 1).await.unwrap();
    assert_eq!(table.get(&name).unwrap().desired, 1);
    assert_eq!(fewest.seen(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_holds_up_nobody_for_long() {
    let bench = Bench::new();
    let name = bench.deployed("order").await;
    bench.ready(&name, 1).await;
    bench.api.set(Mode::Silent);
    let asked = tokio::time::timeout(Duration::from_secs(20), bench.provider.scale(&name, 2)).await;
    let error = asked.unwrap().unwrap_err();
    assert!(error.to_string().contains("does not answer"), "{error}");
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(bench.count(&name), Some(1));
    bench.api.set(Mode::Up);
    tokio::time::sleep(Duration::from_secs(120)).await;
    bench.provider.scale(&name, 2).await.unwrap();
    bench.ready(&name, 2).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_read_yet_is_said_with_the_reason() {
    let api = Api::with_namespaces(&[NAMESPACE]);
    api.set(Mode::Down);
    let bench = Bench::alone(api, cluster());
    let error = bench.provider.list(NAMESPACE).await.unwrap_err().to_string();
    assert!(error.contains("not known yet") && error.contains("connection refused"), "{error}");
    bench.api.refuse(Method::GET, "endpointslices", 403, "User \"gateway\" cannot list resource \"endpointslices\"");
    bench.api.set(Mode::Up);
    let error = bench.provider.list(NAMESPACE).await.unwrap_err().to_string();
    assert!(error.contains("endpoint slices") && error.contains("cannot list resource"), "{error}");
    bench.api.refuse_nothing();
    eventually("the first reading", async || bench.provider.list(NAMESPACE).await.is_ok()).await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_called_only_while_it_is_ready_and_before_it_ends() {
    let bench = Bench::alone(Api::with_namespaces(&[NAMESPACE]), cluster());
    let name: FunctionName = "order".parse().unwrap();
    bench.api.put("functions", NAMESPACE, function("order"));
    for (endpoints, expected) in [
        (json!([endpoint("10.0.0.1", json!({"ready": false}))]), vec![]),
        (json!([endpoint("10.0.0.1", json!({"ready": true}))]), vec!["10.0.0.1:8080"]),
        (
            json!([
                endpoint("10.0.0.1", json!({"ready": true, "terminating": true})),
                endpoint("10.0.0.2", json!({"ready": true}))
            ]),
            vec!["10.0.0.2:8080"],
        ),
        (json!([]), vec![]),
    ] {
        bench.api.put("endpointslices", NAMESPACE, slice("order", endpoints));
        eventually("the table", async || bench.count(&name).is_some() && addresses(&bench, &name) == expected).await;
    }
    // A Service of the same name that is somebody else's has pods of its own.
    let mut foreign = slice("order", json!([endpoint("10.6.6.6", json!({"ready": true}))]));
    foreign["metadata"] = json!({"name": "foreign", "labels": {"kubernetes.io/service-name": "order"}});
    bench.api.put("endpointslices", NAMESPACE, foreign);
    bench.api.put("endpointslices", NAMESPACE, slice("order", json!([endpoint("10.0.0.3", json!({"ready": true}))])));
    eventually("the last pod", async || addresses(&bench, &name) == ["10.0.0.3:8080"]).await;
    let mut ending = function("order");
    ending["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z".into();
    bench.api.put("functions", NAMESPACE, ending);
    eventually("the end of a function that is being deleted", async || bench.count(&name).is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn functions_count_in_namespaces_with_the_annotation() {
    let api = Api::with_namespaces(&[NAMESPACE, "kube-system"]);
    api.put("namespaces", "", json!({"metadata": {"name": "shop"}}));
    for namespace in [NAMESPACE, "shop", "kube-system"] {
        api.put("functions", namespace, function("order"));
    }
    let bench = Bench::alone(api, cluster());
    let shop: FunctionName = "order.shop".parse().unwrap();
    bench.provider.namespaces().await.unwrap();
    assert_eq!(bench.provider.replicas().snapshot().len(), 1);
    assert!(matches!(bench.provider.list("shop").await, Err(ProviderError::NoNamespace(_))));
    bench.api.put("namespaces", "", json!({"metadata": {"name": "shop", "annotations": {"openfaas": ""}}}));
    eventually("the namespace", async || bench.count(&shop).is_some()).await;
    assert_eq!(bench.provider.namespaces().await.unwrap().len(), 2);
    bench.api.put("namespaces", "", json!({"metadata": {"name": "shop"}}));
    eventually("its end", async || bench.count(&shop).is_none()).await;
    assert!(matches!(bench.provider.list("kube-system").await, Err(ProviderError::NoNamespace(_))));
}

#[tokio::test(start_paused = true)]
async fn without_rights_in_the_cluster_the_configured_namespaces_are_all_there_is() {
    let api = Api::with_namespaces(&["one", "two", "three"]);
    for namespace in ["one", "two", "three"] {
        api.put("functions", namespace, function("order"));
    }
    let config = Config { function_namespaces: vec!["one".to_owned(), "two".to_owned()], ..Config::default() };
    let bench = Bench::alone(api, config);
    let names: Vec<String> = bench.provider.namespaces().await.unwrap().into_iter().map(|space| space.name).collect();
    assert_eq!(names, ["one", "two"]);
    assert_eq!(bench.provider.replicas().snapshot().len(), 2);
    assert!(matches!(bench.provider.list("three").await, Err(ProviderError::NoNamespace(_))));
    let four = wire::namespace::Namespace { name: "four".to_owned(), ..Default::default() };
    let error = bench.provider.create_namespace(four).await.unwrap_err();
    assert!(error.to_string().contains("cluster_role"), "{error}");
    let asked = bench.api.requests();
    assert!(asked.iter().all(|request| request.contains("/namespaces/one/") || request.contains("/namespaces/two/")));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_cluster_is_asked_a_few_times_a_minute() {
    let bench = Bench::new();
    let name = bench.deployed("order").await;
    bench.ready(&name, 1).await;
    let before = bench.api.requests().len();
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        bench.provider.list(NAMESPACE).await.unwrap();
        bench.provider.status(&name, false).await.unwrap();
        bench.provider.namespaces().await.unwrap();
    }
    let asked = bench.api.requests().len() - before;
    // Three watches of ours and one of the stand-in's.
    assert!(asked <= 45, "{asked} requests in ten minutes");
}
