//! Builds the functions of a stack file, and the platform itself, as static binaries, without Docker, and packs each as
//! an image.
//!
//! ```text
//! plan: where is each function's package? (its own workspace, or ./build/NAME laid out from the template)
//!   -> cargo, once a workspace -> pack what changed -> image store
//! ```
//! What has to be built again is for cargo alone to say: it is asked every time. An image is packed again only when its
//! binary is another one.

mod archives;
mod cargo;
mod layout;
mod pack;
mod platform;
mod target;
mod toolchain;
mod workspace;

pub use archives::LOCK;
pub use pack::{BINARY_LABEL, Pack};
pub use platform::PlatformImages;
pub(crate) use platform::is_dynamic;

use crate::terminal;
use daemon::Env;
use image::{ImageError, Store};
use stack::{Function, Stack};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use wire::image_reference::{ImageReference, ImageReferenceError};

/// The template that is built here.
pub const LANG: &str = "rust";
/// The profile functions are built with.
pub const FUNCTION_PROFILE: &str = "function";

/// What became of a function of the stack file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// The function.
    pub function: String,
    /// Its image.
    pub image: String,
    /// What happened.
    pub result: BuildResult,
}

/// What happened to one image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BuildResult {
    /// The image is new or another one than before.
    Packed {
        /// Its digest.
        digest: String,
        /// Its bytes in the store.
        size: u64,
    },
    /// It is what it was.
    Unchanged {
        /// Its digest.
        digest: String,
    },
    /// It is not built here, and the store has it.
    InStore {
        /// Its digest.
        digest: String,
    },
    /// It is not built here, and the store does not have it.
    Missing {
        /// What to do about it.
        advice: String,
    },
}

/// Why functions cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// There is no cargo or rustc.
    #[error(
        "functions are built with Rust, and `{program}` {why}; install Rust from https://rustup.rs, or run with --no-build and bring images with `crema image import`"
    )]
    NoToolchain {
        /// What was called.
        program: String,
        /// What happened.
        why: String,
    },
    /// There is no C compiler.
    #[error(
        "functions are linked with a C compiler, and there is no `cc` on the PATH; install one (Debian: apt-get install gcc libc6-dev), or run with --no-build and bring images with `crema image import`"
    )]
    NoCompiler,
    /// cargo ended with an error, which it has said itself.
    #[error(
        "cargo could not build {what}; its messages above say why. Correct that, or run with --no-build to use the images that are in the store"
    )]
    Cargo {
        /// What was being built.
        what: String,
    },
    /// cargo does not know what it should.
    #[error("function {function}: {why}")]
    Function {
        /// The function.
        function: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// cargo does not know what it should, of a package that is built for more than one function or for none.
    #[error("{package}: {why}")]
    Package {
        /// The package.
        package: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The platform's own images cannot be made.
    #[error("{0}")]
    Platform(String),
    /// The name of its image is none.
    #[error("function {function}: {source}")]
    Reference {
        /// The function.
        function: String,
        /// Why.
        source: ImageReferenceError,
    },
    /// The file system refused.
    #[error("cannot {doing} {path}: {source}", path = .path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The image store refused.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl BuildError {
    fn function(function: &Function, why: impl Into<String>) -> Self {
        Self::Function { function: function.name.clone(), why: why.into() }
    }

    fn io<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }
}

/// What is built, and the package it is built from.
struct Job {
    name: String,
    package: workspace::Package,
}

impl Job {
    fn refuse(&self, why: String) -> BuildError {
        BuildError::Package { package: self.name.clone(), why }
    }
}

/// Builds and packs every function of the stack file that is built here, and says of the others whether they are in
/// the store. Progress goes to the terminal.
pub fn functions(stack: &Stack, store: &Store, env: &impl Env) -> Result<Vec<Outcome>, BuildError> {
    let (ours, others): (Vec<_>, Vec<_>) =
        stack.functions.iter().partition(|function| !function.skip_build && function.lang.eq_ignore_ascii_case(LANG));
    let mut outcomes = others.into_iter().map(|function| of_store(store, function)).collect::<Result<Vec<_>, _>>()?;
    if !ours.is_empty() {
        let toolchain = toolchain::Toolchain::find(env)?;
        for built in binaries(&toolchain, stack, &ours, FUNCTION_PROFILE)? {
            outcomes.push(packed(store, &built)?);
        }
    }
    outcomes.iter().for_each(say);
    if outcomes.iter().any(|outcome| matches!(outcome.result, BuildResult::Packed { .. })) {
        // What the new images replaced. It costs disk, not correctness: a failure is for the next time.
        if let Err(error) = store.collect_garbage() {
            tracing::warn!(%error, "Replaced images could not be removed");
        }
    }
    Ok(outcomes)
}

