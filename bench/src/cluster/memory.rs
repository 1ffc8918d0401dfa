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
use std::fmt;
use std::ops::Add;
use std::time::Duration;

/// After a start or after work, until all is quiet and the agent has looked again.
const SETTLES: Duration = Duration::from_secs(30);
/// What OpenFaaS' chart requests for its gateway, its provider and its queue worker, each.
const THEIRS_MIB: u32 = 120;

/// The part that only an external broker needs: the chart leaves it out, and its own broker in its place.
const FOR_ANOTHER_BROKER: &str = "mqtt-connector";

/// In MiB.
#[derive(Clone, Copy, Default)]
struct Memory {
    share: f64,
    /// Of that what is no page of a file.
    own: f64,
    working_set: f64,
}

pub(super) fn measure(stage: &Stage, when: &str, table: &mut Table) -> anyhow::Result<()> {
    stage.rest(SETTLES);
    let what = format!("memory, idle, {when}");
    let pods = stage.wait(list(&["pods", "-n", PLATFORM])).map_err(Error::msg)?;
    let (mut all, mut usual) = (Memory::default(), Memory::default());
    for pod in &pods {
        let part = pod["spec"]["containers"][0]["name"].as_str().unwrap_or_default();
        let working_set = stage.wait(working_set(pod)).map_err(Error::msg)?;
        let memory = Memory { share: mebibytes(pod, "Pss")?, own: mebibytes(pod, "Pss_Anon")?, working_set };
        table.row(&what, part, memory, "");
        all = all + memory;
        if part != FOR_ANOTHER_BROKER {
            usual = usual + memory;
        }
    }
    let aim = format!("≤ 40 MB PSS; OpenFaaS' chart requests {THEIRS_MIB} MiB for each of three");
    table.row(&what, "together, as the chart comes", usual, &aim);
    table.row(&what, &format!("together, and {FOR_ANOTHER_BROKER}"), all, "");
    Ok(())
}

impl Add for Memory {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let (share, own) = (self.share + other.share, self.own + other.own);
        Self { share, own, working_set: self.working_set + other.working_set }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { share, own, working_set } = self;
        write!(formatter, "{share:.1} MiB PSS, {own:.1} without pages of files; {working_set:.1} MiB working set")
    }
}

/// A figure of a pod's processes.
fn mebibytes(pod: &Value, name: &str) -> anyhow::Result<f64> {
    let kib = processes(pod).into_iter().map(|pid| memory_kib(pid, name)).sum::<anyhow::Result<u64>>()?;
    Ok(kib as f64 / 1024.0)
}

/// The working set of a pod's containers.
async fn working_set(pod: &Value) -> Result<f64, String> {
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    let summary = kubectl(&["get", "--raw", &format!("/api/v1/nodes/{node}/proxy/stats/summary")]).await?;
    let summary: Value = serde_json::from_str(&summary).map_err(|error| error.to_string())?;
    let its = |told: &&Value| told["podRef"]["name"] == name(pod) && told["podRef"]["namespace"] == PLATFORM;
    let told = summary["pods"].as_array().and_then(|pods| pods.iter().find(its));
    let containers = told.and_then(|told| told["containers"].as_array()).map(Vec::as_slice).unwrap_or_default();
    let bytes = containers.iter().map(|container| container["memory"]["workingSetBytes"].as_f64());
    let bytes = bytes.sum::<Option<f64>>().filter(|bytes| *bytes > 0.0);
    let bytes = bytes.ok_or_else(|| format!("the agent of {node} does not know the memory of {}", name(pod)))?;
    Ok(bytes / f64::from(1 << 20))
}
