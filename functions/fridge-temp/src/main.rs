//! Judges a fridge temperature.

use fridge_temp::FridgeTemp;
use function_sdk::{Context, serve_with};
use std::process::ExitCode;

fn main() -> ExitCode {
    serve_with(async |context: Context| FridgeTemp::from_context(&context))
}
