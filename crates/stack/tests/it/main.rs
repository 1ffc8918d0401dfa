//! What the real faas-cli sent for these files, and what must be said about bad ones.
//!
//! `fixtures/deploy-yaml.jsonl` holds runs of faas-cli 0.18.12: the files, the environment, the bodies it sent.
#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use serde_json::Value;
use stack::{Stack, StackError};
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::TempDir;

fn read(files: &[(&str, &str)], env: &BTreeMap<String, String>, name: &str) -> (TempDir, Result<Stack, StackError>) {
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let stack = Stack::read(&directory.path().join(name), |name| env.get(name).cloned());
    (directory, stack)
}

fn read_one(text: &str) -> Result<Stack, StackError> {
    read(&[("stack.yml", text)], &BTreeMap::new(), "stack.yml").1
}

fn recordings() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/deploy-yaml.jsonl");
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_is_deployed_is_what_faas_cli_sends() {
    let mut compared = 0;
    for run in recordings() {
        let files: BTreeMap<String, String> = serde_json::from_value(run["files"].clone()).unwrap();
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let env = serde_json::from_value(run["env"].clone()).unwrap();
        let (_directory, outcome) = read(&files, &env, run["argv"][3].as_str().unwrap());
        let case = run["case"].as_str().unwrap();
        if run["exit"] != 0 {
            assert!(outcome.is_err(), "{case}: faas-cli says {}", run["stdout"]);
            continue;
        }
        let by_name = |body: &Value| body["service"].as_str().unwrap_or_default().to_owned();
        let deployments = outcome.unwrap_or_else(|error| panic!("{case}: {error}")).deployments();
        let mut ours: Vec<Value> = deployments
            .iter()
            .map(|deployment| {
                let mut body = serde_json::to_value(deployment).unwrap();
                // faas-cli always sends these two.
                for always in ["labels", "annotations"] {
                    body.as_object_mut().unwrap().entry(always).or_insert_with(|| Value::Object(Default::default()));
                }
                body
            })
            .collect();
        let mut theirs: Vec<Value> = run["bodies"].as_array().unwrap().clone();
        ours.sort_by_key(by_name);
        theirs.sort_by_key(by_name);
        assert_eq!(ours, theirs, "{case}");
        compared += 1;
    }
    assert!(compared >= 8, "{compared}");
}

const HEAD: &str = "provider:\n  name: openfaas\nfunctions:\n";

#[test]
fn scalars_stay_as_they_are_written() {
    let text = format!(
        "{HEAD}  f:\n    image: a/b:1\n    environment:\n      HEX: 0x10\n      EXP: 1e3\n      REAL: 1.50\n      \
         YES: yes\n      BOOL: True\n      OCT: 0755\n      NOTHING:\n      TILDE: ~\n      QUOTED: \"null\"\n      \
         DATE: 2026-01-02\n      LONG: |\n        two\n        lines\n      UNDER: 1_000\n      true: key\n      7: seven\n"
    );
    let stack = read_one(&text).unwrap();
    let environment = &stack.functions[0].environment;
    for (name, expected) in [
        ("HEX", "0x10"),
        ("EXP", "1e3"),
        ("REAL", "1.50"),
        ("YES", "yes"),
        ("BOOL", "True"),
        ("OCT", "0755"),
        ("NOTHING", ""),
        ("TILDE", ""),
        ("QUOTED", "null"),
        ("DATE", "2026-01-02"),
        ("LONG", "two\nlines\n"),
        ("UNDER", "1_000"),
        ("true", "key"),
        ("7", "seven"),
    ] {
        assert_eq!(environment.get(name).map(String::as_str), Some(expected), "{name}");
    }
}

#[test]
fn anchors_and_merges_are_followed() {
    let text = format!(
        "x-common: &common\n  limits: {{memory: 64Mi}}\n  environment: &env {{A: 1, B: 2}}\n{HEAD}  f:\n    <<: *common\n    \
         image: a/b:1\n  g:\n    image: a/c:1\n    environment:\n      <<: *env\n      B: 3\n"
    );
    let stack = read_one(&text).unwrap();
    assert_eq!(stack.functions[0].limits.as_ref().unwrap().memory, "64Mi");
    assert_eq!(stack.functions[0].environment["A"], "1");
    assert_eq!((&*stack.functions[1].environment["A"], &*stack.functions[1].environment["B"]), ("1", "3"));
}

