//! Things that end suddenly while orders come in: nothing acknowledged is lost, no order is half-done.

use crate::machines::Machines;
use crate::stage::{Stage, sells, uuid};
use e2e::callers::Callers;
use e2e::cluster::functions::{actor, actor_deployment, is_ready, namespace};
use e2e::cluster::installed::{PLATFORM, await_ready};
use e2e::cluster::kubectl::{apply, delete_namespaces, kubectl, seen_within};
use e2e::cluster::pods::{are_back, crash, kill, pods};
use e2e::cluster::{part, reboot};
use e2e::load::{Placed, Tills};
use e2e::report;
use e2e::shop::plenty;
use std::time::{Duration, Instant};

const NAMESPACE: &str = "e2e-faults";
/// Every second till places its orders through the queue.
const TILLS: usize = 4;
/// How long the node's agent is away.
const KUBELET_AWAY: Duration = Duration::from_secs(60);
/// For so long at least a node that is not heard of counts as ready: Kubernetes waits for 40 s.
const COUNTS_AS_READY: Duration = Duration::from_secs(30);
/// How long the API server is away.
const API_AWAY: Duration = Duration::from_secs(120);
/// How long a change may take to be refused then.
const REFUSED: Duration = Duration::from_secs(30);
/// How long a node takes to have all back.
const REBOOT: Duration = Duration::from_secs(180);
/// The pods of the platform, by what the chart calls them.
const PARTS: [&str; 4] = ["gateway", "operator", "mqtt-broker", "cron-connector"];
const SHOP: [&str; 3] = ["order", "payment", "inventory"];

fn part_of(name: &str) -> String {
    format!("app.kubernetes.io/component={name}")
}

fn function(name: &str) -> String {
    format!("faas_function={name}")
}

pub(crate) async fn killed_pods_lose_nothing_acknowledged(stage: &Stage) {
    let branch = stage.rest().await;
    let before = plenty(branch).await;
    let tills = Tills::open(branch, &uuid(), TILLS, |till| till % 2 == 0);
    let machines = Machines::order(stage, branch);
    for name in PARTS {
        end(PLATFORM, &part_of(name)).await;
    }
    for name in SHOP.iter().chain(&["fridge-temp"]) {
        end(&branch.namespace, &function(name)).await;
    }
    await_ready().await;
    let mut placed = Placed::default();
    machines.stop(&mut placed).await;
    tills.close(&mut placed).await;
    assert!(placed.acknowledged.len() > 20, "{}", placed.acknowledged.len());
    let ended = placed.is_accounted_for(branch, before).await;
    report(format_args!("pods killed: {} orders acknowledged, {ended:?}", placed.acknowledged.len()));
}

/// Ends a pod once as a crash does and once as a lost node does.
async fn end(namespace: &str, selector: &str) {
    let before = pods(namespace, selector).await.unwrap();
    assert!(!before.is_empty(), "no pods of {selector} in {namespace}");
    if crash(&before[0]) > 0 {
        are_back(namespace, selector, &[], before.len()).await;
    }
    kill(namespace, selector).await;
    are_back(namespace, selector, &before, before.len()).await;
}

pub(crate) async fn calls_go_on_while_the_nodes_agent_is_away(stage: &Stage) {
    let branch = stage.rest().await;
    let before = plenty(branch).await;
    let open = || Tills::open(branch, &uuid(), 2, |till| till % 2 == 0);
    let tills = open();
    part("stop", "kubelet").await;
    let begun = Instant::now();
    tokio::time::sleep(COUNTS_AS_READY).await;
    let mut placed = Placed::default();
    tills.close(&mut placed).await;
    assert!(placed.others.is_empty(), "{} orders were refused: {:?}", placed.others.len(), placed.refusals);
    // Later Kubernetes takes the node for lost and its pods out of all Services, the gateway's too, though they run: who
    // comes then may be refused, and loses nothing.
    let tills = open();
    tokio::time::sleep(KUBELET_AWAY.saturating_sub(begun.elapsed())).await;
    part("start", "kubelet").await;
    let away = begun.elapsed();
    placed.others.extend(sells(branch, REBOOT).await);
    let back = begun.elapsed() - away;
    tills.close(&mut placed).await;
    await_ready().await;
    let ended = placed.is_accounted_for(branch, before).await;
    report(format_args!(
        "kubelet away for {away:?}, an order went through {back:?} later: {} orders acknowledged, {} refused, {ended:?}",
        placed.acknowledged.len(),
        placed.others.len()
    ));
}

