//! Lays out a function from the template, as `faas-cli build --shrinkwrap` does: the template's files in
//! `./build/NAME`, the handler's in its `function` folder.
//!
//! A file that has not changed is not touched, so that cargo sees what has.

use super::{BuildError, LANG};
use stack::{Function, Stack};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Folders of a handler that are no source: faas-cli leaves out the first two, the others cargo and git make.
const LEFT_OUT: [&str; 4] = ["build", "template", "target", ".git"];
/// What cargo writes into the folder itself.
const CARGOS: [&str; 2] = ["Cargo.lock", "target"];

/// Lays out and returns the folder, absolute.
pub(super) fn lay_out(stack: &Stack, function: &Function, handler: &Path) -> Result<PathBuf, BuildError> {
    let template = stack.locate(&Path::new("template").join(LANG));
    if !template.join("Cargo.toml").is_file() {
        let why = format!(
            "{} is in no cargo workspace, and there is no {} to build it with; copy template/{LANG} from Crema's \
             repository, or `faas-cli template pull` it",
            handler.display(),
            template.display()
        );
        return Err(BuildError::function(function, why));
    }
    let name = Path::new(&function.name);
    if name.file_name() != Some(name.as_os_str()) {
        return Err(BuildError::function(function, "its name cannot be a folder's name"));
    }
    let beside = template.parent().and_then(Path::parent).unwrap_or_else(|| Path::new(""));
    let place = beside.join("build").join(name);
    fs::create_dir_all(&place).map_err(BuildError::io("create", &place))?;
    let place = fs::canonicalize(&place).map_err(BuildError::io("find", &place))?;
    let mut wanted = Vec::new();
    let from_template = |path: &Path| path.starts_with("function") || path.starts_with("target");
    collect(&template, &mut wanted, &|path| from_template(path))?;
    let mut handlers = Vec::new();
    collect(handler, &mut handlers, &|path| LEFT_OUT.iter().any(|name| path == Path::new(name)))?;
    let sources = wanted.into_iter().map(|path| (template.join(&path), path));
    let sources =
        sources.chain(handlers.into_iter().map(|path| (handler.join(&path), Path::new("function").join(path))));
    let mut kept = BTreeSet::new();
    for (from, to) in sources {
        copy(&from, &place.join(&to)).map_err(BuildError::io("copy", &from))?;
        kept.insert(to);
    }
    let mut there = Vec::new();
    collect(&place, &mut there, &|path| CARGOS.iter().any(|name| path == Path::new(name)))?;
    for stale in there.into_iter().filter(|path| !kept.contains(path)) {
        let stale = place.join(stale);
        fs::remove_file(&stale).map_err(BuildError::io("remove", &stale))?;
    }
    Ok(place)
}

/// All files below a folder, as paths relative to it, but for what `left_out` says of such a path.
fn collect(folder: &Path, found: &mut Vec<PathBuf>, left_out: &dyn Fn(&Path) -> bool) -> Result<(), BuildError> {
    let mut todo = vec![PathBuf::new()];
    while let Some(path) = todo.pop() {
        let here = folder.join(&path);
        let entries = fs::read_dir(&here).map_err(BuildError::io("read", &here))?;
        for entry in entries {
            let path = path.join(entry.map_err(BuildError::io("read", &here))?.file_name());
            if left_out(&path) {
                continue;
            }
            let place = folder.join(&path);
            let kind = fs::metadata(&place).map_err(BuildError::io("read", &place))?;
            if kind.is_dir() {
                todo.push(path);
            } else {
                found.push(path);
            }
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let bytes = fs::read(from)?;
    if fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(to, bytes)
}
