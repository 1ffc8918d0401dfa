//! From zero replicas to the first byte of an answer, at every level of isolation this machine has.

use crate::bare;
use crate::control::{BODY, Control};
use crate::http::Client;
use crate::table::{Table, percentiles};
use crate::world::World;
use anyhow::ensure;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

/// Functions that are called at once.
const AT_ONCE: usize = 8;
/// runc takes its time.
const RUNC_TIMES: usize = 50;

pub(crate) fn measure(world: &World, levels: &[String], times: usize, table: &mut Table) -> anyhow::Result<()> {
    let what = "0 replicas → first byte";
    for level in levels {
        let aim = if level == "full" { "p50 ≤ 8 ms, p99 ≤ 30 ms" } else { "" };
        match world.bare_platform(level) {
            Ok(platform) => {
                let mut control = Control::of(&platform);
                control.scale("bench", 0)?;
                let names: Vec<String> = (0..AT_ONCE).map(|number| format!("cold-{number}")).collect();
                for name in &names {
                    control.deploy(name, true)?;
                    control.wait_ready(name)?;
                    control.scale(name, 0)?;
                }
                control.wait_gone()?;
                let one = from_zero(&platform.gateway, &mut control, &names[..1], times)?;
                table.row(what, &format!("crema, {level}"), percentiles(one), aim);
                let rounds = times.div_ceil(AT_ONCE);
                let many = from_zero(&platform.gateway, &mut control, &names, rounds)?;
                table.row(what, &format!("crema, {level}, {AT_ONCE} functions at once"), percentiles(many), "");
                platform.process.stop()?;
            }
            Err(error) => table.row(what, &format!("crema, {level}"), format!("not measured: {error:#}"), aim),
        }
    }
    table.row(what, "bare fork + exec", percentiles(bare::process(world, times)?), "");
    match bare::runc(world, times.min(RUNC_TIMES)) {
        Ok(runc) => table.row(what, "runc run -d", percentiles(runc), ""),
        Err(error) => table.row(what, "runc run -d", format!("SKIPPED: {error:#} (Debian: apt-get install runc)"), ""),
    }
    Ok(())
}

/// Calls all of them at the same time, and scales them to zero again, so many times.
fn from_zero(gateway: &str, control: &mut Control, names: &[String], times: usize) -> anyhow::Result<Vec<Duration>> {
    let mut clients: Vec<Client> = names.iter().map(|_| Client::new(gateway)).collect();
    let mut took = Vec::new();
    for _ in 0..times {
        let together = Barrier::new(names.len());
        let call = |client: &mut Client, name: &String| {
            client.connect()?;
            together.wait();
            let answer = client.call("POST", &format!("/function/{name}"), BODY)?;
            ensure!(answer.status == 200, "{name}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
            Ok(answer.first_byte)
        };
        let calls = thread::scope(|scope| {
            let calls: Vec<_> =
                clients.iter_mut().zip(names).map(|(client, name)| scope.spawn(move || call(client, name))).collect();
            calls.into_iter().map(|call| call.join().expect("no panic")).collect::<anyhow::Result<Vec<_>>>()
        });
        took.extend(calls?);
        for name in names {
            control.scale(name, 0)?;
        }
        control.wait_gone()?;
    }
    Ok(took)
}
