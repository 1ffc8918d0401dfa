//! Gateway and watchdog beside haproxy in front of the same function.

use crate::load::{Candidate, Round, Rounds, ratio, take_turns};
use crate::process::Process;
use crate::table::{Table, median};
use crate::world::{World, await_port, free_port, haproxy};
use std::process::{Command, Stdio};

/// A small POST.
const BODY: &str = r#"{"temp":38.2,"unit":"F"}"#;

/// The gateway in front of an SDK function, and haproxy in front of the same binary on TCP.
pub(crate) fn gateway(world: &World, level: &str, rounds: &Rounds, table: &mut Table) -> anyhow::Result<()> {
    // Not held to the processor time that `stack.yml` gives it.
    let platform = world.bare_platform(level)?;
    let (_function, port) = function(world)?;
    let (proxy, url, _folder) = haproxy(port)?;
    let candidates = [
        Candidate { name: "haproxy, TCP".to_owned(), url, pids: vec![proxy.id()] },
        Candidate {
            name: "crema".to_owned(),
            url: format!("{}/function/bench", platform.gateway),
            pids: vec![platform.process.id()],
        },
    ];
    let results = take_turns(&candidates, rounds, BODY)?;
    report("gateway → SDK function, c=32, POST", &candidates, &results, table, "CPU ≤ 1.1 ×, rate ≥ 0.8 ×, 0 failed");
    platform.process.stop()
}

/// The watchdog's http mode in front of a process, and haproxy in front of the same.
pub(crate) fn watchdog(world: &World, rounds: &Rounds, table: &mut Table) -> anyhow::Result<()> {
    let (port, upstream) = (free_port()?, free_port()?);
    let binary = world.function("fridge-temp")?;
    let watchdog = Process::start(
        Command::new(world.binary("watchdog"))
            .env_clear()
            .envs([("mode", "http"), ("fprocess", &format!("/usr/bin/env port={upstream} {}", binary.display()))])
            .env("upstream_url", format!("http://127.0.0.1:{upstream}"))
            .env("port", port.to_string())
            .env("PATH", "/usr/bin:/bin")
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    )?;
    await_port(port)?;
    await_port(upstream)?;
    let (proxy, url, _folder) = haproxy(upstream)?;
    let candidates = [
        Candidate { name: "haproxy, TCP".to_owned(), url, pids: vec![proxy.id()] },
        Candidate { name: "watchdog".to_owned(), url: format!("http://127.0.0.1:{port}/"), pids: vec![watchdog.id()] },
    ];
    let results = take_turns(&candidates, rounds, BODY)?;
    report("watchdog http mode → process", &candidates, &results, table, "CPU ≤ 1.3 ×");
    Ok(())
}

/// The function on its own, on TCP.
fn function(world: &World) -> anyhow::Result<(Process, u16)> {
    let port = free_port()?;
    let function = Process::start(
        Command::new(world.function("fridge-temp")?)
            .env_clear()
            .env("port", port.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    )?;
    await_port(port)?;
    Ok((function, port))
}

/// A row for each candidate, and one of the second's ratio to the first.
pub(crate) fn report(what: &str, candidates: &[Candidate], results: &[Vec<Round>], table: &mut Table, aim: &str) {
    for (candidate, rounds) in candidates.iter().zip(results) {
        let rate = median(rounds.iter().map(|round| round.rate));
        let cpu = median(rounds.iter().map(|round| round.cpu));
        let [p50, p99] = [median(rounds.iter().map(|round| round.p50)), median(rounds.iter().map(|round| round.p99))];
        let failed: u64 = rounds.iter().map(|round| round.failed).sum();
        table.row(
            what,
            &candidate.name,
            format!("{rate:.0}/s, p50 {p50:.0} µs, p99 {p99:.0} µs, {cpu:.1} µs CPU each, {failed} failed"),
            "",
        );
    }
    let cpu = ratio(&results[1], &results[0], |round| round.cpu);
    let rate = ratio(&results[1], &results[0], |round| round.rate);
    table.row(what, "ratio", format!("CPU {cpu:.2} ×, rate {rate:.2} ×"), aim);
}
