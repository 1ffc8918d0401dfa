//! Two operators and two gateways: one leads, and nothing is done twice.

use crate::machines::Machines;
use crate::stage::{Stage, uuid};
use e2e::cluster::functions::{actor, answer, is_ready, namespace};
use e2e::cluster::installed::{PLATFORM, await_ready, upgrade, values};
use e2e::cluster::kubectl::{apply, delete_namespaces, get, kubectl, list, seen};
use e2e::cluster::pods::{are_back, crash, kill, name, pods};
use e2e::load::{Placed, Tills};
use e2e::report;
use e2e::shop::plenty;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const NAMESPACE: &str = "e2e-pairs";
const OPERATORS: &str = "app.kubernetes.io/component=operator";
const GATEWAYS: &str = "app.kubernetes.io/component=gateway";
/// The lead is a Lease of 10 s.
const MOVES: Duration = Duration::from_secs(15);

pub(crate) async fn the_lead_moves_when_the_leader_is_killed(stage: &Stage) {
    apply(&namespace(NAMESPACE)).await.unwrap();
    operators(2).await;
    apply(&actor("led", NAMESPACE, 1)).await.unwrap();
    is_ready("led", NAMESPACE).await;
    // Neither undoes what the other has done.
    let before = get(&["deployment", "led", "-n", NAMESPACE]).await.unwrap();
    let leader = holder().await.unwrap();
    let killed = pods(PLATFORM, OPERATORS).await.unwrap();
    let victim = killed.iter().find(|pod| leader.contains(name(pod))).unwrap_or_else(|| panic!("{leader} leads"));
    let begun = Instant::now();
    // Gone without a word, as with its node.
    let _crashed = crash(victim);
    kubectl(&["delete", "pod", name(victim), "-n", PLATFORM, "--grace-period=0", "--force"]).await.unwrap();
    let new = seen("the lead moves", || async {
        let new = holder().await?;
        if new == leader { Err(new) } else { Ok(new) }
    })
    .await;
    let moved = begun.elapsed();
    report(format_args!("the lead moved from {leader} to {new} in {moved:?}"));
    assert!(moved < MOVES, "{moved:?}");
    // The new leader acts.
    apply(&actor("led", NAMESPACE, 2)).await.unwrap();
    is_ready("led", NAMESPACE).await;
    e2e::eventually("the new version answers", || async {
        let said = stage.http.post(&stage.url(&format!("/function/led.{NAMESPACE}")), "").await?.text();
        if said == answer(2) { Ok(()) } else { Err(said) }
    })
    .await;
    let after = get(&["deployment", "led", "-n", NAMESPACE]).await.unwrap();
    let generations = [&before, &after].map(|deployment| deployment["metadata"]["generation"].as_u64().unwrap());
    assert_eq!(generations[1], generations[0] + 1, "one change is one write: {after}");
    operators(1).await;
    delete_namespaces(&[NAMESPACE]).await;
}

/// Who leads.
async fn holder() -> Result<String, String> {
    let leases = list(&["leases", "-n", PLATFORM]).await?;
    let holders =
        leases.iter().filter(|lease| lease["metadata"]["name"].as_str().is_some_and(|name| name.contains("operator")));
    let holder = holders.filter_map(|lease| lease["spec"]["holderIdentity"].as_str()).find(|holder| !holder.is_empty());
    holder.map(str::to_owned).ok_or_else(|| Value::from(leases).to_string())
}

pub(crate) async fn two_gateways_do_nothing_twice(stage: &Stage) {
    let branch = stage.rest().await;
    let before = plenty(branch).await;
    gateways(2).await;
    let tills = Tills::open(branch, &uuid(), 4, |till| till % 2 == 0);
    let machines = Machines::order(stage, branch);
    let mut accepted = Vec::new();
    let mut placed = Placed::default();
    for pod in pods(PLATFORM, GATEWAYS).await.unwrap() {
        let address = pod["status"]["podIP"].as_str().unwrap();
        let id = uuid();
        let url = format!("http://{address}:8080/async-function/order.{}", branch.namespace);
        let answer = stage.http.post(&url, e2e::shop::espresso(&id).to_string()).await.unwrap();
        assert_eq!(answer.status, 202, "{}", answer.text());
        accepted.push(answer.header("x-call-id").unwrap().to_owned());
        placed.acknowledged.push(id);
    }
    // Whoever is asked knows what the other has accepted.
    for id in &accepted {
        for _ in 0..4 {
            e2e::eventually("every gateway knows every call", || async {
                let told = stage.try_system("GET", &format!("/system/calls/{id}"), &Value::Null).await?;
                let is_done = told.status == 200 && told.json()["state"] == "done";
                if is_done { Ok(()) } else { Err(told.text()) }
            })
            .await;
        }
    }
    // One of them goes: what is in its queue is done when it is back.
    let killed = pods(PLATFORM, GATEWAYS).await.unwrap();
    kill(PLATFORM, &format!("statefulset.kubernetes.io/pod-name={}", name(&killed[1]))).await;
    are_back(PLATFORM, GATEWAYS, &killed[1..], 2).await;
    machines.stop(&mut placed).await;
    tills.close(&mut placed).await;
    let ended = placed.is_accounted_for(branch, before).await;
    report(format_args!("two gateways: {} orders acknowledged, {ended:?}", placed.acknowledged.len()));
    // Both see what either changes.
    let body = json!({"name": "of-two", "namespace": branch.namespace, "value": "1"});
    stage.done("POST", "/system/secrets", &body).await;
    for _ in 0..4 {
        let told = stage.done("GET", "/system/secrets", &Value::Null).await.text();
        assert!(told.contains("of-two"), "{told}");
    }
    stage.done("DELETE", "/system/secrets", &body).await;
    gateways(1).await;
}

/// Scales the operators by hand.
async fn operators(count: usize) {
    let replicas = format!("--replicas={count}");
    kubectl(&["scale", "deployment", "-n", PLATFORM, "-l", OPERATORS, &replicas]).await.unwrap();
    are_there(OPERATORS, count).await;
}

/// Installs the chart with so many gateways: that is how each is told of the others.
async fn gateways(count: usize) {
    let mut values = values();
    values["gateway"]["replicas"] = json!(count);
    upgrade(&values).await.unwrap();
    are_there(GATEWAYS, count).await;
}

async fn are_there(selector: &str, count: usize) {
    await_ready().await;
    seen(&format!("there are {count} of {selector}"), || async {
        let now = pods(PLATFORM, selector).await?;
        if now.len() == count { Ok(()) } else { Err(Value::from(now).to_string()) }
    })
    .await;
}
