//! Functions that run. The image `CREMA_TEST_IMAGE` names has to be on the nodes.

use crate::cluster::{NO_IMAGE, condition, test};
use daemon::{Env, ProcessEnv};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kubernetes::Function;
use serde_json::{Value, json};

#[test]
fn pods_are_let_in_where_only_restricted_ones_are() {
    test("pods_are_let_in_where_only_restricted_ones_are", |cluster| async move {
        let operator = cluster.operate().await;
        cluster.function("order", json!({"replicas": 1, "readOnlyRootFilesystem": false})).await;
        // The pod is there, though its image is not.
        let message = cluster.says("order", "Reconciling", "True", "ReplicasFailing").await;
        assert!(message.starts_with(&format!("ImagePullBackOff: image {NO_IMAGE} cannot be pulled")), "{message}");
        let pods = cluster.api::<Pod>().list(&ListParams::default().labels("faas_function=order")).await.unwrap();
        assert_eq!(pods.items.len(), 1);
        operator.stop().await;
    });
}

#[test]
fn a_bad_image_leaves_the_former_one_serving_and_says_why() {
    const NAME: &str = "a_bad_image_leaves_the_former_one_serving_and_says_why";
    let Some(image) = ProcessEnv.get("CREMA_TEST_IMAGE") else {
        eprintln!("SKIPPED {NAME}: CREMA_TEST_IMAGE names no function image");
        return;
    };
    test(NAME, |cluster| async move {
        let config = operator::Config { progress_deadline: std::time::Duration::from_secs(8), ..cluster.config() };
        let operator = crate::cluster::Running::start(config).await;
        cluster.function("fridge", json!({"image": image, "replicas": 1})).await;
        let ready = cluster.ready("fridge").await;
        assert_eq!(condition(&ready, "Healthy").unwrap().0, "True");
        assert_eq!(ready.status.unwrap().available_replicas, 1);

        let to = |image: &str| -> Value { json!({"spec": {"image": image}}) };
        cluster.patch::<Function>("fridge", to(NO_IMAGE)).await;
        let message = cluster.says("fridge", "Reconciling", "True", "ReplicasFailing").await;
        assert!(message.ends_with("the version before keeps serving"), "{message}");
        let message = cluster.says("fridge", "Stalled", "True", "ImagePullBackOff").await;
        assert!(message.ends_with("the version before keeps serving"), "{message}");
        let stalled = cluster.api::<Function>().get("fridge").await.unwrap();
        assert_eq!(condition(&stalled, "Ready").unwrap().0, "False");
        assert_eq!(condition(&stalled, "Healthy").unwrap().0, "True");

        cluster.patch::<Function>("fridge", to(&image)).await;
        let healed = cluster.ready("fridge").await;
        assert_eq!(condition(&healed, "Stalled"), None);
        operator.stop().await;
    });
}
