//! The figures: Crema beside haproxy, in one run, on one machine. Prints a table; asserts nothing.
//!
//! `cargo run --release -p bench` needs `haproxy` and `wrk` (Debian: `apt-get install haproxy wrk`), and is better with
//! `runc` and as root. With a cluster, named as for the tests in `e2e::cluster`, it measures the platform there too.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it prints its table")]

mod bare;
mod cluster;
mod cold;
mod control;
mod durable;
mod http;
mod load;
mod many;
mod memory;
mod path;
mod process;
mod proxy;
mod sizes;
mod table;
mod unpack;
mod update;
mod world;

use clap::Parser;
use table::Table;
use world::World;

/// Measures Crema beside haproxy and prints a table.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only these: proxy, watchdog, durable, memory, sizes, cold, path, update, many, unpack, cluster
    only: Vec<String>,
    /// Seconds of each measured round
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Measure target/release as it is; build nothing of it
    #[arg(long)]
    built: bool,
    /// Rounds of each; the candidates take turns, and the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Levels of isolation: cold and path take all of them, proxy, update and many the first
    #[arg(long, default_values = ["full", "userns", "process"])]
    level: Vec<String>,
    /// Cold starts
    #[arg(long, default_value_t = 200)]
    times: usize,
    /// Updates under load
    #[arg(long, default_value_t = 50)]
    updates: usize,
    /// Functions applied to a cluster, and as many Deployments
    #[arg(long, default_value_t = 20)]
    applied: usize,
    /// Minutes in which calls of a cluster's API are counted
    #[arg(long, default_value_t = 2)]
    minutes: u32,
    /// Functions deployed at zero
    #[arg(long, default_value_t = 500)]
    functions: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let wanted = |what: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == what);
    let world = World::build(arguments.built)?;
    if arguments.only != ["cluster"] {
        world.pack_functions()?;
    }
    let mut table = Table::default();
    let rounds = load::Rounds { seconds: arguments.seconds, count: arguments.rounds, connections: 32 };
    if wanted("proxy") {
        proxy::gateway(&world, &arguments.level[0], &rounds, &mut table)?;
    }
    if wanted("watchdog") {
        proxy::watchdog(&world, &rounds, &mut table)?;
    }
    if wanted("durable") {
        durable::measure(&world, &rounds, &mut table)?;
    }
    if wanted("memory") {
        memory::measure(&world, &mut table)?;
    }
    if wanted("sizes") {
        sizes::measure(&world, &mut table)?;
    }
    if wanted("cold") {
        cold::measure(&world, &arguments.level, arguments.times, &mut table)?;
    }
    if wanted("path") {
        path::measure(&world, &arguments.level, &rounds, &mut table)?;
    }
    if wanted("update") {
        update::measure(&world, &arguments.level[0], arguments.updates, &mut table)?;
    }
    if wanted("many") {
        many::measure(&world, &arguments.level[0], arguments.functions, &mut table)?;
    }
    if wanted("unpack") {
        unpack::measure(arguments.rounds, &mut table)?;
    }
    if wanted("cluster") {
        let (applied, minutes) = (arguments.applied, arguments.minutes);
        cluster::measure(&world, &rounds, applied, arguments.functions, minutes, &mut table)?;
    }
    println!("{table}");
    Ok(())
}
