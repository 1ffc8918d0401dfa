//! What `faas-cli generate` prints.

use crate::cluster::{Cluster, condition, test};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, Patch, PatchParams};
use kubernetes::Function;
use serde_json::{Value, json};

const GENERATED: &str = include_str!("../fixtures/generate.yaml");
/// Where there is no repository, `faas-cli generate` with `--tag sha` writes git's complaint into the image reference.
const OUTSIDE_GIT: &str = "echo";

/// Applies a document as `kubectl apply --server-side` does, in the test's namespace.
async fn apply(cluster: &Cluster, mut document: Value) -> Function {
    document["metadata"]["namespace"] = json!(cluster.namespace);
    let name = document["metadata"]["name"].as_str().unwrap().to_owned();
    let api: Api<Function> = cluster.api();
    api.patch(&name, &PatchParams::apply("kubectl"), &Patch::Apply(&document)).await.unwrap()
}

fn documents() -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(GENERATED).unwrap();
    assert_eq!(documents.len(), 6);
    documents
}

#[test]
fn what_faas_cli_generates_becomes_a_deployment_and_a_service() {
    test("what_faas_cli_generates_becomes_a_deployment_and_a_service", |cluster| async move {
        let operator = cluster.operate().await;
        let secret = |name: &str| json!({"metadata": {"name": name}, "stringData": {name: "x"}});
        for name in ["api-key", "db.password"] {
            cluster.make::<k8s_openapi::api::core::v1::Secret>(secret(name)).await;
        }
        for document in documents() {
            let name = document["metadata"]["name"].as_str().unwrap().to_owned();
            let applied = apply(&cluster, document.clone()).await;
            assert_eq!(applied.spec.image, document["spec"]["image"].as_str().unwrap());
            if name == OUTSIDE_GIT {
                let message = cluster.says(&name, "Stalled", "True", "BadImage").await;
                assert!(message.contains("fatal: not a git repository"), "{message}");
                assert!(cluster.api::<Deployment>().get_opt(&name).await.unwrap().is_none());
                continue;
            }
            let deployment: Deployment = cluster.until(&name, |_| true).await;
            let service: Service = cluster.until(&name, |_| true).await;
            let owner = &deployment.metadata.owner_references.as_ref().unwrap()[0];
            assert_eq!(Some(&owner.uid), applied.metadata.uid.as_ref());
            assert_eq!(service.spec.unwrap().ports.unwrap()[0].port, 8080);
            // Whether it runs is up to the nodes: they have the image, or the status says what is missing.
            let known = |function: &Function| {
                let healthy = condition(function, "Healthy");
                healthy.is_some_and(|(status, reason, _)| status == "True" || reason == "ReplicasFailing")
            };
            let seen = cluster.until(&name, known).await;
            let status = seen.status.as_ref().unwrap();
            assert_eq!(status.observed_generation, seen.metadata.generation);
            assert_eq!(status.selector, Some(format!("faas_function={name}")));
        }
        let hello: Deployment = cluster.until("hello", |_| true).await;
        let spec = hello.spec.unwrap();
        assert_eq!(spec.replicas, Some(2));
        let pod = spec.template.spec.unwrap();
        assert_eq!(pod.node_selector.unwrap()["disk"], "ssd");
        let volumes = pod.volumes.unwrap();
        assert!(
            volumes.iter().any(|volume| volume.projected.as_ref().is_some_and(|all| all
                .sources
                .as_ref()
                .unwrap()
                .len()
                == 2))
        );
        operator.stop().await;
    });
}
