//! Many Functions at zero: what the API server is asked when nothing changes, by whom, and what the platform keeps.

use super::stage::{Stage, measured};
use super::{NAMESPACE, memory};
use crate::table::Table;
use anyhow::Error;
use e2e::cluster::api_calls::{Counted, of_all};
use e2e::cluster::functions::{are_ready, create_many};
use e2e::cluster::installed::PLATFORM;
use e2e::cluster::kubectl::delete;
use serde_json::Value;
use std::time::{Duration, Instant};

/// How long all of them may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// The parts that have something to ask.
const ACCOUNTS: [&str; 2] = ["crema-gateway", "crema-operator"];

pub(super) fn measure(stage: &Stage, count: usize, minutes: u32, table: &mut Table) -> anyhow::Result<()> {
    let what = format!("{count} Functions at zero");
    let functions: Vec<Value> = (0..count).map(|number| measured(&format!("many-{number}"), Some(0))).collect();
    let counted = ACCOUNTS.map(|account| stage.wait(Counted::begin(PLATFORM, account)));
    let begun = Instant::now();
    stage.wait(create_many(&functions));
    // And the one that runs.
    stage.wait(are_ready(NAMESPACE, count + 1, PATIENCE));
    table.row(&what, "created and all Ready", format!("{:.1} s", begun.elapsed().as_secs_f64()), "");
    memory::measure(stage, &format!("{count} functions"), table)?;
    let before = calls(stage, &counted)?;
    stage.rest(Duration::from_secs(60) * minutes);
    let after = calls(stage, &counted)?;
    let who = ACCOUNTS.iter().copied().chain(["everyone: the cluster itself too"]);
    for ((who, before), after) in who.zip(before).zip(after) {
        let each = (after - before) as f64 / f64::from(minutes);
        table.row(&format!("{what}, API calls in steady state"), who, format!("{each:.1} a minute"), "");
    }
    for counted in counted {
        stage.wait(counted.forget());
    }
    // They take a while; the namespace goes with the stage.
    stage.wait(delete(&["functions.openfaas.com", "--all", "-n", NAMESPACE]));
    Ok(())
}

/// So far, of each account and of everyone.
fn calls(stage: &Stage, counted: &[Counted]) -> anyhow::Result<Vec<u64>> {
    let mut calls = Vec::new();
    for counted in counted {
        calls.push(stage.wait(counted.so_far()).map_err(Error::msg)?);
    }
    calls.push(stage.wait(of_all()).map_err(Error::msg)?);
    Ok(calls)
}
