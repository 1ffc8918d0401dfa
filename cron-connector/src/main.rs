//! The cron connector on its own, beside a gateway elsewhere.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cron_connector::program::main()
}
