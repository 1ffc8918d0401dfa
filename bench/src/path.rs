//! A call through the sandboxed path beside one to a plain process: CPU of the platform and the function together.

use crate::control::{BODY, Control};
use crate::load::{Candidate, Rounds, ratio, take_turns};
use crate::table::{Table, median};
use crate::world::World;

pub(crate) fn measure(world: &World, levels: &[String], rounds: &Rounds, table: &mut Table) -> anyhow::Result<()> {
    let what = "call by isolation";
    let mut platforms = vec![("none", world.bare_platform("none")?)];
    for level in levels {
        match world.bare_platform(level) {
            Ok(platform) => platforms.push((level, platform)),
            Err(error) => table.row(what, level, format!("not measured: {error:#}"), ""),
        }
    }
    let mut candidates = Vec::new();
    for (level, platform) in &platforms {
        let function = Control::of(platform).wait_processes(1)?;
        candidates.push(Candidate {
            name: (*level).to_owned(),
            url: format!("{}/function/bench", platform.gateway),
            pids: [vec![platform.process.id()], function].concat(),
        });
    }
    // With many at once the kernel's scheduler decides how many of them the function finds whenever it is woken; with one
    // it is woken for each, whatever its control groups.
    for connections in [rounds.connections, 1] {
        let results = take_turns(&candidates, &Rounds { connections, ..*rounds }, BODY)?;
        let what = format!("{what}, c={connections}, POST");
        for (candidate, measured) in candidates.iter().zip(&results) {
            let cpu = median(measured.iter().map(|round| round.cpu));
            let rate = median(measured.iter().map(|round| round.rate));
            let failed: u64 = measured.iter().map(|round| round.failed).sum();
            let times = ratio(measured, &results[0], |round| round.cpu);
            let p99 = median(measured.iter().map(|round| round.p99));
            let figure =
                format!("{cpu:.1} µs CPU each = {times:.2} × of none, {rate:.0}/s, p99 {p99:.0} µs, {failed} failed");
            let aim = if candidate.name == "full" { "no measurable difference" } else { "" };
            table.row(&what, &candidate.name, figure, aim);
        }
    }
    platforms.into_iter().try_for_each(|(_, platform)| platform.process.stop())
}
