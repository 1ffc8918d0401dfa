//! Durable 202s: 32 producers of 512 bytes against what the disk itself gives.

use crate::load::{Candidate, Rounds, take_turns};
use crate::table::{Table, median};
use crate::world::World;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Both engines, with the worker paused and draining.
pub(crate) fn measure(world: &World, rounds: &Rounds, table: &mut Table) -> anyhow::Result<()> {
    let body = "1".repeat(512);
    for engine in ["sqlite", "sled"] {
        for (state, environment) in [("worker paused", &[("max_inflight", "0")][..]), ("worker draining", &[])] {
            let platform = world.platform(environment, &["--queue", engine])?;
            let sync = one_sync(platform.state.path())?;
            let candidate = Candidate {
                name: engine.to_owned(),
                url: format!("{}/async-function/fridge-temp", platform.gateway),
                pids: vec![platform.process.id()],
            };
            let results = take_turns(&[candidate], rounds, &body)?;
            let rate = median(results[0].iter().map(|round| round.rate));
            let failed: u64 = results[0].iter().map(|round| round.failed).sum();
            let ceiling = 32.0 / sync.as_secs_f64();
            table.row(
                "durable 202, 32 × 512 B",
                &format!("{engine}, {state}"),
                format!(
                    "{rate:.0}/s = {:.2} × of {ceiling:.0}/s (one fdatasync {sync:.0?}), {failed} failed",
                    rate / ceiling
                ),
                if state == "worker paused" { "≥ 0.5 ×" } else { "" },
            );
        }
    }
    Ok(())
}

/// The median of bare fdatasyncs after a 16 KiB write, on the state's file system.
fn one_sync(folder: &Path) -> anyhow::Result<Duration> {
    let path = folder.join("sync.probe");
    let file = File::create(&path)?;
    file.set_len(64 << 20)?;
    file.sync_all()?;
    let block = [7_u8; 16 << 10];
    let mut times = Vec::new();
    for number in 0..300_u64 {
        file.write_all_at(&block, number * block.len() as u64)?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64());
    }
    std::fs::remove_file(path)?;
    Ok(Duration::from_secs_f64(median(times)))
}
