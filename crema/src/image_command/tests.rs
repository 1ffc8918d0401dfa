use super::*;
use clap::Parser;
use tempfile::TempDir;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    command: ImageCommand,
}

/// A line of arguments, done in a store; what it wrote.
fn run(folder: &TempDir, arguments: &[&str]) -> anyhow::Result<String> {
    let store = Store::open(folder.path().join("images")).unwrap();
    let line = Line::try_parse_from(["image"].iter().chain(arguments))?;
    let mut out = Vec::new();
    line.command.action.run(&store, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

/// Something that looks like a program.
fn program(folder: &TempDir, text: &str) -> String {
    let path = folder.path().join("program");
    std::fs::write(&path, [b"\x7fELF", text.as_bytes()].concat()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn an_image_is_packed_listed_shown_exported_imported_and_removed() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let program = program(&here, "x");
    run(&here, &["build", "--tag", "owner/hello:1", "-e", "A=b=c", "-l", "team=core", &program]).unwrap();
    assert!(run(&here, &["ls"]).unwrap().contains("owner/hello:1"));
    let shown: serde_json::Value = serde_json::from_str(&run(&here, &["inspect", "owner/hello:1"]).unwrap()).unwrap();
    assert_eq!(shown["entrypoint"][0], "/function");
    assert_eq!(shown["env"][0], "A=b=c");
    assert_eq!(
        (&shown["labels"]["com.crema.serves"], &shown["labels"]["team"]),
        (&"unix-socket".into(), &"core".into())
    );
    let archive = here.path().join("out.tar");
    let archive = archive.to_str().unwrap();
    run(&here, &["export", "-o", archive, "owner/hello:1"]).unwrap();
    run(&there, &["import", "--name", "owner/other:2", archive]).unwrap();
    let listed: serde_json::Value = serde_json::from_str(&run(&there, &["ls", "--json"]).unwrap()).unwrap();
    assert_eq!(listed[0]["name"], "owner/other:2");
    assert_eq!(listed[0]["digest"], shown["digest"]);
    run(&there, &["rm", "owner/other:2"]).unwrap();
    assert_eq!(run(&there, &["ls"]).unwrap().lines().count(), 1);
}

#[test]
fn packing_the_same_binary_again_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("images")).unwrap();
    let name = "owner/hello:1".parse().unwrap();
    let path = program(&folder, "x");
    let pack = || Pack::function(Path::new(&path)).store(&store, &name).unwrap();
    let (first, changed) = pack();
    assert!(changed);
    let (second, changed) = pack();
    assert!(!changed && first.digest == second.digest);
    program(&folder, "y");
    let (third, changed) = pack();
    assert!(changed && third.digest != first.digest);
}

#[test]
fn what_cannot_be_done_is_said_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    std::fs::write(&text, "#!/bin/sh\n").unwrap();
    let text = text.to_str().unwrap();
    for (arguments, expected) in [
        (&["build", "--tag", "a/b:1", text][..], "no Linux program"),
        (&["build", "--tag", "a/b:1", "/tmp"], "is a directory"),
        (&["build", "--tag", "a/b:1", "/no/such"], "cannot read /no/such"),
        (&["build", "--tag", "A/B", text], "not a valid reference"),
        (&["build", text], "--tag"),
        (&["build", "-e", "novalue", "--tag", "a/b:1", text], "NAME=VALUE"),
        (&["import", "/no/such.tar"], "cannot read /no/such.tar"),
        (&["import", text], "cannot import"),
        (&["rm", "a/b:1"], "no image a/b:1"),
        (&["inspect", "a/b:1"], "no image a/b:1"),
        (&["export", "-o", "/no/such/folder/x.tar", "a/b:1"], "cannot write /no/such/folder/x.tar"),
        (&["build", "-f", "/no/such/stack.yml"], "no such file"),
    ] {
        let error = format!("{:#}", run(&folder, arguments).unwrap_err());
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    let target = folder.path().join("x.tar");
    run(&folder, &["export", "-o", target.to_str().unwrap(), "a/b:1"]).unwrap_err();
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}