fn reference(function: &Function) -> Result<ImageReference, BuildError> {
    function.image.parse().map_err(|source| BuildError::Reference { function: function.name.clone(), source })
}

/// A function's binary, and what it was made of.
struct Built<'a> {
    function: &'a Function,
    package: workspace::Package,
    binary: PathBuf,
}

impl Built<'_> {
    fn pack(&self) -> Pack {
        Pack::function(&self.binary).describe(&self.function.name, &self.package)
    }
}

/// Builds functions, all of a workspace at once.
fn binaries<'a>(
    toolchain: &toolchain::Toolchain,
    stack: &Stack,
    functions: &[&'a Function],
    profile: &str,
) -> Result<Vec<Built<'a>>, BuildError> {
    let mut workspaces = workspace::Workspaces::new(toolchain);
    let mut by_root = BTreeMap::<PathBuf, (Vec<&Function>, Vec<Job>)>::new();
    for function in functions {
        let (root, package) = workspaces.package(stack, function)?;
        let (functions, jobs) = by_root.entry(root).or_default();
        functions.push(function);
        jobs.push(Job { name: function.name.clone(), package });
    }
    let mut built = Vec::new();
    for (root, (functions, jobs)) in by_root {
        announce(&jobs);
        let binaries = cargo::build(toolchain, &root, profile, &jobs)?;
        let parts = functions.into_iter().zip(jobs).zip(binaries);
        built.extend(parts.map(|((function, job), binary)| Built { function, package: job.package, binary }));
    }
    Ok(built)
}

fn announce(jobs: &[Job]) {
    let names: Vec<_> = jobs.iter().map(|job| job.name.as_str()).collect();
    terminal::say(format_args!("Building {} with cargo (the first time takes minutes)", names.join(", ")));
}

fn packed(store: &Store, built: &Built<'_>) -> Result<Outcome, BuildError> {
    let (image, changed) = built.pack().store(store, &reference(built.function)?)?;
    let digest = image.digest;
    let result =
        if changed { BuildResult::Packed { digest, size: image.size } } else { BuildResult::Unchanged { digest } };
    Ok(Outcome { function: built.function.name.clone(), image: built.function.image.clone(), result })
}

fn of_store(store: &Store, function: &Function) -> Result<Outcome, BuildError> {
    let result = match store.find(&reference(function)?)? {
        Some(image) => BuildResult::InStore { digest: image.digest },
        None => BuildResult::Missing { advice: advice(function) },
    };
    Ok(Outcome { function: function.name.clone(), image: function.image.clone(), result })
}

/// How an image comes into the store that is not built here.
fn advice(function: &Function) -> String {
    let name = &function.image;
    let import =
        format!("`skopeo copy docker://{name} oci-archive:image.tar:{name}`, then `crema image import image.tar`");
    if function.skip_build {
        return format!("its image is not built (skip_build) and not in the store; fetch it: {import}");
    }
    format!(
        "lang {:?} is built with Docker, not here, and its image is not in the store; build it: `faas-cli build`, \
         `docker save {name} -o image.tar`, then `crema image import image.tar`",
        function.lang
    )
}

fn say(outcome: &Outcome) {
    let Outcome { function, image, result } = outcome;
    match result {
        BuildResult::Packed { size, .. } => {
            terminal::say(format_args!("  {function}: packed {image}, {}", terminal_size(*size)));
        }
        BuildResult::Unchanged { .. } => terminal::say(format_args!("  {function}: {image} is unchanged")),
        BuildResult::InStore { .. } => terminal::say(format_args!("  {function}: {image} from the store")),
        BuildResult::Missing { advice } => terminal::say(format_args!("  {function}: {advice}")),
    }
}

/// Bytes for people: `1.3 MB`.
pub(crate) fn terminal_size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests;
