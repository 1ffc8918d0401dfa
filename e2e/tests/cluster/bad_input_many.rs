//! Many Functions at once.

use crate::stage::Stage;
use e2e::cluster::api_calls::Counted;
use e2e::cluster::functions::{actor, condition, is_ready, list_of, namespace};
use e2e::cluster::installed::PLATFORM;
use e2e::cluster::kubectl::{apply, create, delete, list, seen_within};
use e2e::report;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const NAMESPACE: &str = "e2e-many";
const MANY: usize = 500;
const AT_A_TIME: usize = 5;
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
    // One kubectl sends one request at a time.
    let parts = functions.chunks(MANY / AT_A_TIME).map(|part| list_of(part.to_vec()));
    let created = parts.map(|part| tokio::spawn(async move { create(&part).await.unwrap() }));
    for part in created.collect::<Vec<_>>() {
        part.await.unwrap();
    }
    let applied = begun.elapsed();
    seen_within(READY, "all are Ready", || async {
        let functions = list(&["functions.openfaas.com", "-n", NAMESPACE]).await?;
        let is_ready = |function: &&Value| condition(function, "Ready").is_some_and(|[status, ..]| status == "True");
        let ready = functions.iter().filter(is_ready).count();
        if ready == MANY { Ok(()) } else { Err(format!("{ready} of {MANY}")) }
    })
    .await;
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