pub(crate) async fn calls_go_on_while_the_api_server_is_away(stage: &Stage) {
    let branch = stage.rest().await;
    apply(&namespace(NAMESPACE)).await.unwrap();
    apply(&actor("steady", NAMESPACE, 1)).await.unwrap();
    is_ready("steady", NAMESPACE).await;
    stage.has_replicas("steady", NAMESPACE, 1).await;
    let before = plenty(branch).await;
    let tills = Tills::open(branch, &uuid(), 2, |till| till % 2 == 0);
    let callers = Callers::call(&stage.url(&format!("/function/steady.{NAMESPACE}")), 1);
    let machines = Machines::order(stage, branch);
    part("stop", "kube-apiserver").await;
    // Whoever wants to change something is told why it cannot be, and soon.
    let refused = async {
        tokio::time::sleep(API_AWAY / 2).await;
        let asked = Instant::now();
        let answer = stage.system("PUT", "/system/functions", &actor_deployment("steady", NAMESPACE, 2)).await;
        let took = asked.elapsed();
        assert!(answer.status >= 500 && took < REFUSED, "after {took:?}: {} {}", answer.status, answer.text());
        took
    };
    let ((), refused) = tokio::join!(tokio::time::sleep(API_AWAY), refused);
    part("start", "kube-apiserver").await;
    let begun = Instant::now();
    // K3s has them in one process with the API server. Left alone they look for it every half minute only.
    for name in ["kube-proxy", "kube-controller-manager", "kube-scheduler"] {
        part("stop", name).await;
        part("start", name).await;
    }
    let heard = callers.stop().await;
    heard.without_failure("calls while the API server was away");
    let mut placed = Placed::default();
    machines.stop(&mut placed).await;
    tills.close(&mut placed).await;
    assert!(placed.others.is_empty(), "{} orders were refused meanwhile: {:?}", placed.others.len(), placed.refusals);
    seen_within(REBOOT, "the API server answers", || kubectl(&["get", "nodes"])).await;
    await_ready().await;
    let ready = begun.elapsed();
    let ended = placed.is_accounted_for(branch, before).await;
    report(format_args!("a change was refused in {refused:?}, the platform was ready {ready:?} after the API server"));
    report(format_args!(
        "API server away for {API_AWAY:?}: {} calls and {} orders, none failed, {ended:?}",
        heard.good(),
        placed.acknowledged.len()
    ));
    // And what is changed after it happens.
    apply(&actor("steady", NAMESPACE, 2)).await.unwrap();
    is_ready("steady", NAMESPACE).await;
    report(format_args!("a change was done {:?} after the API server was back", begun.elapsed()));
    delete_namespaces(&[NAMESPACE]).await;
}

pub(crate) async fn a_node_that_goes_down_comes_back_with_all_it_had(stage: &Stage) {
    let shops = [stage.rest().await, stage.kubectl().await];
    let mut open = Vec::new();
    for branch in shops {
        let before = plenty(branch).await;
        let tills = Tills::open(branch, &uuid(), 2, |till| till % 2 == 0);
        open.push((branch, before, tills, Machines::order(stage, branch)));
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let begun = Instant::now();
    reboot().await;
    let up = begun.elapsed();
    // Nobody helps: an order goes through when it can.
    for (branch, before, tills, machines) in open {
        let tried = sells(branch, REBOOT).await;
        report(format_args!("the node was up after {up:?}, {} sold after {:?}", branch.namespace, begun.elapsed()));
        let mut placed = Placed { others: tried, ..Placed::default() };
        machines.stop(&mut placed).await;
        tills.close(&mut placed).await;
        let ended = placed.is_accounted_for(branch, before).await;
        report(format_args!("{} orders acknowledged, {ended:?}", placed.acknowledged.len()));
    }
    await_ready().await;
}