#[test]
fn every_field_is_read_and_null_is_empty() {
    let text = format!(
        "version: \"1.0\"\n{HEAD}  f:\n    lang: rust\n    handler: ./f\n    image: a/b\n    namespace: shop\n    \
         skip_build: true\n    readonly_root_filesystem: true\n    build_args: {{X: 1}}\n    secrets: [s]\n    labels:\n    \
         limits:\n    environment: null\n    platforms: ignored\n  empty-but-image:\n    image: a/c@sha256:{}\n",
        "a".repeat(64)
    );
    let stack = read_one(&text).unwrap();
    let function = stack.functions.iter().find(|function| function.name == "f").unwrap();
    assert_eq!(
        (&*function.lang, function.handler.as_path(), &*function.image),
        ("rust", Path::new("./f"), "a/b:latest")
    );
    assert!(function.skip_build && function.readonly_root_filesystem && function.labels.is_empty());
    assert_eq!((&*function.namespace, &*function.build_args["X"], &function.limits), ("shop", "1", &None));
    assert!(stack.functions[0].image.ends_with(&"a".repeat(64)));
}

#[test]
fn a_bad_file_is_refused_with_its_place_and_what_to_do() {
    let function = |text: &str| format!("{HEAD}  f:\n    image: a/b:1\n{text}");
    for (text, place, expected) in [
        (String::new(), "stack.yml: ", "names no provider"),
        ("functions: [\n".to_owned(), "stack.yml:", ""),
        ("hello".to_owned(), "stack.yml:1: ", ""),
        (HEAD.to_owned(), "stack.yml: ", "no functions"),
        ("version: 2.0\n".to_owned() + HEAD, "stack.yml: ", "version 2.0 is not known"),
        ("version: 1\n".to_owned() + HEAD, "stack.yml: ", "version 1 is not known"),
        ("provider:\n  name: faas\n".to_owned(), "stack.yml: ", "provider \"faas\""),
        (format!("{HEAD}  f: {{}}\n"), "stack.yml: ", "function f: it has no image"),
        (format!("{HEAD}  f:\n"), "stack.yml: ", "function f: it has no image"),
        (function("    secrets: api-key\n"), "stack.yml:6: ", ""),
        (function("    image: a/b:2\n"), "stack.yml:6: ", "duplicate"),
        (function("    environment:\n      A: 1\n      A: 2\n"), "stack.yml:8: ", "duplicate"),
        (function("  f:\n    image: a/b:2\n"), "stack.yml:6: ", "duplicate"),
        (function("    environment: [a]\n"), "stack.yml:6: ", ""),
        (function("    environment:\n      A: {b: c}\n"), "stack.yml:7: ", ""),
        (function("    skip_build: perhaps\n"), "stack.yml:6: ", ""),
        (function("\t- x\n"), "stack.yml:5: ", "tab"),
        (function("    labels: *nowhere\n"), "stack.yml:6: ", ""),
        (function("    namespace: ${A-b}\n"), "stack.yml:6: ", "closing brace"),
        (function("    environment_file: [none.yml]\n"), "none.yml: ", "there is no such file"),
    ] {
        let error = read_one(&text).unwrap_err().to_string();
        assert!(error.contains(place) && error.contains(expected), "{text:?}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
    let missing = Stack::read(Path::new("/no/such/stack.yml"), |_| None).unwrap_err().to_string();
    assert!(missing.contains("/no/such/stack.yml: there is no such file") && missing.contains("-f"), "{missing}");
    let directory = Stack::read(Path::new("/"), |_| None).unwrap_err().to_string();
    assert!(directory.contains("is a directory"), "{directory}");
}

#[test]
fn a_file_of_endless_aliases_is_refused() {
    let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 10].join(",");
        text += &format!("a{level}: &a{level} [{items}]\n");
    }
    text += HEAD;
    text += "  f:\n    image: a/b:1\n    scale: *a11\n";
    assert!(read_one(&text).is_err());
}
