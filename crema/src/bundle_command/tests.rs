use super::*;
use clap::Parser;
use std::fs;
use tempfile::TempDir;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    command: BundleCommand,
}

fn run(arguments: &[&str]) -> anyhow::Result<String> {
    let line = Line::try_parse_from(["bundle"].iter().chain(arguments))?;
    let mut out = Vec::new();
    line.command.run(&mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn text(folder: &TempDir, path: &str) -> String {
    folder.path().join(path).to_str().unwrap().to_owned()
}

#[test]
fn a_stick_is_made_signed_checked_installed_and_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let place = |path: &str| text(&folder, path);
    fs::create_dir(place("root")).unwrap();
    run(&["keygen", "-o", &place("k")]).unwrap();
    let said = run(&["keygen", "-o", &place("k")]).unwrap_err().to_string();
    assert!(said.contains("cannot create"), "{said}");
    let create = |version: &str| {
        let manifest =
            format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{version: \"{version}\"}}\n");
        fs::write(place("a.yaml"), manifest).unwrap();
        let (manifest, archive, key) = (place("a.yaml"), place(&format!("{version}.tar")), place("k.key"));
        let more = ["--manifests", &manifest, "--sign-key", &key, "-o", &archive];
        run(&[&["create", "--version", version][..], &more].concat()).unwrap();
        archive
    };
    let (one, two) = (create("1"), create("2"));
    let (root, public) = (place("root"), place("k.pub"));
    let install = |archive: &str, more: &[&str]| {
        run(&[&["install", archive, "--root", &root, "--verify-key", &public][..], more].concat()).unwrap()
    };
    assert!(run(&["verify", &one, "--verify-key", &public]).unwrap().contains("signed by the owner of the key"));
    let said = install(&one, &["--dry-run"]);
    assert!(said.contains("would be put in place") && said.contains("nothing was changed"), "{said}");
    assert!(fs::read_dir(&root).unwrap().next().is_none());
    assert!(install(&one, &[]).contains("Version 1 is installed"));
    assert!(install(&one, &[]).contains("nothing changed"));
    assert!(install(&two, &[]).contains("`crema bundle rollback` puts 1 back"));
    assert!(run(&["status", "--root", &root]).unwrap().contains("in place: 2\nbefore:   1"));
    assert!(run(&["rollback", "--root", &root]).unwrap().contains("Version 1 is put back"));
    fs::remove_file(format!("{root}/{DATA_DIR}/server/manifests/crema-50-a.yaml")).unwrap();
    assert!(run(&["status", "--root", &root]).unwrap_err().to_string().contains("not whole"));
}

#[test]
fn what_is_no_bundle_or_no_place_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = text(&folder, "foreign.tar");
    fs::write(&foreign, "hello").unwrap();
    let nowhere = text(&folder, "nowhere");
    for (arguments, expected) in [
        (&["verify", &foreign][..], "is no Crema bundle"),
        (&["install", &foreign, "--root", &nowhere], "is the disk mounted?"),
        (&["rollback", "--root", &text(&folder, "")], "no bundle was installed here"),
        (&["create", "-o", &nowhere], "nothing to put in"),
        (&["create", "-o", &nowhere, "--images", &text(&folder, "")], "crema image build --platform-images"),
        (&["verify", "/no/such.tar"], "cannot read /no/such.tar"),
        (&["verify", &foreign, "--verify-key", &foreign], "holds no key"),
    ] {
        let error = format!("{:#}", run(arguments).unwrap_err());
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}
