//! Cards, as a function.

use function_sdk::serve_with;
use payment::Payments;
use std::process::ExitCode;

fn main() -> ExitCode {
    serve_with(Payments::open)
}
