//! The shop's orders, as a function.

use function_sdk::serve_with;
use order::Orders;
use std::process::ExitCode;

fn main() -> ExitCode {
    serve_with(Orders::start)
}
