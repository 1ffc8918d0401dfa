//! The `crema` command: reads its arguments, runs what they ask for, says how it ended.

use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    crema::run(crema::cli::Cli::parse())
}
