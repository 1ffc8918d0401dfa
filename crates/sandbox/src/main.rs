//! The helper on its own, for tests: `crema` and `gateway` carry it in themselves.

use std::process::ExitCode;

fn main() -> ExitCode {
    sandbox::helper::intercept().unwrap_or(ExitCode::from(64))
}
