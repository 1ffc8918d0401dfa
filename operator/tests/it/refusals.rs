//! What cannot be done is said, and nothing else is touched.

use crate::cluster::{Running, condition, test};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, ResourceQuota, Service};
use kube::ResourceExt;
use kube::api::{ListParams, PostParams};
use kubernetes::Function;
use serde_json::{Value, json};

#[test]
fn a_bad_quantity_stalls_it_until_it_is_a_good_one_and_what_ran_is_scaled_on() {
    test("a_bad_quantity_stalls_it_until_it_is_a_good_one_and_what_ran_is_scaled_on", |cluster| async move {
        let operator = cluster.operate().await;
        cluster.function("order", json!({})).await;
        cluster.ready("order").await;
        cluster.patch::<Function>("order", json!({"spec": {"limits": {"memory": "12XB"}}})).await;
        let message = cluster.says("order", "Stalled", "True", "BadQuantity").await;
        assert!(message.starts_with("limits.memory: \"12XB\""), "{message}");
        let stalled: Function = cluster.until("order", |_| true).await;
        assert_eq!(condition(&stalled, "Ready").unwrap().0, "False");
        assert_eq!(stalled.status.unwrap().observed_generation, stalled.metadata.generation);
        cluster.scale("order", 2).await;
        cluster.until::<Deployment>("order", |deployment| deployment.spec.as_ref().unwrap().replicas == Some(2)).await;
        cluster.scale("order", 0).await;
        cluster.patch::<Function>("order", json!({"spec": {"limits": {"memory": "64Mi"}}})).await;
        cluster.ready("order").await;
        operator.stop().await;
    });
}

#[test]
fn a_bad_image_stalls_it_until_it_is_a_good_one_and_what_ran_keeps_its_own() {
    test("a_bad_image_stalls_it_until_it_is_a_good_one_and_what_ran_keeps_its_own", |cluster| async move {
        let operator = cluster.operate().await;
        cluster.function("new", json!({"image": "owner/new:"})).await;
        let message = cluster.says("new", "Stalled", "True", "BadImage").await;
        assert!(message.starts_with("spec.image: ") && message.contains("write it like"), "{message}");
        cluster.function("order", json!({})).await;
        cluster.ready("order").await;
        let ran: Deployment = cluster.until("order", |_| true).await;
        let good: Function = cluster.until("order", |_| true).await;
        cluster.patch::<Function>("order", json!({"spec": {"image": "Not An Image"}})).await;
        cluster.says("order", "Stalled", "True", "BadImage").await;
        let stalled: Function = cluster.until("order", |_| true).await;
        assert_eq!(condition(&stalled, "Ready").unwrap().0, "False");
        assert_eq!(condition(&stalled, "Reconciling"), None);
        let runs: Deployment = cluster.until("order", |_| true).await;
        assert_eq!(runs.spec.unwrap().template, ran.spec.unwrap().template);
        assert!(cluster.api::<Deployment>().get_opt("new").await.unwrap().is_none());
        for name in ["order", "new"] {
            cluster.patch::<Function>(name, json!({"spec": {"image": good.spec.image}})).await;
            cluster.ready(name).await;
        }
        operator.stop().await;
    });
}

