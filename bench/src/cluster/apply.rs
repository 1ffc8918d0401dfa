//! From `kubectl apply` to the first answer: a Function, by the gateway, and a Deployment with the same pod and a Service
//! of its own, by that. They take turns.

use super::stage::{Stage, measured};
use super::{FUNCTION, NAMESPACE};
use crate::control::BODY;
use crate::http::Client;
use crate::process::wait_for;
use crate::table::{Table, percentiles};
use anyhow::Context;
use e2e::cluster::functions::list_of;
use e2e::cluster::kubectl::delete;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
/// A packet to an address that leads nowhere yet is lost, or ends where nobody answers: it is sent anew.
const ANSWERS: Duration = Duration::from_millis(100);

pub(super) fn measure(stage: &Stage, times: usize, table: &mut Table) -> anyhow::Result<()> {
    let theirs = stage.find("deployment", FUNCTION)?;
    let (mut functions, mut plain) = (Vec::new(), Vec::new());
    for number in 0..times {
        let name = format!("applied-{number}");
        functions.push(apply_function(stage, &name)?);
        stage.wait(delete(&["functions.openfaas.com", &name, "-n", NAMESPACE]));
        let name = format!("plain-{number}");
        plain.push(apply_plain(stage, &name, &theirs)?);
        stage.wait(delete(&["deployment,service", &name, "-n", NAMESPACE]));
    }
    let what = "kubectl apply → first answer";
    table.row(what, "Deployment and Service, same pod", percentiles(plain), "");
    table.row(what, "Function", percentiles(functions), "");
    Ok(())
}

fn apply_function(stage: &Stage, name: &str) -> anyhow::Result<Duration> {
    let mut client = Client::new(&stage.gateway);
    let path = format!("/function/{name}.{NAMESPACE}");
    let begun = Instant::now();
    stage.begin_to_apply(measured(name, None));
    wait_for(name, PATIENCE, || is_answered(&mut client, &path).then(|| begun.elapsed()))
}

fn apply_plain(stage: &Stage, name: &str, theirs: &Value) -> anyhow::Result<Duration> {
    let objects = plain(name, theirs);
    let begun = Instant::now();
    stage.apply(&objects)?;
    // Known long before the pod runs.
    let service = stage.find("service", name)?;
    let address = service["spec"]["clusterIP"].as_str().context("the Service has no address")?;
    // A connection that was made too early ends elsewhere, and stays there.
    let client = || Client::new(&format!("{address}:8080")).with_patience(ANSWERS);
    wait_for(name, PATIENCE, || is_answered(&mut client(), "/").then(|| begun.elapsed()))
}

fn is_answered(client: &mut Client, path: &str) -> bool {
    client.call("POST", path, BODY).is_ok_and(|answer| answer.status == 200)
}

/// What the operator has made of a Function, without it.
fn plain(name: &str, theirs: &Value) -> Value {
    let metadata = json!({"name": name, "namespace": NAMESPACE});
    let mut template = theirs["spec"]["template"].clone();
    template["metadata"] = json!({"labels": {"app": name}});
    let deployment = json!({"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template});
    let service = json!({"selector": {"app": name}, "ports": [{"port": 8080}]});
    list_of([
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": deployment}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service}),
    ])
}
