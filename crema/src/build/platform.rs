//! The images a cluster runs the platform from: the parts, which are one program, and the functions of the stack
//! file, each FROM scratch.
//!
//! ```text
//! workspace of the stack file -> for each target: cargo, platform and functions -> image store -> archives, images.lock
//! ```
//! The same source, lock file and toolchain give the same bytes: nothing of the machine or the hour is in an image.

use super::archives::Archives;
use super::pack::Pack;
use super::target::Target;
use super::toolchain::Toolchain;
use super::workspace::{Package, Workspace};
use super::{BuildError, FUNCTION_PROFILE, Job, LANG, announce, binaries, cargo, terminal_size};
use crate::terminal;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use daemon::Env;
use image::{Image, Store};
use stack::{Function, Stack};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use wire::image_reference::ImageReference;

/// The package of the program that is all of the parts.
const PROGRAM: &str = "platform";
/// What runs on a cluster, by its package's name, which is also its image's.
const PARTS: [&str; 5] = ["gateway", "operator", "mqtt-broker", "mqtt-connector", "cron-connector"];
/// Where rustls looks for whom to trust: callbacks and brokers may be elsewhere.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// An image to be, with its name.
type NamedPack = (String, Pack);

/// Which images to make, and where they go.
#[derive(Clone, Debug)]
pub struct PlatformImages {
    /// For which machines; this one when empty.
    pub targets: Vec<String>,
    /// The folder of the archives; `target/images` of the workspace when not given.
    pub output: Option<PathBuf>,
    /// The images' tag; the platform's version when not given.
    pub tag: Option<String>,
    /// What stands before the images' names.
    pub registry: String,
    /// cargo's profile, for platform and functions; when not given `release` and `function`.
    pub profile: Option<String>,
}

impl PlatformImages {
    /// Makes them; each image is in the store, when it is for this machine, and in the folder of archives.
    pub fn build(&self, stack: &Stack, store: &Store, env: &impl Env) -> Result<PathBuf, BuildError> {
        let host = Toolchain::find(env)?;
        let targets = self.targets(&host, env)?;
        let folder = stack.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let workspace = Workspace::read(&host, folder, BuildError::Platform)?;
        let program = program(&workspace)?;
        let version = self.version(program)?;
        let output = self.output.clone().unwrap_or_else(|| workspace.root.join("target/images"));
        let mut archives = Archives::new(&output)?;
        for target in targets {
            let elsewhere = target.triple != host.target;
            let toolchain = host.clone().aimed_at(&target);
            // The store is what this machine runs.
            let temporary = elsewhere
                .then(|| tempfile::tempdir_in(&output))
                .transpose()
                .map_err(BuildError::io("write in", &output))?;
            let own = temporary.as_ref().map(|folder| Store::open(folder.path())).transpose()?;
            let store = own.as_ref().unwrap_or(store);
            for (archive, packs) in self.packs(&toolchain, &workspace, program, stack)? {
                let file = format!("{archive}-{version}-{}.tar", target.architecture);
                let mut images = Vec::new();
                for (name, pack) in packs {
                    let pack = if elsewhere { pack.architecture(target.architecture) } else { pack };
                    let (image, changed) = pack.store(store, &self.reference(&name, &version)?)?;
                    say(&image, changed, &file);
                    images.push(image);
                }
                archives.add(store, &images, &file)?;
            }
        }
        // What the new images replaced.
        if let Err(error) = store.collect_garbage() {
            tracing::warn!(%error, "Replaced images could not be removed");
        }
        archives.lock()
    }

    fn targets(&self, host: &Toolchain, env: &impl Env) -> Result<Vec<Target>, BuildError> {
        let given = if self.targets.is_empty() { std::slice::from_ref(&host.target) } else { &self.targets };
        let mut targets: Vec<Target> = Vec::new();
        for triple in given {
            let target = Target::find(triple, &host.target, &host.rustc, env)?;
            if let Some(same) = targets.iter().find(|known| known.architecture == target.architecture) {
                let why = format!("{triple} and {} make images for {}; give one", same.triple, target.architecture);
                return Err(BuildError::Platform(why));
            }
            targets.push(target);
        }
        Ok(targets)
    }

