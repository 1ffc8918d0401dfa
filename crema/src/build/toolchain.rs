//! The Rust toolchain and C compiler: whether they are there, and how they are called.

use super::BuildError;
use super::target::Target;
use daemon::Env;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Makes a binary that needs nothing of the image it lies in.
const STATIC: &str = "-C target-feature=+crt-static -C relocation-model=static";
/// What is built while developing, which shares its files with tests that link statically.
const DEV_PROFILE: &str = "dev";

/// What builds functions and the platform.
#[derive(Clone, Debug)]
pub(super) struct Toolchain {
    cargo: String,
    pub(super) rustc: String,
    /// What is built for, the machine's own target first; naming it keeps the flags from macros and build scripts.
    pub(super) target: String,
    flags: String,
    linker: Option<String>,
    /// cargo's own folder, whose path panics would name.
    home: Option<PathBuf>,
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
        let home = env.get("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(Path::new(&env.get("HOME")?).join(".cargo")));
        Ok(Self { cargo, rustc, target, flags, linker: None, home })
    }

    /// The same, for another machine.
    pub(super) fn aimed_at(self, target: &Target) -> Self {
        Self { target: target.triple.clone(), linker: target.linker.clone(), ..self }
    }

    /// cargo, to be run in a folder, so that its settings there count.
    pub(super) fn cargo(&self, folder: &Path) -> Command {
        self.with_flags(folder, &self.flags)
    }

    /// cargo, to build in a folder. What is to be released does not know where it was built.
    pub(super) fn compile(&self, folder: &Path, profile: &str) -> Command {
        let places = [(Some(folder), "/source"), (self.home.as_deref(), "/cargo")];
        let known = places.into_iter().filter_map(|(place, name)| Some((place?.to_str()?, name)));
        let plain = known.filter(|(place, _)| profile != DEV_PROFILE && !place.contains([' ', '=']));
        let remap = plain.map(|(place, name)| format!(" --remap-path-prefix={place}={name}"));
        let mut command = self.with_flags(folder, &(self.flags.clone() + &remap.collect::<String>()));
        if let Some(linker) = &self.linker {
            command.env(format!("CARGO_TARGET_{}_LINKER", in_capitals(&self.target)), linker);
        }
        command
    }

    fn with_flags(&self, folder: &Path, flags: &str) -> Command {
        let mut command = Command::new(&self.cargo);
        command
            .current_dir(folder)
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env(format!("CARGO_TARGET_{}_RUSTFLAGS", in_capitals(&self.target)), flags);
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

pub(super) fn in_capitals(target: &str) -> String {
    target.to_ascii_uppercase().replace(['-', '.'], "_")
}

pub(super) fn on_path(env: &impl Env, program: &str) -> bool {
    let path = env.get("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
