//! The `crema` command: reads its arguments, runs what they ask for, says how it ended. Started under the sandbox
//! helper's name, it is that.

use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match sandbox::helper::intercept() {
        Some(ended) => ended,
        None => crema::run(crema::cli::Cli::parse()),
    }
}
