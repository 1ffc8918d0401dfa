//! The platform on a Kubernetes: what it takes, what a call through it costs, how soon a Function answers, and what it
//! asks of the API server.
//!
//! ```text
//! images as they ship -> chart -> memory -> gateway beside haproxy -> a Function beside a Deployment -> many at zero
//! ```

mod apply;
mod gateway;
mod many;
mod memory;
mod stage;

use crate::load::Rounds;
use crate::table::Table;
use crate::world::World;
use e2e::cluster::Need;
use stage::Stage;

/// The namespace of what is measured.
const NAMESPACE: &str = "crema-bench";
/// The function in it.
const FUNCTION: &str = "bench";

pub(crate) fn measure(
    world: &World,
    rounds: &Rounds,
    applied: usize,
    functions: usize,
    minutes: u32,
    table: &mut Table,
) -> anyhow::Result<()> {
    if let Some(why) = Need::Cluster.is_missing() {
        table.row("cluster", "all", format!("SKIPPED: {why}"), "");
        return Ok(());
    }
    let stage = Stage::set(world, table)?;
    memory::measure(&stage, "one function", table)?;
    gateway::measure(&stage, rounds, table)?;
    apply::measure(&stage, applied, table)?;
    many::measure(&stage, functions, minutes, table)
}
