//! What changes is followed, what is bent is bent back, what goes is cleared away.

use crate::cluster::{condition, test};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret, Service};
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{Api, ListParams, PostParams};
use kubernetes::{Function, Profile};
use serde_json::json;

fn replicas(deployment: &Deployment) -> Option<i32> {
    deployment.spec.as_ref().unwrap().replicas
}

#[test]
fn a_missing_secret_stalls_it_and_its_coming_heals() {
    test("a_missing_secret_stalls_it_and_its_coming_heals", |cluster| async move {
        let operator = cluster.operate().await;
        cluster.function("order", json!({"secrets": ["key"]})).await;
        let message = cluster.says("order", "Stalled", "True", "SecretMissing").await;
        assert!(
            message.contains("secret key is not in namespace") && message.contains("faas-cli secret create"),
            "{message}"
        );
        assert!(cluster.api::<Deployment>().get_opt("order").await.unwrap().is_none());
        let events = Api::<Event>::namespaced(cluster.client.clone(), &cluster.namespace);
        let events = events.list(&ListParams::default()).await.unwrap().items;
        let of_function: Vec<_> = events
            .iter()
            .filter(|event| event.regarding.as_ref().unwrap().kind.as_deref() == Some("Function"))
            .collect();
        assert_eq!(of_function.len(), 1);
        assert_eq!(of_function[0].reason.as_deref(), Some("SecretMissing"));
        assert_eq!(of_function[0].type_.as_deref(), Some("Warning"));

        cluster.make::<Secret>(json!({"metadata": {"name": "key"}, "stringData": {"key": "x"}})).await;
        let healed = cluster.ready("order").await;
        assert_eq!(condition(&healed, "Stalled"), None);
        operator.stop().await;
    });
}

#[test]
fn a_pull_secret_pulls_and_is_no_file() {
    test("a_pull_secret_pulls_and_is_no_file", |cluster| async move {
        let operator = cluster.operate().await;
        let config = json!({"metadata": {"name": "registry"}, "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": "{\"auths\":{}}"}});
        cluster.make::<Secret>(config).await;
        cluster.function("order", json!({"secrets": ["registry"]})).await;
        let deployment: Deployment = cluster.until("order", |_| true).await;
        let pod = deployment.spec.unwrap().template.spec.unwrap();
        assert_eq!(pod.image_pull_secrets.unwrap()[0].name, "registry");
        assert!(pod.volumes.unwrap().iter().all(|volume| volume.projected.is_none()));
        operator.stop().await;
    });
}

#[test]
fn it_is_scaled_by_its_subresource_alone() {
    test("it_is_scaled_by_its_subresource_alone", |cluster| async move {
        let operator = cluster.operate().await;
        let mut plain = crate::cluster::function("order", json!({"labels": {"com.openfaas.scale.min": "2"}}));
        plain["spec"].as_object_mut().unwrap().remove("replicas");
        cluster.make::<Function>(plain).await;
        cluster.until::<Deployment>("order", |deployment| replicas(deployment) == Some(2)).await;
        // Whoever scales reads it there: kubectl, HPA, KEDA.
        let scale = cluster.api::<Function>().get_scale("order").await.unwrap();
        assert_eq!(scale.spec.unwrap().replicas, Some(2));
        assert_eq!(scale.status.unwrap().selector.as_deref(), Some("faas_function=order"));

        cluster.scale("order", 0).await;
        cluster.until::<Deployment>("order", |deployment| replicas(deployment) == Some(0)).await;
        cluster.ready("order").await;
        cluster.says("order", "Healthy", "False", "ScaledToZero").await;
        cluster.scale("order", 3).await;
        cluster.until::<Deployment>("order", |deployment| replicas(deployment) == Some(3)).await;

        // Fleet corrects a drift by replacing the whole object by what Git says, which is no number.
        loop {
            let mut whole = cluster.api::<Function>().get("order").await.unwrap();
            whole.spec.replicas = None;
            whole.metadata.labels = None;
            whole.metadata.annotations = None;
            match cluster.api::<Function>().replace("order", &PostParams::default(), &whole).await {
                // A status was written in between.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                replaced => break drop(replaced.unwrap()),
            }
        }
        cluster.until::<Function>("order", |function| function.spec.replicas == Some(3)).await;
        let deployment: Deployment = cluster.until("order", |_| true).await;
        assert_eq!(replicas(&deployment), Some(3));
        operator.stop().await;
    });
}

