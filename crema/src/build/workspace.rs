//! Which cargo package a function is: the one its handler is in some workspace, or one laid out from the template.

use super::layout;
use super::toolchain::Toolchain;
use super::{BuildError, LANG};
use serde::Deserialize;
use stack::{Function, Stack};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A package as `cargo metadata` has it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Package {
    /// What `-p` takes without being misunderstood.
    pub(super) id: String,
    pub(super) name: String,
    pub(super) manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Clone, Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Package {
    /// The one binary that is the function: the only one, or the one called like the package.
    pub(super) fn binary(&self) -> Result<&str, String> {
        let binaries: Vec<&str> = self
            .targets
            .iter()
            .filter(|target| target.kind.iter().any(|kind| kind == "bin"))
            .map(|target| target.name.as_str())
            .collect();
        match binaries[..] {
            [] => Err(format!("package {} has no binary; a function has a src/main.rs", self.name)),
            [only] => Ok(only),
            _ => binaries.iter().copied().find(|name| *name == self.name).ok_or_else(|| {
                format!(
                    "package {} has several binaries ({}); call the function's one {}",
                    self.name,
                    binaries.join(", "),
                    self.name
                )
            }),
        }
    }
}

/// The workspaces met so far, by their root folder.
pub(super) struct Workspaces<'a> {
    toolchain: &'a Toolchain,
    known: BTreeMap<PathBuf, Vec<Package>>,
}

impl<'a> Workspaces<'a> {
    pub(super) fn new(toolchain: &'a Toolchain) -> Self {
        Self { toolchain, known: BTreeMap::new() }
    }

    /// The function's package and the root folder of its workspace.
    pub(super) fn package(&mut self, stack: &Stack, function: &Function) -> Result<(PathBuf, Package), BuildError> {
        let manifest = manifest(stack, function)?;
        let handler = manifest.parent().expect("a manifest lies in a folder");
        for folder in handler.ancestors() {
            if is_workspace(&folder.join("Cargo.toml"))
                && let Some(package) = self.member(function, folder, &manifest)?
            {
                return Ok((folder.to_owned(), package));
            }
        }
        let root = layout::lay_out(stack, function, handler)?;
        let manifest = root.join("function/Cargo.toml");
        let package = self.member(function, &root, &manifest)?;
        let package = package.ok_or_else(|| {
            BuildError::function(function, format!("{} is no member of its workspace", manifest.display()))
        })?;
        Ok((root, package))
    }

    fn member(&mut self, function: &Function, root: &Path, manifest: &Path) -> Result<Option<Package>, BuildError> {
        if !self.known.contains_key(root) {
            let packages = self.packages(function, root)?;
            self.known.insert(root.to_owned(), packages);
        }
        Ok(self.known[root].iter().find(|package| package.manifest_path == manifest).cloned())
    }

    fn packages(&self, function: &Function, root: &Path) -> Result<Vec<Package>, BuildError> {
        #[derive(Deserialize)]
        struct Metadata {
            packages: Vec<Package>,
        }
        let mut cargo = self.toolchain.cargo(root);
        let output = self.toolchain.ask(cargo.args(["metadata", "--no-deps", "--format-version", "1"]))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said: Vec<_> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            return Err(BuildError::function(
                function,
                format!("cargo cannot read {}: {}", root.display(), said.join("; ")),
            ));
        }
        let read = serde_json::from_slice::<Metadata>(&output.stdout);
        read.map(|metadata| metadata.packages).map_err(|error| {
            BuildError::function(
                function,
                format!("cargo's description of {} is not understood: {error}", root.display()),
            )
        })
    }
}

/// The handler's manifest, absolute and without links, as cargo names it.
fn manifest(stack: &Stack, function: &Function) -> Result<PathBuf, BuildError> {
    if function.handler.as_os_str().is_empty() {
        return Err(BuildError::function(
            function,
            format!("it has no handler; name its folder in {}", stack.path.display()),
        ));
    }
    let folder = stack.locate(&function.handler);
    let manifest = folder.join("Cargo.toml");
    match fs::canonicalize(&manifest) {
        Ok(manifest) => Ok(manifest),
        Err(_) if !folder.is_dir() => {
            let why =
                format!("there is no folder {}; correct its handler in {}", folder.display(), stack.path.display());
            Err(BuildError::function(function, why))
        }
        Err(_) => {
            let why = format!(
                "{} is missing, and lang {LANG} is a cargo package (`faas-cli new --lang {LANG}` writes one)",
                manifest.display()
            );
            Err(BuildError::function(function, why))
        }
    }
}

fn is_workspace(manifest: &Path) -> bool {
    let text = fs::read_to_string(manifest).unwrap_or_default();
    text.lines().any(|line| line.trim().starts_with("[workspace]"))
}

/// Whether a workspace says itself how functions are built.
pub(super) fn has_profile(root: &Path) -> bool {
    let text = fs::read_to_string(root.join("Cargo.toml")).unwrap_or_default();
    text.lines().any(|line| line.trim().starts_with("[profile.function]"))
}