#[test]
fn a_name_that_is_taken_is_left_to_whom_it_belongs() {
    test("a_name_that_is_taken_is_left_to_whom_it_belongs", |cluster| async move {
        let operator = cluster.operate().await;
        let service = json!({"metadata": {"name": "order", "labels": {"app.kubernetes.io/managed-by": "Helm"}},
            "spec": {"selector": {"app": "x"}, "ports": [{"port": 80}]}});
        let theirs: Service = cluster.make(service).await;
        cluster.function("order", json!({})).await;
        let message = cluster.says("order", "Stalled", "True", "NameTaken").await;
        assert!(
            message.starts_with("Service order is there already") && message.contains("managed by Helm"),
            "{message}"
        );
        assert!(cluster.api::<Deployment>().get_opt("order").await.unwrap().is_none());

        let template =
            json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "x", "image": "x"}]}});
        let deployment = json!({"metadata": {"name": "till"}, "spec": {"replicas": 0, "template": template,
            "selector": {"matchLabels": {"app": "x"}}}});
        let other: Deployment = cluster.make(deployment).await;
        cluster.function("till", json!({})).await;
        let message = cluster.says("till", "Stalled", "True", "NameTaken").await;
        assert!(message.starts_with("Deployment till"), "{message}");

        let claim = json!({"metadata": {"name": "safe-data"}, "spec": {"accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "5Mi"}}}});
        let kept: PersistentVolumeClaim = cluster.make(claim).await;
        cluster.function("safe", json!({"annotations": {"com.crema.data.path": "/data"}})).await;
        let message = cluster.says("safe", "Stalled", "True", "NameTaken").await;
        assert!(message.contains("label it faas_function=safe"), "{message}");

        operator.settled().await;
        let now = cluster.api::<Service>().get("order").await.unwrap();
        assert_eq!(now.resource_version(), theirs.resource_version());
        let now = cluster.api::<Deployment>().get("till").await.unwrap();
        assert_eq!((now.uid(), now.labels(), &now.metadata.owner_references), (other.uid(), other.labels(), &None));
        assert_eq!(now.metadata.generation, other.metadata.generation);
        let now = cluster.api::<PersistentVolumeClaim>().get("safe-data").await.unwrap();
        assert_eq!((now.uid(), now.labels()), (kept.uid(), kept.labels()));
        let all = cluster.api::<Deployment>().list(&ListParams::default()).await.unwrap().items;
        assert_eq!(all.len(), 1, "only theirs");

        // It heals once the name is free.
        cluster.delete::<Service>("order").await;
        cluster.ready("order").await;
        operator.stop().await;
    });
}

#[test]
fn a_megabyte_of_annotations_is_refused_with_what_is_allowed() {
    test("a_megabyte_of_annotations_is_refused_with_what_is_allowed", |cluster| async move {
        let operator = cluster.operate().await;
        cluster.function("order", json!({"annotations": {"big": "x".repeat(1_000_000)}})).await;
        let message = cluster.says("order", "Stalled", "True", "AnnotationsTooLarge").await;
        assert!(message.contains("262144"), "{message}");
        operator.stop().await;
    });
}

#[test]
fn the_api_server_s_own_refusals_are_passed_on() {
    test("the_api_server_s_own_refusals_are_passed_on", |cluster| async move {
        let operator = cluster.operate().await;
        cluster.function("labelled", json!({"labels": {"team": "not a label"}})).await;
        let message = cluster.says("labelled", "Stalled", "True", "Refused").await;
        assert!(message.starts_with("Kubernetes refuses the ") && message.contains("not a label"), "{message}");
        let quota = json!({"metadata": {"name": "small"}, "spec": {"hard": {"pods": "0"}}});
        cluster.make::<ResourceQuota>(quota).await;
        cluster.function("many", json!({"replicas": 1})).await;
        let message = cluster.says("many", "Stalled", "True", "FailedCreate").await;
        assert!(message.contains("exceeded quota"), "{message}");
        operator.stop().await;
    });
}

#[test]
fn what_the_definition_refuses_never_becomes_a_function() {
    test("what_the_definition_refuses_never_becomes_a_function", |cluster| async move {
        let bad = |more: Value| serde_json::from_value::<Function>(crate::cluster::function("order", more)).unwrap();
        for (more, word) in [
            (json!({"name": "Not_A_Name"}), "spec.name"),
            (json!({"image": ""}), "spec.image"),
            (json!({"replicas": -1}), "spec.replicas"),
        ] {
            let refused = cluster.api::<Function>().create(&PostParams::default(), &bad(more)).await.unwrap_err();
            assert!(refused.to_string().contains(word), "{refused}");
        }
        let operator = Running::start(cluster.config()).await;
        cluster.function("order", json!({"name": "other"})).await;
        cluster.says("order", "Stalled", "True", "BadName").await;
        operator.stop().await;
    });
}
