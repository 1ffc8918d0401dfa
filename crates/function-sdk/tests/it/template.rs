//! `template/rust` carries the SDK's source, and a workspace in which a function builds alone. Both are copies:
//! this compares them, or writes them with
//!
//! ```sh
//! TEMPLATE=write cargo test -p function-sdk --test it template
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The crates that a function is built of.
const CRATES: [&str; 2] = ["function-sdk", "wire"];

/// Whether to write the copies instead of comparing them.
#[expect(clippy::disallowed_methods, reason = "the only way to tell a test something")]
fn write() -> bool {
    std::env::var("TEMPLATE").is_ok_and(|value| value == "write")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

#[test]
fn the_template_carries_the_sdk_as_it_is_and_a_workspace_that_agrees_with_ours() {
    if !root().join("template/rust").exists() {
        // This is the template's own copy, or a package of the crate.
        return;
    }
    let template = root().join("template/rust");
    let mut wanted = BTreeMap::from([
        (PathBuf::from("Cargo.toml"), workspace()),
        (PathBuf::from("clippy.toml"), fs::read_to_string(root().join("clippy.toml")).unwrap()),
    ]);
    for name in CRATES {
        let folder = Path::new("crates").join(name);
        for file in files(&root().join(&folder)) {
            if file == Path::new("Cargo.toml") || file.starts_with("src") {
                let text = fs::read_to_string(root().join(&folder).join(&file)).unwrap();
                wanted.insert(folder.join(file), text);
            }
        }
    }
    let there: BTreeSet<PathBuf> =
        files(&template).into_iter().filter(|file| file.starts_with("crates") || wanted.contains_key(file)).collect();
    let mut stale = Vec::new();
    for file in there.iter().filter(|file| !wanted.contains_key(*file)) {
        stale.push(file);
        if write() {
            fs::remove_file(template.join(file)).unwrap();
        }
    }
    for (file, text) in &wanted {
        if fs::read_to_string(template.join(file)).ok().as_ref() != Some(text) {
            stale.push(file);
            if write() {
                fs::create_dir_all(template.join(file).parent().unwrap()).unwrap();
                fs::write(template.join(file), text).unwrap();
            }
        }
    }
    let advice = "run TEMPLATE=write cargo test -p function-sdk --test it template";
    assert!(write() || stale.is_empty(), "template/rust differs in {stale:?}: {advice}");
}

/// The template's workspace: the parts of ours that a function can lean on.
fn workspace() -> String {
    let ours = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut names: BTreeSet<String> = CRATES.iter().map(|name| (*name).to_owned()).collect();
    let functions = fs::read_dir(root().join("functions")).unwrap().map(|entry| entry.unwrap().path());
    let crates = CRATES.iter().map(|name| root().join("crates").join(name));
    for folder in functions.chain(crates).chain([root().join("template/rust/function")]) {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        names.extend(manifest.lines().filter_map(inherited));
    }
    let dependencies: Vec<&str> =
        ours.lines().filter(|line| line.split_once(" = ").is_some_and(|(name, _)| names.contains(name))).collect();
    let found: BTreeSet<&str> = dependencies.iter().filter_map(|line| Some(line.split_once(" = ")?.0)).collect();
    assert_eq!(found, names.iter().map(String::as_str).collect::<BTreeSet<_>>());
    let mut text = String::from(
        "# What a function is built in: the folder `function` beside the SDK's source. Written by a test of the SDK.\n\
         [workspace]\nresolver = \"3\"\nmembers = [\"function\", \"crates/*\"]\n\n",
    );
    text.push_str(&section(&ours, "workspace.package"));
    text.push_str(&format!("[workspace.dependencies]\n{}\n\n", dependencies.join("\n")));
    for name in ["workspace.lints.rust", "workspace.lints.clippy", "profile.release", "profile.function"] {
        text.push_str(&section(&ours, name));
    }
    text.trim_end().to_owned() + "\n"
}

/// The name of a dependency that a manifest's line takes from its workspace.
fn inherited(line: &str) -> Option<String> {
    let (name, rest) = line.split_once(['.', ' '])?;
    let is_package_field = ["version", "edition", "rust-version", "license", "repository", "publish"].contains(&name);
    (rest.contains("workspace = true") && !is_package_field && !line.starts_with('#')).then(|| name.to_owned())
}

/// A table of a manifest, without its comments, with an empty line behind.
fn section(manifest: &str, name: &str) -> String {
    let header = format!("[{name}]");
    let lines = manifest.lines().skip_while(|line| *line != header);
    let body: Vec<&str> = lines
        .enumerate()
        .take_while(|(number, line)| *number == 0 || !line.starts_with('['))
        .map(|(_, line)| line)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    assert!(!body.is_empty(), "no {header} in Cargo.toml");
    body.join("\n") + "\n\n"
}

/// The files beneath a folder, by their path in it, without what a build leaves behind.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.is_file() {
                found.push(path.strip_prefix(folder).unwrap().to_owned());
            }
        }
    }
    found
}
