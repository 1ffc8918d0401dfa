//! The rules of ARCHITECTURE.md and CONTRIBUTING.md that can be read from the tree: who may depend on whom, and how
//! files look.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The most lines a source file may have.
const MOST_LINES: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Package name → (folder relative to the root, normal dependencies).
fn packages() -> BTreeMap<String, (PathBuf, BTreeSet<String>)> {
    let metadata = Command::new("cargo")
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output();
    let Ok(output) = metadata else {
        e2e::skipped("tidy", "cargo cannot be run by this user");
        return BTreeMap::new();
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let manifest = PathBuf::from(text(&package["manifest_path"]));
            let folder = manifest.parent().unwrap().strip_prefix(root()).unwrap().to_owned();
            let normal = package["dependencies"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .map(|dependency| text(&dependency["name"]))
                .collect();
            (text(&package["name"]), (folder, normal))
        })
        .collect()
}

#[test]
fn crates_never_depend_on_what_is_deployed() {
    let packages = packages();
    for (name, (folder, dependencies)) in packages.iter().filter(|(_, (folder, _))| folder.starts_with("crates")) {
        for dependency in dependencies {
            if let Some((other, _)) = packages.get(dependency) {
                assert!(other.starts_with("crates"), "{name} ({}) depends on {dependency}", folder.display());
            }
        }
    }
}

#[test]
fn what_ships_in_every_image_sees_nothing_of_the_platform() {
    let forbidden = [
        "daemon",
        "queue",
        "provider",
        "provider-local",
        "provider-kubernetes",
        "kubernetes",
        "gateway",
        "gateway-client",
        "dispatch",
        "image",
        "stack",
        "kube",
        "bollard",
        "rmqtt",
        "rumqttc",
        "actix-web",
        "opentelemetry",
        "sled",
    ];
    for (name, (folder, dependencies)) in packages() {
        let ships =
            folder.starts_with("functions") || ["watchdog", "function-sdk", "forward", "wire"].contains(&name.as_str());
        let seen: Vec<_> = forbidden.iter().filter(|other| ships && dependencies.contains(**other)).collect();
        assert!(seen.is_empty(), "{name} depends on {seen:?}");
    }
}

#[test]
fn each_technology_has_one_home() {
    for (technology, homes) in [
        ("rmqtt", &["mqtt-broker"][..]),
        ("rumqttc", &["mqtt-connector"]),
        ("croner", &["cron-connector"]),
        ("rusqlite", &["queue", "function-sdk", "order", "payment", "inventory"]),
        ("sled", &["queue"]),
        ("serde-saphyr", &["bundle", "stack"]),
        ("kube", &["kubernetes", "provider-kubernetes", "operator"]),
        ("k8s-openapi", &["kubernetes", "provider-kubernetes", "operator"]),
        ("opentelemetry-otlp", &["daemon"]),
    ] {
        let users: Vec<String> = packages()
            .into_iter()
            .filter(|(name, (_, dependencies))| dependencies.contains(technology) && !homes.contains(&name.as_str()))
            .map(|(name, _)| name)
            .filter(|name| !["e2e", "bench"].contains(&name.as_str()))
            .collect();
        assert!(users.is_empty(), "{technology} belongs in {homes:?}, and {users:?} depend on it");
    }
}

#[test]
fn wire_depends_on_nothing_of_ours() {
    let packages = packages();
    let Some((_, dependencies)) = packages.get("wire") else { return };
    let ours: Vec<_> = dependencies.iter().filter(|name| packages.contains_key(*name)).collect();
    assert!(ours.is_empty(), "{ours:?}");
}

#[test]
fn the_gateway_library_names_no_concrete_provider() {
    // The gateway on its own brings the provider that it is told.
    let own = ["gateway/src/program.rs", "gateway/src/program"];
    let library = |file: &PathBuf| file.starts_with("gateway/src") && !own.iter().any(|own| file.starts_with(own));
    for file in tracked().into_iter().filter(library) {
        let text = std::fs::read_to_string(root().join(&file)).unwrap();
        let named = ["provider_local", "provider_kubernetes"].iter().find(|name| text.contains(**name));
        assert!(named.is_none(), "{} names {named:?}", file.display());
    }
}

#[test]
fn source_files_are_short_and_none_is_called_mod_rs() {
    for file in tracked().into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
        assert_ne!(file.file_name().unwrap(), "mod.rs", "{}", file.display());
        let lines = std::fs::read_to_string(root().join(&file)).unwrap().lines().count();
        assert!(lines <= MOST_LINES, "{} has {lines} lines; the most is {MOST_LINES}", file.display());
    }
}

