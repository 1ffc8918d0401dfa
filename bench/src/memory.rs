//! Memory of the platform and of a function, idle and after work.

use crate::control::Control;
use crate::load::{Candidate, Rounds, take_turns};
use crate::process::{children, memory_kib};
use crate::table::Table;
use crate::world::World;

/// Calls to make before the second look.
const CALLS: f64 = 100_000.0;
/// Functions that a mean is taken over.
const ALIKE: usize = 50;

pub(crate) fn measure(world: &World, table: &mut Table) -> anyhow::Result<()> {
    let platform = world.platform(&[], &[])?;
    let pid = platform.process.id();
    let mib = |kib: u64| format!("{:.1} MB", kib as f64 / 1024.0);
    table.row("platform, idle, four functions", "crema", mib(memory_kib(pid, "Pss")?), "≤ 12 MB PSS");
    let candidates: Vec<Candidate> = ["function/fridge-temp", "async-function/fridge-temp", "function/inventory"]
        .iter()
        .map(|path| Candidate {
            name: (*path).to_owned(),
            url: format!("{}/{path}", platform.gateway),
            pids: vec![pid],
        })
        .collect();
    let mut calls = 0.0;
    while calls < CALLS {
        let rounds = Rounds { seconds: 1, count: 1, connections: 32 };
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
    platform.process.stop()?;
    beside_plain(world, table)
}

/// What a sandboxed function costs beside a plain one, in its process, in the platform and in the kernel.
fn beside_plain(world: &World, table: &mut Table) -> anyhow::Result<()> {
    for level in ["none", "full", "userns", "process"] {
        let who = format!("at level {level}");
        let Ok(platform) = world.bare_platform(level) else {
            table.row("function, of 50 alike", &who, "not measured: the level is not to be had here", "");
            continue;
        };
        let mut control = Control::of(&platform);
        let (kernel, own) = (kernel_kib()?, memory_kib(platform.process.id(), "Pss")?);
        for number in 0..ALIKE {
            let name = format!("alike-{number}");
            control.deploy(&name, false)?;
            control.wait_ready(&name)?;
        }
        let functions = control.wait_processes(ALIKE + 1)?;
        let each = |after: u64, before: u64| (after as f64 - before as f64) / ALIKE as f64;
        let private = functions.iter().map(|pid| memory_kib(*pid, "Pss_Anon")).sum::<anyhow::Result<u64>>()?;
        let private = private as f64 / functions.len() as f64;
        let (kernel, own) = (each(kernel_kib()?, kernel), each(memory_kib(platform.process.id(), "Pss")?, own));
        let figure = format!("{private:.0} KB its own, {own:.0} KB of the platform's, {kernel:.0} KB of the kernel's");
        table.row("function, of 50 alike", &who, figure, "");
        platform.process.stop()?;
    }
    Ok(())
}

/// What the kernel itself has taken: for processes, namespaces, mounts, control groups.
fn kernel_kib() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Ok(["SUnreclaim", "Percpu", "KernelStack", "PageTables"].iter().filter_map(|name| of(name)).sum())
}
