//! Many functions at zero: what each costs, whether the table slows down, how long the platform takes to start.

use crate::control::{BODY, Control};
use crate::http::Client;
use crate::process::memory_kib;
use crate::table::{Table, percentile, percentiles};
use crate::world::World;
use anyhow::ensure;
use std::time::{Duration, Instant};

/// How many of the first and of the last are set beside each other.
const SHARE: usize = 5;

pub(crate) fn measure(world: &World, level: &str, count: usize, table: &mut Table) -> anyhow::Result<()> {
    let what = format!("{count} functions, {level}");
    let begun = Instant::now();
    let platform = world.bare_platform(level)?;
    table.row(&what, "start-up with one function", format!("{:.2} s", begun.elapsed().as_secs_f64()), "");
    let mut control = Control::of(&platform);
    control.scale("bench", 0)?;
    control.wait_gone()?;
    // What the first deploy and the first replica leave behind is not the functions'.
    let names: Vec<String> = (0..count).map(|number| format!("many-{number}")).collect();
    deploy(&mut control, &["warm-up".to_owned()])?;
    let before = memory_kib(platform.process.id(), "Pss")?;
    deploy(&mut control, &names)?;
    let grown = memory_kib(platform.process.id(), "Pss")? as f64 - before as f64;
    table.row(&what, "memory of each at zero", format!("{:.1} KB PSS", grown / count as f64), "≤ 20 KB");

    let state = platform.stop()?;
    let begun = Instant::now();
    let platform = world.bare_platform_in(state, level)?;
    table.row(&what, "start-up of the platform", format!("{:.2} s", begun.elapsed().as_secs_f64()), "≤ 2 s");
    let fresh = memory_kib(platform.process.id(), "Pss")? as f64 / 1024.0;
    table.row(&what, "memory of the platform after that", format!("{fresh:.1} MB PSS"), "");

    let mut client = Client::new(&platform.gateway);
    client.connect()?;
    let mut took: Vec<Duration> = Vec::new();
    for name in &names {
        let answer = client.call("POST", &format!("/function/{name}"), BODY)?;
        ensure!(answer.status == 200, "{name}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        took.push(answer.first_byte);
    }
    let part = (count / SHARE).max(1);
    let (first, last) = (took[..part].to_vec(), took[count - part..].to_vec());
    let times = percentile(&last, 0.5).as_secs_f64() / percentile(&first, 0.5).as_secs_f64();
    table.row(&what, &format!("each called once, the first {part}"), percentiles(first), "");
    let last = format!("{}, p50 {times:.2} × of the first", percentiles(last));
    table.row(&what, &format!("each called once, the last {part}"), last, "no slowdown");
    let warm = names.iter().map(|name| {
        let answer = client.call("POST", &format!("/function/{name}"), BODY)?;
        Ok(answer.first_byte)
    });
    let warm = warm.collect::<anyhow::Result<Vec<_>>>()?;
    table.row(&what, "each called again, all running", percentiles(warm), "");
    let begun = Instant::now();
    platform.stop()?;
    table.row(&what, "stop with all running", format!("{:.2} s", begun.elapsed().as_secs_f64()), "");
    Ok(())
}

/// Deploys them and scales each to zero.
fn deploy(control: &mut Control, names: &[String]) -> anyhow::Result<()> {
    for name in names {
        control.deploy(name, true)?;
        control.wait_ready(name)?;
        control.scale(name, 0)?;
    }
    control.wait_gone()
}
