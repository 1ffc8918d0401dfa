//! Many Functions at once.

use crate::stage::Stage;
use e2e::cluster::api_calls::Counted;
use e2e::cluster::functions::{actor, are_ready, create_many, is_ready, namespace};
use e2e::cluster::installed::PLATFORM;
use e2e::cluster::kubectl::{apply, delete};
use e2e::report;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const NAMESPACE: &str = "e2e-many";
const MANY: usize = 500;
/// How long so many may take together: Kubernetes' own controllers make 20 requests a second, some of each Deployment.
const READY: Duration = Duration::from_secs(240);
/// What making one may cost the API server: a Deployment, a Service, two statuses, and as much again.
const CALLS_EACH: u64 = 10;

pub(crate) async fn five_hundred_functions_at_once_are_all_ready(stage: &Stage) {
    apply(&namespace(NAMESPACE)).await.unwrap();
    let operator = Counted::begin(PLATFORM, "crema-operator").await;
    let before = operator.so_far().await.unwrap();
    let functions: Vec<Value> = (0..MANY)
        .map(|number| {
            let mut object = actor(&format!("f{number}"), NAMESPACE, 1);
            object["spec"]["replicas"] = json!(0);
            object
        })
        .collect();
    let begun = Instant::now();
    create_many(&functions).await;
    let applied = begun.elapsed();
    are_ready(NAMESPACE, MANY, READY).await;
    let ready = begun.elapsed();
    let calls = operator.so_far().await.unwrap() - before;
    report(format_args!("{MANY} functions created in {applied:?}, all Ready after {ready:?}, {calls} API calls"));
    assert!(calls <= CALLS_EACH * MANY as u64, "{calls} calls for {MANY} functions");
    let listed = stage.done("GET", &format!("/system/functions?namespace={NAMESPACE}"), &Value::Null).await.json();
    assert_eq!(listed.as_array().unwrap().len(), MANY);
    // One of them is called, and starts.
    let woken = stage.http.post(&stage.url(&format!("/function/f77.{NAMESPACE}")), "").await.unwrap();
    assert_eq!(woken.status, 200, "{}", woken.text());
    is_ready("f77", NAMESPACE).await;
    operator.forget().await;
    // It takes a while, and nobody waits for it.
    delete(&["namespace", NAMESPACE]).await;
}
