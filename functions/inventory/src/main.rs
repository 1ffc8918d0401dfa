//! The shop's stock, as a function.

use function_sdk::serve_with;
use inventory::Inventory;
use std::process::ExitCode;

fn main() -> ExitCode {
    serve_with(Inventory::open)
}
