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
    pub(super) version: String,
    pub(super) license: Option<String>,
    pub(super) repository: Option<String>,
    pub(super) description: Option<String>,
    targets: Vec<Target>,
}

/// A workspace as `cargo metadata` has it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Workspace {
    #[serde(rename = "workspace_root")]
    pub(super) root: PathBuf,
    pub(super) packages: Vec<Package>,
}

impl Workspace {
    /// The workspace a folder is in; what is wrong with it becomes the error that `refuse` makes of it.
    pub(super) fn read(
        toolchain: &Toolchain,
        folder: &Path,
        refuse: impl Fn(String) -> BuildError,
    ) -> Result<Self, BuildError> {
        let mut cargo = toolchain.cargo(folder);
        let output = toolchain.ask(cargo.args(["metadata", "--no-deps", "--format-version", "1"]))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said: Vec<_> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            return Err(refuse(format!("cargo cannot read {}: {}", folder.display(), said.join("; "))));
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|error| refuse(format!("cargo's description of {} is not understood: {error}", folder.display())))
    }
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
            let workspace = Workspace::read(self.toolchain, root, |why| BuildError::function(function, why))?;
            self.known.insert(root.to_owned(), workspace.packages);
        }
        Ok(self.known[root].iter().find(|package| package.manifest_path == manifest).cloned())
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
