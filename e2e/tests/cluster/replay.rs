//! The recorded requests of faas-cli, sent to the cluster's gateway: the status of each answer steers the CLI as it was
//! steered, and what comes as JSON is what the CLI can read. What is in the answers the in-process replay compares.

use crate::judge::{OURS, judge_status, left_out};
use crate::raw::exchange;
use crate::recording::{Exchange, accepted, json, runs};
use crate::stage::Stage;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use e2e::cluster::branch::SECRET;
use e2e::cluster::installed::FUNCTIONS;
use e2e::cluster::kubectl::delete_namespaces;
use e2e::report;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use wire::function::FunctionStatus;
use wire::log::LogLine;
use wire::namespace::Namespace;
use wire::secret::Secret;

/// The second namespace of the recordings.
const STAGING: &str = "staging-fn";
/// Fewer than this mean that recordings were lost.
const FLOOR: usize = 270;

/// What the recordings expect to be there.
#[derive(Deserialize)]
struct World {
    credentials: Login,
    functions: Vec<FunctionStatus>,
    secrets_in_each_namespace: Vec<String>,
}

#[derive(Deserialize)]
struct Login {
    user: String,
    password: String,
}

pub(crate) async fn recorded_requests_of_faas_cli_are_answered_as_it_needs_them(stage: &Stage) {
    let world: World = json("world.json");
    let codes = accepted();
    let others = functions(stage, FUNCTIONS).await;
    let namespaces = namespaces(stage).await;
    let told = authorization(&world.credentials.user, &world.credentials.password);
    let ours = authorization("admin", stage.password());
    let (mut replayed, mut wrong, mut is_touched) = (0, Vec::new(), true);
    for mut run in runs() {
        // Authentication is on, and stays so.
        if run.auth_off || run.exchanges.iter().all(|exchange| left_out(&run, exchange).is_some()) {
            continue;
        }
        if is_touched {
            world.restore(stage, &others, &namespaces).await;
        }
        let skipped: Vec<bool> = run.exchanges.iter().map(|exchange| left_out(&run, exchange).is_some()).collect();
        is_touched = false;
        for (exchange, _) in run.exchanges.iter_mut().zip(skipped).filter(|(_, is_skipped)| !is_skipped) {
            for (_, value) in exchange.request.headers.iter_mut().filter(|(_, value)| *value == told) {
                value.clone_from(&ours);
            }
            replayed += 1;
            is_touched |= changes(&exchange.request.method, &exchange.request.path);
            if let Err(why) = replay(stage, &run.case, exchange, &codes).await {
                let request = &exchange.request;
                wrong.push(format!("{}: {} {}: {why}", run.case, request.method, request.path));
            }
        }
    }
    world.restore(stage, &others, &namespaces).await;
    for function in &world.functions {
        remove(stage, &function.name, &function.namespace).await;
    }
    delete_namespaces(&[STAGING]).await;
    report(format_args!("replayed {replayed} recorded exchanges of faas-cli"));
    assert!(wrong.is_empty(), "{} of {replayed}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(replayed >= FLOOR, "only {replayed} exchanges were replayed");
}

impl World {
    /// Puts right what the last run has changed.
    async fn restore(&self, stage: &Stage, others: &BTreeSet<String>, known: &BTreeSet<String>) {
        let staging = BTreeSet::from([STAGING.to_owned()]);
        let there = namespaces(stage).await;
        for new in there.difference(&(known | &staging)) {
            delete_namespaces(&[new]).await;
        }
        if !there.contains(STAGING) {
            let marks = json!({"openfaas": "1"});
            let body = json!({"name": STAGING, "labels": marks, "annotations": marks});
            stage.done("POST", "/system/namespace/", &body).await;
        }
        for (namespace, others) in [(FUNCTIONS, others.clone()), (STAGING, BTreeSet::new())] {
            let wanted = || self.functions.iter().filter(|function| function.namespace == namespace);
            let expected: BTreeSet<String> = wanted().map(|function| function.name.clone()).collect();
            let there = functions(stage, namespace).await;
            for name in there.difference(&(&expected | &others)) {
                remove(stage, name, namespace).await;
            }
            self.restore_secrets(stage, namespace).await;
            for function in wanted().filter(|function| !there.contains(&function.name)) {
                self.deploy(stage, function).await;
            }
        }
    }

    async fn restore_secrets(&self, stage: &Stage, namespace: &str) {
        let list = stage.done("GET", &format!("/system/secrets?namespace={namespace}"), &Value::Null).await.json();
        let there: BTreeSet<&str> =
            list.as_array().unwrap().iter().filter_map(|secret| secret["name"].as_str()).collect();
        for name in self.secrets_in_each_namespace.iter().filter(|name| !there.contains(name.as_str())) {
            let body = json!({"name": name, "namespace": namespace, "value": "recorded"});
            stage.done("POST", "/system/secrets", &body).await;
        }
        let is_ours = |name: &str| self.secrets_in_each_namespace.iter().any(|ours| ours == name) || name == SECRET;
        for made in there.into_iter().filter(|name| !is_ours(name)) {
            stage.done("DELETE", "/system/secrets", &json!({"name": made, "namespace": namespace})).await;
        }
    }

    async fn deploy(&self, stage: &Stage, function: &FunctionStatus) {
        let mut body = serde_json::to_value(function).unwrap();
        // A node of the recordings, and a program of theirs.
        for key in ["constraints", "envProcess", "replicas", "availableReplicas", "invocationCount", "createdAt"] {
            body.as_object_mut().unwrap().remove(key);
        }
        body["service"] = json!(function.name);
        stage.deploy_body(&body).await;
        // Whoever calls it waits for it.
        if function.replicas == 0 {
            let scale = json!({"serviceName": function.name, "namespace": function.namespace, "replicas": 0});
            stage.done("POST", &format!("/system/scale-function/{}", function.name), &scale).await;
        }
    }
}

/// Whether a request leaves another world.
fn changes(method: &str, path: &str) -> bool {
    method != "GET" && path.starts_with("/system/")
}

fn authorization(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

async fn functions(stage: &Stage, namespace: &str) -> BTreeSet<String> {
    let list = stage.done("GET", &format!("/system/functions?namespace={namespace}"), &Value::Null).await.json();
    list.as_array().unwrap().iter().filter_map(|function| function["name"].as_str().map(str::to_owned)).collect()
}

async fn namespaces(stage: &Stage) -> BTreeSet<String> {
    let list = stage.done("GET", "/system/namespaces", &Value::Null).await.json();
    list.as_array().unwrap().iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

async fn remove(stage: &Stage, name: &str, namespace: &str) {
    let body = json!({"functionName": name, "namespace": namespace});
    let answer = stage.system("DELETE", "/system/functions", &body).await;
    assert!(matches!(answer.status, 200..300 | 404), "{} {}", answer.status, answer.text());
}

async fn replay(
    stage: &Stage,
    case: &str,
    recorded: &Exchange,
    codes: &BTreeMap<String, Vec<u16>>,
) -> Result<(), String> {
    let (request, told) = (&recorded.request, recorded.response.as_ref().unwrap());
    // Log lines are others than the recorder's, and may be followed for ever.
    let is_log = request.path == "/system/logs";
    let answer = exchange(stage.address(), &request.bytes(stage.address()), |_| is_log).await;
    let asked = format!("{} {}", request.method, request.path);
    if let Some((.., status, _)) = OURS.iter().find(|(ours, what, ..)| *ours == case && *what == asked) {
        return if answer.status == *status { Ok(()) } else { Err(format!("expected our {status}: {answer:?}")) };
    }
    judge_status(&asked, told.status, &answer, codes)?;
    if answer.status != 200 || request.method != "GET" {
        return Ok(());
    }
    let text = answer.text();
    match request.path.as_str() {
        "/system/functions" => decode::<Vec<FunctionStatus>>(&text),
        "/system/secrets" => decode::<Vec<Secret>>(&text),
        "/system/namespaces" => decode::<Vec<String>>(&text),
        "/system/logs" => text.lines().try_for_each(decode::<LogLine>),
        path if path.starts_with("/system/function/") => decode::<FunctionStatus>(&text),
        path if path.starts_with("/system/namespace/") => decode::<Namespace>(&text),
        _ => Ok(()),
    }
}

fn decode<T: DeserializeOwned>(text: &str) -> Result<(), String> {
    serde_json::from_str::<T>(text).map(drop).map_err(|error| format!("{error} in {text}"))
}
