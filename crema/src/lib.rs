//! The all-in-one: gateway, MQTT broker or connector, cron connector and local provider in one process, and the
//! command line around them.

pub mod build;
pub mod bundle_command;
pub mod cli;
pub mod credentials;
pub mod image_command;
pub mod terminal;
pub mod up;

use cli::{Cli, Command};
use std::process::ExitCode;

/// Runs one command to its end. A failure is one line that says what to do.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let ended = match cli.command {
        Command::Up(up) => up::run(*up),
        Command::Image(image) => image.run(),
        Command::Bundle(bundle) => bundle.run(&mut std::io::stdout().lock()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::say(format_args!("crema: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
