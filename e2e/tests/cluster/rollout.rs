//! New versions under load, and versions that cannot run.

use crate::stage::Stage;
use e2e::callers::{Callers, Heard};
use e2e::cluster::functions::{self, actor, actor_deployment, answer, condition, namespace};
use e2e::cluster::images::ACTOR_IMAGE;
use e2e::cluster::kubectl::{apply, delete_namespaces, kubectl, seen};
use serde_json::{Value, json};
use std::time::Duration;

const NAMESPACE: &str = "e2e-rollout";
/// Clients that call without a pause: enough to have a call in flight at every moment.
const CALLERS: usize = 2;
const UPDATES: usize = 4;
/// An image nobody has.
const NOWHERE: &str = "e2e-there-is-none";

pub(crate) async fn updates_under_load_fail_no_call(stage: &Stage) {
    apply(&namespace(NAMESPACE)).await.unwrap();
    let deployed = "deployed";
    let applied = "applied";
    stage.deploy_body(&actor_deployment(deployed, NAMESPACE, 1)).await;
    let mut object = actor(applied, NAMESPACE, 1);
    object["spec"]["labels"] = json!({"com.openfaas.scale.min": "2"});
    apply(&object).await.unwrap();
    stage.has_replicas(deployed, NAMESPACE, 1).await;
    stage.has_replicas(applied, NAMESPACE, 2).await;
    let callers = [deployed, applied].map(|name| (name, Callers::call(&url(stage, name), CALLERS)));
    for update in 0..UPDATES {
        let version = 2 - update % 2;
        stage.deploy_body(&actor_deployment(deployed, NAMESPACE, version)).await;
        object["spec"]["image"] = json!(format!("{ACTOR_IMAGE}:{version}"));
        object["spec"]["environment"] = json!({"version": version.to_string()});
        apply(&object).await.unwrap();
        for name in [deployed, applied] {
            functions::is_ready(name, NAMESPACE).await;
            answers(stage, name, version).await;
        }
    }
    for (name, callers) in callers {
        let heard = callers.stop().await;
        says_whole_versions(&heard);
        heard.without_failure(&format!("{UPDATES} updates of {name}"));
        e2e::report(format_args!(
            "{UPDATES} updates of {name}: {} calls, none failed, the longest {:?}",
            heard.good(),
            heard.longest
        ));
    }
}

pub(crate) async fn scaling_under_load_fails_no_call(stage: &Stage) {
    apply(&namespace(NAMESPACE)).await.unwrap();
    let name = "scaled";
    apply(&actor(name, NAMESPACE, 1)).await.unwrap();
    stage.has_replicas(name, NAMESPACE, 1).await;
    let callers = Callers::call(&url(stage, name), CALLERS);
    for replicas in [3, 1, 2, 1] {
        let body = json!({"serviceName": name, "namespace": NAMESPACE, "replicas": replicas});
        stage.done("POST", &format!("/system/scale-function/{name}"), &body).await;
        stage.has_replicas(name, NAMESPACE, replicas).await;
    }
    callers.stop().await.without_failure("scaled up and down");
    // What kubectl scales is the same field, and applying the object again leaves it.
    kubectl(&["scale", "functions.openfaas.com", name, "-n", NAMESPACE, "--replicas=2"]).await.unwrap();
    stage.has_replicas(name, NAMESPACE, 2).await;
    apply(&actor(name, NAMESPACE, 1)).await.unwrap();
    functions::is_ready(name, NAMESPACE).await;
    stage.has_replicas(name, NAMESPACE, 2).await;
    // At zero it stays Ready, for Fleet; the next call starts it.
    kubectl(&["scale", "functions.openfaas.com", name, "-n", NAMESPACE, "--replicas=0"]).await.unwrap();
    stage.has_replicas(name, NAMESPACE, 0).await;
    let object = functions::is_ready(name, NAMESPACE).await;
    assert_eq!(condition(&object, "Healthy").map(|[status, ..]| status), Some("False"), "{object}");
    let begun = std::time::Instant::now();
    let woken = stage.http.post(&url(stage, name), "").await.unwrap();
    assert_eq!((woken.status, woken.text()), (200, answer(1)));
    e2e::report(format_args!("from zero to the first answer: {:?}", begun.elapsed()));
    autoscaled(stage, name).await;
}