#[test]
fn no_file_names_a_machine_it_was_written_on() {
    // Put together here, so that this file does not hold them itself.
    let words = [["/wo", "rk/"].concat(), ["/ro", "ot/."].concat()];
    for file in tracked() {
        // `.ci/run` may name its neighbours; fixtures are what a recorder wrote.
        if file.starts_with(".ci") || file.components().any(|part| part.as_os_str() == "fixtures") {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(root().join(&file)) else { continue };
        for word in &words {
            assert!(!text.contains(word.as_str()), "{} holds {word:?}", file.display());
        }
    }
}

#[test]
fn the_tests_that_documents_name_are_there() {
    let sources: Vec<(PathBuf, String)> = tracked()
        .into_iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .map(|file| (file.clone(), std::fs::read_to_string(root().join(&file)).unwrap()))
        .collect();
    let mut named = 0;
    for document in tracked().into_iter().filter(|file| file.starts_with("docs")) {
        let text = std::fs::read_to_string(root().join(&document)).unwrap();
        // What stands between backticks is every second part.
        for (file, test) in text.split('`').skip(1).step_by(2).filter_map(|code| code.split_once(".rs::")) {
            let (file, function) = (format!("{file}.rs"), format!("fn {test}("));
            let is_there = sources.iter().any(|(path, source)| path.ends_with(&file) && source.contains(&function));
            assert!(is_there, "{} names {test} in {file}, which is not there", document.display());
            named += 1;
        }
    }
    assert!(named > 0);
}

#[test]
fn every_property_of_a_level_of_isolation_names_its_tests_or_is_not_given() {
    let text = std::fs::read_to_string(root().join("docs/isolation.md")).unwrap();
    let (_, text) = text.split_once("## What is given").unwrap();
    let (table, tests) = text.split_once("### The tests").unwrap();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| |")).collect();
    assert!(rows.len() > 20);
    for row in rows.into_iter().filter(|row| !row.starts_with("| ---")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        assert_eq!(cells.len(), 4, "{row}");
        for cell in &cells[1..] {
            let numbers = cell.split('[').skip(1).filter_map(|text| text.split_once(']')?.0.parse::<u32>().ok());
            let numbers: Vec<u32> = numbers.collect();
            assert!(!numbers.is_empty() || cell.contains("not given"), "{cell}");
            for number in numbers {
                assert!(tests.contains(&format!("\n{number}. `")), "{cell}: there is no test {number}");
            }
        }
    }
}

#[test]
fn the_documents_table_of_attempts_is_that_of_the_tests() {
    let read = |file: &str| std::fs::read_to_string(root().join(file)).unwrap();
    let (document, tests) = (read("docs/isolation.md"), read("e2e/tests/it/escapes.rs"));
    // A field's text, or that of the constant it names.
    let value = |row: &str, field: &str| {
        let (_, rest) = row.split_once(&format!("{field}: ")).unwrap();
        let rest = match rest.starts_with('"') {
            true => rest,
            false => {
                let name = rest.split(',').next().unwrap();
                tests.split_once(&format!("const {name}: &str =")).unwrap().1
            }
        };
        rest.split('"').nth(1).unwrap().to_owned()
    };
    let (_, table) = tests.split_once("const TABLE").unwrap();
    let (table, _) = table.split_once("\n];").unwrap();
    for row in table.split("Row {").skip(1) {
        let cells = ["full", "userns", "process_root", "process"].map(|field| {
            let cell = value(row, &format!(" {field}"));
            let are_errors = cell.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b' ');
            if are_errors { cell.replace(' ', ", ") } else { cell }
        });
        let line = format!("| {} | {} |", value(row, " tries"), cells.join(" | "));
        assert!(document.contains(&line), "docs/isolation.md lacks {line}");
    }
}

/// The files git tracks, or none outside a checkout.
fn tracked() -> Vec<PathBuf> {
    let output =
        Command::new("git").args(["-c", "safe.directory=*", "ls-files", "-z"]).current_dir(root()).output().unwrap();
    let files: Vec<PathBuf> = String::from_utf8(output.stdout)
        .unwrap()
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
        .filter(|file| root().join(file).is_file())
        .collect();
    assert!(!files.is_empty() || !root().join(".git").exists(), "git lists no files");
    files
}