#[test]
fn what_is_bent_is_bent_back() {
    test("what_is_bent_is_bent_back", |cluster| async move {
        let operator = cluster.operate().await;
        cluster.function("order", json!({"environment": {"LOG": "info"}, "labels": {"team": "core"}})).await;
        cluster.ready("order").await;
        let image = |deployment: &Deployment| {
            deployment.spec.as_ref().unwrap().template.spec.as_ref().unwrap().containers[0].image.clone()
        };

        let bent = json!({"spec": {"replicas": 4}, "metadata": {"labels": {"team": "other"}}});
        cluster.patch::<Deployment>("order", bent).await;
        cluster
            .until::<Deployment>("order", |deployment| {
                replicas(deployment) == Some(0) && deployment.labels()["team"] == "core"
            })
            .await;
        let containers = json!([{"name": "order", "image": "crema.invalid/other:1"}]);
        cluster.patch::<Deployment>("order", json!({"spec": {"template": {"spec": {"containers": containers}}}})).await;
        let back: Deployment =
            cluster.until("order", |deployment| image(deployment).as_deref() == Some(crate::cluster::NO_IMAGE)).await;
        let container = &back.spec.unwrap().template.spec.unwrap().containers[0];
        assert!(container.env.as_ref().unwrap().iter().any(|variable| variable.name == "LOG"));

        // Also what it is known by.
        cluster
            .patch::<Service>("order", json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}}))
            .await;
        cluster
            .until::<Service>("order", |service| service.labels().contains_key("app.kubernetes.io/managed-by"))
            .await;
        let before = cluster.api::<Service>().get("order").await.unwrap();
        cluster.delete::<Service>("order").await;
        cluster.until::<Service>("order", |service| service.uid() != before.uid()).await;
        cluster.delete::<Deployment>("order").await;
        cluster.until::<Deployment>("order", |deployment| deployment.uid() != back.metadata.uid).await;

        // What is taken out of a Function goes from its objects.
        cluster.patch::<Function>("order", json!({"spec": {"environment": null, "labels": null}})).await;
        let gone = |deployment: &Deployment| {
            let spec = deployment.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
            !spec.containers[0].env.as_ref().unwrap().iter().any(|variable| variable.name == "LOG")
                && !deployment.labels().contains_key("team")
        };
        cluster.until::<Deployment>("order", gone).await;
        operator.stop().await;
    });
}

#[test]
fn a_deleted_function_takes_its_objects_along_and_leaves_its_data() {
    test("a_deleted_function_takes_its_objects_along_and_leaves_its_data", |cluster| async move {
        let operator = cluster.operate().await;
        let data = json!({"annotations": {"com.crema.data.path": "/data", "com.crema.data.size": "10Mi"}});
        cluster.function("order", data.clone()).await;
        cluster.ready("order").await;
        let claim: PersistentVolumeClaim = cluster.until("order-data", |_| true).await;
        assert_eq!(claim.metadata.owner_references, None);
        assert!(cluster.api::<Function>().get("order").await.unwrap().metadata.finalizers.is_none());
        cluster.delete::<Function>("order").await;
        cluster.until_gone::<Function>("order").await;
        // At once again, while the former objects are still being cleared away.
        cluster.function("order", data).await;
        cluster.ready("order").await;
        cluster.delete::<Function>("order").await;
        cluster.until_gone::<Deployment>("order").await;
        cluster.until_gone::<Service>("order").await;
        let kept: PersistentVolumeClaim = cluster.until("order-data", |_| true).await;
        assert_eq!(kept.uid(), claim.uid());
        operator.stop().await;
    });
}

#[test]
fn a_claim_does_not_shrink_and_the_status_says_so() {
    test("a_claim_does_not_shrink_and_the_status_says_so", |cluster| async move {
        let operator = cluster.operate().await;
        let size = |size: &str| json!({"annotations": {"com.crema.data.path": "/data", "com.crema.data.size": size}});
        cluster.function("order", size("20Mi")).await;
        cluster.ready("order").await;
        // It comes and goes with its annotation, the claim stays.
        let strategy = |deployment: &Deployment| {
            deployment.spec.as_ref().unwrap().strategy.as_ref().unwrap().type_.clone().unwrap()
        };
        cluster.patch::<Function>("order", json!({"spec": {"annotations": null}})).await;
        cluster.until::<Deployment>("order", |deployment| strategy(deployment) == "RollingUpdate").await;
        cluster.patch::<Function>("order", json!({"spec": size("20Mi")})).await;
        cluster.until::<Deployment>("order", |deployment| strategy(deployment) == "Recreate").await;
        for (asked, words) in [("10Mi", "has 20Mi and does not shrink to 10Mi"), ("30Mi", "stays at 20Mi")] {
            cluster.patch::<Function>("order", json!({"spec": size(asked)})).await;
            let said = |function: &Function| {
                condition(function, "Ready")
                    .is_some_and(|(status, _, message)| status == "True" && message.contains(words))
            };
            cluster.until::<Function>("order", said).await;
        }
        operator.stop().await;
    });
}

#[test]
fn a_profile_is_waited_for_merged_and_followed() {
    test("a_profile_is_waited_for_merged_and_followed", |cluster| async move {
        let operator = cluster.operate().await;
        cluster.function("order", json!({"annotations": {"com.openfaas.profile": "small"}})).await;
        cluster.says("order", "Stalled", "True", "ProfileMissing").await;
        let profile = json!({"metadata": {"name": "small"}, "spec": {"priorityClassName": "system-cluster-critical",
            "tolerations": [{"key": "store", "operator": "Exists"}]}});
        cluster.make::<Profile>(profile).await;
        let ready = cluster.ready("order").await;
        let applied = &ready.status.as_ref().unwrap().profiles[0];
        assert_eq!((applied.profile_ref.name.as_str(), applied.observed_generation), ("small", Some(1)));
        cluster.patch::<Profile>("small", json!({"spec": {"priorityClassName": null, "dnsPolicy": "Default"}})).await;
        let followed = |deployment: &Deployment| {
            let pod = deployment.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
            pod.dns_policy.as_deref() == Some("Default")
                && pod.priority_class_name.is_none()
                && pod.tolerations.is_some()
        };
        cluster.until::<Deployment>("order", followed).await;
        cluster
            .until::<Function>("order", |function| {
                function.status.as_ref().unwrap().profiles[0].observed_generation == Some(2)
            })
            .await;
        operator.stop().await;
    });
}