/// Kubernetes' own autoscaler brings a Function to its fewest replicas, for which it needs no metrics, and then asks for
/// those of the pods that the Function's selector names.
async fn autoscaled(stage: &Stage, name: &str) {
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "scaleTargetRef": {"apiVersion": "openfaas.com/v1", "kind": "Function", "name": name},
            "minReplicas": 2, "maxReplicas": 3,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}],
        },
    });
    apply(&autoscaler).await.unwrap();
    stage.has_replicas(name, NAMESPACE, 2).await;
    let reason = seen("what the autoscaler asks for", || async {
        let found = kubectl(&["get", "hpa", name, "-n", NAMESPACE, "-o", "json"]).await?;
        let found: Value = serde_json::from_str(&found).map_err(|error| error.to_string())?;
        let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let active = conditions.into_iter().find(|condition| condition["type"] == "ScalingActive");
        active.and_then(|active| active["reason"].as_str().map(str::to_owned)).ok_or_else(|| "nothing yet".to_owned())
    });
    let reason = reason.await;
    assert!(["FailedGetResourceMetric", "ValidMetricFound"].contains(&reason.as_str()), "{reason}");
}

pub(crate) async fn a_bad_image_leaves_the_old_version_serving_and_is_named(stage: &Stage) {
    apply(&namespace(NAMESPACE)).await.unwrap();
    for (name, by_rest) in [("bad-by-rest", true), ("bad-by-kubectl", false)] {
        deploy(stage, name, 1, by_rest, |_| {}).await;
        stage.has_replicas(name, NAMESPACE, 1).await;
        let callers = Callers::call(&url(stage, name), 1);
        let bad = format!("{ACTOR_IMAGE}:{NOWHERE}");
        deploy(stage, name, 1, by_rest, |body| body["image"] = json!(bad)).await;
        says_why(stage, name, NOWHERE).await;
        // One that starts and never gets ready is no better.
        deploy(stage, name, 2, by_rest, |body| {
            let variables = if by_rest { "envVars" } else { "environment" };
            body[variables]["behaves"] = json!("exits at once");
        })
        .await;
        says_why(stage, name, "").await;
        let heard = callers.stop().await;
        heard.without_failure(&format!("two bad versions of {name}"));
        assert_eq!(heard.answers.keys().collect::<Vec<_>>(), [&answer(1)], "{heard:?}");
        // A good one after it heals it.
        deploy(stage, name, 2, by_rest, |_| {}).await;
        functions::is_ready(name, NAMESPACE).await;
        answers(stage, name, 2).await;
    }
    delete_namespaces(&[NAMESPACE]).await;
}

async fn deploy(stage: &Stage, name: &str, version: usize, by_rest: bool, change: impl Fn(&mut Value)) {
    if by_rest {
        let mut body = actor_deployment(name, NAMESPACE, version);
        change(&mut body);
        stage.deploy_body(&body).await;
    } else {
        let mut object = actor(name, NAMESPACE, version);
        change(&mut object["spec"]);
        apply(&object).await.unwrap();
    }
}

/// The object's conditions and the REST API name what is wrong, and the function still counts a ready replica.
async fn says_why(stage: &Stage, name: &str, text: &str) {
    let text = if text.is_empty() { "crash" } else { text };
    let says = |said: &str| said.to_lowercase().contains(text);
    seen(&format!("the conditions of {name} say {text:?}"), || async {
        let object = functions::find(name, NAMESPACE).await?;
        let told = object["status"].to_string();
        let is_ready = condition(&object, "Ready").is_some_and(|[status, ..]| status == "True")
            && condition(&object, "Reconciling").is_none();
        if says(&told) && !is_ready { Ok(()) } else { Err(told) }
    })
    .await;
    seen(&format!("the REST API says {text:?} of {name}"), || async {
        let mut status = stage.status(name, NAMESPACE).await?;
        // What was deployed names the image too.
        status["image"].take();
        status["envVars"].take();
        let is_serving = status["availableReplicas"].as_u64() >= Some(1);
        if says(&status.to_string()) && is_serving { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
}

async fn answers(stage: &Stage, name: &str, version: usize) {
    e2e::within(Duration::from_secs(60), &format!("{name} answers with version {version}"), || async {
        let said = stage.http.post(&url(stage, name), "").await?.text();
        if said == answer(version) { Ok(()) } else { Err(said) }
    })
    .await;
}

fn says_whole_versions(heard: &Heard) {
    let whole = [answer(1), answer(2)];
    assert!(heard.answers.keys().all(|said| whole.contains(said)), "{heard:?}");
}

fn url(stage: &Stage, name: &str) -> String {
    stage.url(&format!("/function/{name}.{NAMESPACE}"))
}