    fn version(&self, program: &Package) -> Result<String, BuildError> {
        let version = self.tag.as_ref().unwrap_or(&program.version);
        if version == "latest" {
            let why = "the tag latest makes Kubernetes pull anew each time, which a store without a link cannot; \
                       give a version";
            return Err(BuildError::Platform(why.to_owned()));
        }
        // Before minutes of building.
        self.reference(PROGRAM, version)?;
        Ok(version.clone())
    }

    fn reference(&self, name: &str, version: &str) -> Result<ImageReference, BuildError> {
        let text = format!("{}/{name}:{version}", self.registry.trim_end_matches('/'));
        text.parse().map_err(|source| BuildError::Reference { function: name.to_owned(), source })
    }

    /// Builds all for one target; what is to be packed, by name, for each archive.
    fn packs(
        &self,
        toolchain: &Toolchain,
        workspace: &Workspace,
        program: &Package,
        stack: &Stack,
    ) -> Result<Vec<(String, Vec<NamedPack>)>, BuildError> {
        let functions: Vec<&Function> = stack
            .functions
            .iter()
            .filter(|function| !function.skip_build && function.lang.eq_ignore_ascii_case(LANG))
            .collect();
        let is_taken = |name: &str| name == PROGRAM || PARTS.contains(&name);
        if let Some(function) = functions.iter().find(|function| is_taken(&function.name)) {
            let why = format!(
                "{}: function {} would be taken for the platform's part of that name; give it another name",
                stack.path.display(),
                function.name
            );
            return Err(BuildError::Platform(why));
        }
        let jobs = [Job { name: PROGRAM.to_owned(), package: program.clone() }];
        announce(&jobs);
        let profile = self.profile.as_deref().unwrap_or("release");
        let built = cargo::build(toolchain, &workspace.root, profile, &jobs)?;
        let parts = PARTS.map(|name| {
            // What each is for, its own package says.
            let package = workspace.packages.iter().find(|package| package.name == name).unwrap_or(program);
            let pack = Pack::part(name, &PARTS, &built[0]).describe(name, package);
            (name.to_owned(), pack.file(CERTIFICATES, certificates()))
        });
        check_static(PROGRAM, &built[0])?;
        let mut packs = vec![(PROGRAM.to_owned(), Vec::from(parts))];
        for left in stack.functions.iter().filter(|function| !functions.iter().any(|ours| ours.name == function.name)) {
            terminal::say(format_args!("  {}: left out, it is not built here", left.name));
        }
        let profile = self.profile.as_deref().unwrap_or(FUNCTION_PROFILE);
        for built in binaries(toolchain, stack, &functions, profile)? {
            check_static(&built.function.name, &built.binary)?;
            let name = built.function.name.clone();
            packs.push((name.clone(), vec![(name, built.pack())]));
        }
        Ok(packs)
    }
}

/// The platform's package in the workspace.
fn program(workspace: &Workspace) -> Result<&Package, BuildError> {
    workspace.packages.iter().find(|package| package.name == PROGRAM).ok_or_else(|| {
        let root = workspace.root.display();
        let why =
            format!("{root} does not hold Crema's source: the platform's images are built from it; run this there");
        BuildError::Platform(why)
    })
}

/// An image FROM scratch has no libraries.
fn check_static(name: &str, binary: &Path) -> Result<(), BuildError> {
    let mut start = Vec::new();
    let read = File::open(binary).and_then(|file| file.take(4096).read_to_end(&mut start));
    read.map_err(BuildError::io("read", binary))?;
    if is_dynamic(&start) {
        let why = format!("{} is linked dynamically, and its image would not start", binary.display());
        return Err(BuildError::Package { package: name.to_owned(), why });
    }
    Ok(())
}

/// The path of a dynamic linker stands near the beginning of every program that needs one.
pub(crate) fn is_dynamic(start: &[u8]) -> bool {
    start.windows(9).any(|window| window == b"/ld-linux" || window == b"/ld-musl-")
}

/// Mozilla's list as it is in Cargo.lock, so that it does not depend on the machine.
fn certificates() -> String {
    let mut text = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in BASE64_STANDARD.encode(certificate).as_bytes().chunks(64) {
            text.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

fn say(image: &Image, changed: bool, archive: &str) {
    let done = if changed { "packed" } else { "unchanged" };
    let size = terminal_size(image.size);
    terminal::say(format_args!("  {}: {done}, {size}, {}, {archive}", image.reference, image.digest));
}

#[cfg(test)]
mod tests;
