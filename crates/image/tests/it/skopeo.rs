//! The real skopeo, both ways; skipped by name where it is not installed.

use crate::support::{hello, reference, store};
use std::path::Path;
use std::process::Command;

fn skopeo(arguments: &[&str]) -> Option<String> {
    let output = match Command::new("skopeo").arg("--insecure-policy").args(arguments).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            note("SKIPPED skopeo: it is not on the PATH; apt-get install skopeo");
            return None;
        }
        output => output.unwrap(),
    };
    assert!(output.status.success(), "skopeo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn note(text: &str) {
    eprintln!("{text}");
}

#[test]
fn skopeo_reads_the_store_and_both_forms_of_an_export() {
    let (directory, store) = store();
    let image = hello(&store, "owner/hello:1");
    let archive = directory.path().join("hello.tar");
    store.export(&[reference("owner/hello:1")], std::fs::File::create(&archive).unwrap()).unwrap();
    for source in [
        format!("oci:{}:owner/hello:1", store.directory().display()),
        format!("oci-archive:{}:owner/hello:1", archive.display()),
        format!("docker-archive:{}:owner/hello:1", archive.display()),
    ] {
        let Some(inspected) = skopeo(&["inspect", "--config", &source]) else { return };
        assert!(inspected.contains("\"/function\"") && inspected.contains("com.crema.serves"), "{source}: {inspected}");
        let copy = directory.path().join("copy");
        skopeo(&["copy", "-q", &source, &format!("dir:{}", copy.display())]).unwrap();
        assert!(copy.join("manifest.json").exists());
    }
    let inspected = skopeo(&["inspect", &format!("oci:{}:owner/hello:1", store.directory().display())]).unwrap();
    assert!(inspected.contains(&image.digest), "{inspected}");
}

#[test]
fn what_skopeo_writes_is_imported_as_it_was() {
    let (directory, from) = store();
    let image = hello(&from, "owner/hello:1");
    let source = format!("oci:{}:owner/hello:1", from.directory().display());
    for (form, name, digest_kept) in [
        ("oci-archive", "owner/hello:1", true),
        ("docker-archive", "owner/hello:1", false),
        ("oci-archive", "ghcr.io/owner/hello:2", true),
    ] {
        let archive = directory.path().join(format!("{form}-{}.tar", name.len()));
        let target = format!("{form}:{}:{name}", archive.display());
        if skopeo(&["copy", "-q", &source, &target]).is_none() {
            return;
        }
        let (_other, to) = store();
        let imported = to.import(std::fs::File::open(Path::new(&archive)).unwrap(), None).unwrap();
        assert!(to.find(&reference(name)).unwrap().is_some(), "{target}");
        assert_eq!(imported[0].config, image.config);
        assert!(!digest_kept || imported[0].digest == image.digest);
        let root = to.unpack(&imported[0]).unwrap();
        assert_eq!(std::fs::read_to_string(root.join("function")).unwrap(), "hello");
    }
}
