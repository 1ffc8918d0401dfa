//! Nothing to do, much to do, and an API server or a namespace that goes away.

use crate::cluster::{Running, eventually, function, test, test_alone};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::api::{Api, ListParams, PostParams};
use kubernetes::Function;
use serde_json::json;
use std::time::{Duration, Instant};

/// How long nothing is to be asked.
const QUIET: Duration = Duration::from_secs(6);

#[test]
fn with_nothing_to_do_nothing_is_asked_and_nothing_written() {
    test("with_nothing_to_do_nothing_is_asked_and_nothing_written", |cluster| async move {
        let operator = Running::start(cluster.candidate("first")).await;
        for number in 0..5 {
            let more =
                json!({"limits": {"memory": "1024Mi", "cpu": "0.5"}, "annotations": {"com.crema.data.path": "/d"}});
            cluster.function(&format!("function-{number}"), more).await;
        }
        // What stays in trouble is as quiet as what runs.
        cluster.function("missing", json!({"secrets": ["nobody"]})).await;
        for number in 0..5 {
            cluster.ready(&format!("function-{number}")).await;
        }
        operator.settled().await;
        operator.asked();
        tokio::time::sleep(QUIET).await;
        let mut asked = operator.asked();
        // Watches are resumed from time to time.
        asked.retain(|request| !request.contains("watch=true"));
        assert_eq!(asked, Vec::<String>::new());
        operator.stop().await;

        // Another one begins with the same objects: it lists them, and that is all.
        let operator = Running::start(cluster.candidate("second")).await;
        let mut asked = Vec::new();
        eventually("it has listed everything", async || {
            asked.extend(operator.asked());
            asked.iter().filter(|request| request.contains("watch=true")).count() >= 9
        })
        .await;
        tokio::time::sleep(QUIET).await;
        asked.extend(operator.asked());
        let writes: Vec<_> = asked.iter().filter(|request| !request.starts_with("GET ")).collect();
        assert!(writes.is_empty(), "{writes:?}");
        operator.stop().await;
    });
}

#[test]
fn five_hundred_functions_at_once_are_all_done_and_a_broken_one_holds_up_none() {
    test_alone("five_hundred_functions_at_once_are_all_done_and_a_broken_one_holds_up_none", |cluster| async move {
        let operator = cluster.operate().await;
        cluster.function("broken", json!({"limits": {"memory": "lots"}})).await;
        let api: Api<Function> = cluster.api();
        let began = Instant::now();
        let functions = (0..500).map(|number| {
            let object: Function = serde_json::from_value(function(&format!("function-{number}"), json!({}))).unwrap();
            let api = api.clone();
            async move { api.create(&PostParams::default(), &object).await.unwrap() }
        });
        let made = futures_util::StreamExt::buffer_unordered(futures_util::stream::iter(functions), 16);
        assert_eq!(futures_util::StreamExt::count(made).await, 500);
        let created = began.elapsed();
        let observed = |function: &&Function| {
            let state = function.status.as_ref();
            state.is_some_and(|state| state.observed_generation == function.metadata.generation)
        };
        eventually("all are looked at", async || {
            let functions = api.list(&ListParams::default()).await.unwrap().items;
            let deployments = cluster.api::<Deployment>().list_metadata(&ListParams::default()).await.unwrap().items;
            let services = cluster.api::<Service>().list_metadata(&ListParams::default()).await.unwrap().items;
            let seen = functions.iter().filter(observed).count();
            seen == 501 && deployments.len() == 500 && services.len() == 500
        })
        .await;
        let (took, asked) = (began.elapsed(), operator.asked().len());
        eprintln!(
            "500 Functions: made in {created:?}, their objects and states there after {took:?}, {asked} requests"
        );
        cluster.says("broken", "Stalled", "True", "BadQuantity").await;
        operator.stop().await;
        cluster.delete_namespace().await;
        let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
        eventually("it is cleared away", async || namespaces.get_opt(&cluster.namespace).await.unwrap().is_none())
            .await;
    });
}

#[test]
fn an_api_server_that_is_away_is_waited_for() {
    test("an_api_server_that_is_away_is_waited_for", |cluster| async move {
        let operator = cluster.operate().await;
        cluster.function("one", json!({})).await;
        cluster.ready("one").await;
        operator.cut(true);
        operator.asked();
        cluster.function("two", json!({})).await;
        tokio::time::sleep(QUIET * 2).await;
        let asked = operator.asked();
        assert!(!asked.is_empty() && asked.len() < 60, "{} requests in {:?}", asked.len(), QUIET * 2);
        assert!(cluster.api::<Deployment>().get_opt("two").await.unwrap().is_none());
        operator.cut(false);
        cluster.ready("two").await;
        operator.stop().await;
    });
}

#[test]
fn a_namespace_that_is_deleted_underneath_does_no_harm_and_may_come_again() {
    test("a_namespace_that_is_deleted_underneath_does_no_harm_and_may_come_again", |cluster| async move {
        let operator = cluster.operate().await;
        for number in 0..20 {
            cluster.function(&format!("function-{number}"), json!({})).await;
        }
        cluster.delete_namespace().await;
        let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
        eventually("it is gone", async || namespaces.get_opt(&cluster.namespace).await.unwrap().is_none()).await;
        operator.asked();
        tokio::time::sleep(QUIET).await;
        assert!(operator.asked().len() < 60, "no busy loop");
        cluster.make_namespace().await;
        cluster.function("again", json!({})).await;
        cluster.ready("again").await;
        operator.stop().await;
    });
}

#[test]
fn an_object_that_is_changed_and_deleted_at_once_leaves_nothing_behind() {
    test("an_object_that_is_changed_and_deleted_at_once_leaves_nothing_behind", |cluster| async move {
        let operator = cluster.operate().await;
        for round in 0..10 {
            cluster.function("order", json!({"environment": {"ROUND": round.to_string()}})).await;
            cluster.patch::<Function>("order", json!({"spec": {"environment": {"ROUND": "changed"}}})).await;
            cluster.delete::<Function>("order").await;
            cluster.until_gone::<Function>("order").await;
        }
        operator.settled().await;
        eventually("nothing is left", async || {
            cluster.api::<Deployment>().list(&ListParams::default()).await.unwrap().items.is_empty()
        })
        .await;
        operator.stop().await;
    });
}
