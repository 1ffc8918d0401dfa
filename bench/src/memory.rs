//! Memory of the platform and of a function, idle and after work.

use crate::load::{Candidate, Rounds, take_turns};
use crate::process::{children, memory_kib};
use crate::table::Table;
use crate::world::World;

/// Calls to make before the second look.
const CALLS: f64 = 100_000.0;

pub(crate) fn measure(world: &World, table: &mut Table) -> anyhow::Result<()> {
    let platform = world.platform(&[], &[])?;
    let pid = platform.process.id();
    let mib = |kib: u64| format!("{:.1} MB", kib as f64 / 1024.0);
    table.row("platform, idle, four functions", "crema", mib(memory_kib(pid, "Pss")?), "≤ 12 MB PSS");
    let candidates: Vec<Candidate> = ["function/fridge-temp", "async-function/fridge-temp", "function/inventory"]
        .iter()
        .map(|path| Candidate { name: (*path).to_owned(), url: format!("{}/{path}", platform.gateway), pid })
        .collect();
    let mut calls = 0.0;
    while calls < CALLS {
        let rounds = Rounds { seconds: 1, count: 1 };
        let results = take_turns(&candidates, &rounds, "38.2")?;
        calls += results.iter().flatten().map(|round| round.rate).sum::<f64>();
    }
    table.row("platform, after 100,000 mixed calls", "crema", mib(memory_kib(pid, "Pss")?), "≤ 20 MB PSS");
    for child in children(pid)? {
        let environment = std::fs::read(format!("/proc/{child}/environ"))?;
        let environment = String::from_utf8_lossy(&environment);
        let name =
            environment.split('\0').find_map(|line| line.strip_prefix("OPENFAAS_NAME=")).unwrap_or("?").to_owned();
        // Its anonymous memory: pages of a freshly written binary count as dirty too until they are on disk.
        table.row("function, private memory", &name, mib(memory_kib(child, "Pss_Anon")?), "≤ 1 MB");
    }
    platform.process.stop()
}
