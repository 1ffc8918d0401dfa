//! The Rust toolchain and C compiler: whether they are there, and how they are called.

use super::BuildError;
use daemon::Env;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output};

/// Makes a binary that needs nothing of the image it lies in.
const STATIC: &str = "-C target-feature=+crt-static -C relocation-model=static";

/// What builds functions.
#[derive(Debug)]
pub(super) struct Toolchain {
    cargo: String,
    /// The machine's own target; naming it keeps the flags from macros and build scripts.
    pub(super) target: String,
    flags: String,
}

impl Toolchain {
    /// Finds cargo, rustc and the C compiler, or says what to install.
    pub(super) fn find(env: &impl Env) -> Result<Self, BuildError> {
        let cargo = env.get("CARGO").unwrap_or_else(|| "cargo".to_owned());
        let rustc = env.get("RUSTC").unwrap_or_else(|| "rustc".to_owned());
        let version = output(&rustc, Command::new(&rustc).arg("-vV"))?;
        let text = String::from_utf8_lossy(&version.stdout);
        let host = text.lines().find_map(|line| line.strip_prefix("host: ")).ok_or_else(|| {
            BuildError::NoToolchain { program: rustc.clone(), why: "does not say what machine it is for".to_owned() }
        })?;
        let target = host.trim().to_owned();
        let linker = format!("CARGO_TARGET_{}_LINKER", in_capitals(&target));
        let chosen = ["CC", "HOST_CC", linker.as_str()].iter().any(|name| env.get(name).is_some());
        if !chosen && !on_path(env, "cc") {
            return Err(BuildError::NoCompiler);
        }
        // cargo reads flags from one place only, and RUSTFLAGS is the first: whoever set them keeps them.
        let flags = env.get("RUSTFLAGS").map_or_else(|| STATIC.to_owned(), |given| format!("{STATIC} {given}"));
        Ok(Self { cargo, target, flags })
    }

    /// cargo, to be run in a folder, so that its settings there count.
    pub(super) fn cargo(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.cargo);
        command
            .current_dir(folder)
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env(format!("CARGO_TARGET_{}_RUSTFLAGS", in_capitals(&self.target)), &self.flags);
        command
    }

    /// Runs cargo to its end and keeps what it says; its failure is no error yet.
    pub(super) fn ask(&self, command: &mut Command) -> Result<Output, BuildError> {
        command.output().map_err(|error| missing(&self.cargo, &error))
    }

    /// cargo could not be started.
    pub(super) fn missing(&self, error: &std::io::Error) -> BuildError {
        missing(&self.cargo, error)
    }
}

fn output(program: &str, command: &mut Command) -> Result<Output, BuildError> {
    let output = command.output().map_err(|error| missing(program, &error))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let why = format!("fails: {}", said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it does not say why"));
    Err(BuildError::NoToolchain { program: program.to_owned(), why })
}

fn missing(program: &str, error: &std::io::Error) -> BuildError {
    let why = match error.kind() {
        ErrorKind::NotFound => "is not on the PATH".to_owned(),
        _ => format!("does not start ({error})"),
    };
    BuildError::NoToolchain { program: program.to_owned(), why }
}

fn in_capitals(target: &str) -> String {
    target.to_ascii_uppercase().replace(['-', '.'], "_")
}

fn on_path(env: &impl Env, program: &str) -> bool {
    let path = env.get("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
