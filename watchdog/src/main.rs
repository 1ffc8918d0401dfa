//! The watchdog as a process: flags, settings, signals.

use function_sdk::log;
use function_sdk::server::{Signals, environment, on_one_thread};
use function_sdk::settings::EXIT_USAGE;
use std::io::Write;
use std::process::ExitCode;
use tokio::sync::oneshot;
use watchdog::{Config, Watchdog, is_locked};

const USAGE: &str =
    "watchdog: serves the process in `fprocess` as a function, in `mode` http, streaming, serializing or
classic, or the files in `static_path` in `mode` static

  -version           prints the version
  -run-healthcheck   exits with 0 if a watchdog serves here: if its lock file exists

Everything else is set by environment variables.
";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    let program = arguments.next().unwrap_or_default();
    let arguments: Vec<String> = arguments.collect();
    match arguments.iter().map(|argument| argument.trim_start_matches('-')).collect::<Vec<_>>().as_slice() {
        [] => serve(program.rsplit('/').next().unwrap_or_default()),
        ["version"] => print(concat!("watchdog ", env!("CARGO_PKG_VERSION"), "\n"), ExitCode::SUCCESS),
        ["run-healthcheck"] if is_locked(environment) => ExitCode::SUCCESS,
        ["run-healthcheck"] => print("unable to find lock file.\n", ExitCode::FAILURE),
        ["help" | "h"] => print(USAGE, ExitCode::SUCCESS),
        _ => print(USAGE, ExitCode::from(EXIT_USAGE)),
    }
}

fn print(text: &str, code: ExitCode) -> ExitCode {
    std::io::stdout().write_all(text.as_bytes()).map_or(ExitCode::FAILURE, |()| code)
}

fn serve(program: &str) -> ExitCode {
    let config = match Config::from_env(program, environment) {
        Ok(config) => config,
        Err(error) => {
            log(error);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    on_one_thread(async {
        let (watchdog, mut signals) = match (Watchdog::build(config).await, Signals::new()) {
            (Ok(watchdog), Ok(signals)) => (watchdog, signals),
            (Err(error), _) => return failed(&error),
            (_, Err(error)) => return failed(&error),
        };
        let (leave, left) = oneshot::channel();
        let run = watchdog.run(async { left.await.unwrap_or(function_sdk::server::Leave::AtOnce) });
        let twice = async {
            leave.send(signals.next().await).unwrap_or_default();
            signals.next().await;
            log("told to stop twice: ending at once");
        };
        tokio::select! { code = run => code, () = twice => ExitCode::FAILURE }
    })
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    log(error);
    ExitCode::FAILURE
}
