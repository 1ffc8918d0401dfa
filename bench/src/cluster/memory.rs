//! Memory of the platform's pods when nothing happens: the containers' working set, as the node's agent tells it and
//! evicts by, and the processes' proportional share.

use super::stage::Stage;
use crate::process::memory_kib;
use crate::table::Table;
use anyhow::Error;
use e2e::cluster::installed::PLATFORM;
use e2e::cluster::kubectl::{kubectl, list};
use e2e::cluster::pods::{name, processes};
use serde_json::Value;
use std::time::Duration;

/// After a start or after work, until all is quiet and the agent has looked again.
const SETTLES: Duration = Duration::from_secs(30);
/// What OpenFaaS' chart requests for its gateway, its provider and its queue worker, each.
const THEIRS_MIB: u32 = 120;

pub(super) fn measure(stage: &Stage, when: &str, table: &mut Table) -> anyhow::Result<()> {
    stage.rest(SETTLES);
    let what = format!("memory, idle, {when}");
    let pods = stage.wait(list(&["pods", "-n", PLATFORM])).map_err(Error::msg)?;
    let (mut all_set, mut all_share, mut all_own, mut is_whole) = (0.0, 0.0, 0.0, true);
    for pod in &pods {
        let part = pod["spec"]["containers"][0]["name"].as_str().unwrap_or_default();
        let set = stage.wait(working_set(pod)).map_err(Error::msg)?;
        let [share, own] = [mebibytes(pod, "Pss")?, mebibytes(pod, "Pss_Anon")?];
        table.row(&what, part, figure(set, share, own), "");
        is_whole &= set.is_some();
        all_set += set.unwrap_or_default();
        all_share += share;
        all_own += own;
    }
    let aim = format!("≤ 40 MB PSS; OpenFaaS' chart requests {THEIRS_MIB} MiB for each of three");
    table.row(&what, "together", figure(is_whole.then_some(all_set), all_share, all_own), &aim);
    Ok(())
}

fn figure(working_set: Option<f64>, share: f64, own: f64) -> String {
    let set = working_set.map_or_else(|| "unknown".to_owned(), |set| format!("{set:.1} MiB"));
    format!("{share:.1} MiB PSS, {own:.1} without pages of files; {set} working set")
}

/// A figure of a pod's processes.
fn mebibytes(pod: &Value, name: &str) -> anyhow::Result<f64> {
    let kib = processes(pod).into_iter().map(|pid| memory_kib(pid, name)).sum::<anyhow::Result<u64>>()?;
    Ok(kib as f64 / 1024.0)
}

/// The working set of a pod's containers, in MiB; `None` while the agent does not know.
async fn working_set(pod: &Value) -> Result<Option<f64>, String> {
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    let summary = kubectl(&["get", "--raw", &format!("/api/v1/nodes/{node}/proxy/stats/summary")]).await?;
    let summary: Value = serde_json::from_str(&summary).map_err(|error| error.to_string())?;
    let its = |told: &&Value| told["podRef"]["name"] == name(pod) && told["podRef"]["namespace"] == PLATFORM;
    let told = summary["pods"].as_array().and_then(|pods| pods.iter().find(its));
    let containers = told.and_then(|told| told["containers"].as_array()).map(Vec::as_slice).unwrap_or_default();
    let bytes = containers.iter().map(|container| container["memory"]["workingSetBytes"].as_f64());
    Ok(bytes.sum::<Option<f64>>().filter(|bytes| *bytes > 0.0).map(|bytes| bytes / f64::from(1 << 20)))
}
