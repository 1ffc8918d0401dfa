//! The figures: Crema beside haproxy, in one run, on one machine. Prints a table; asserts nothing.
//!
//! `cargo run --release -p bench` needs `haproxy` and `wrk` (Debian: `apt-get install haproxy wrk`).
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it prints its table")]

mod durable;
mod load;
mod memory;
mod process;
mod proxy;
mod sizes;
mod table;
mod world;

use clap::Parser;
use table::Table;
use world::World;

/// Measures Crema beside haproxy and prints a table.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only these: proxy, watchdog, durable, memory, sizes
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
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let wanted = |what: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == what);
    let world = World::build(arguments.built)?;
    let mut table = Table::default();
    let rounds = load::Rounds { seconds: arguments.seconds, count: arguments.rounds };
    if wanted("proxy") {
        proxy::gateway(&world, &rounds, &mut table)?;
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
    println!("{table}");
    Ok(())
}
