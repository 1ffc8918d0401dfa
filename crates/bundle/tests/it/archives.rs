use crate::support::{DIGEST, World, files, program, tar};
use bundle::{BundleError, SigningKey, Source, Trust, VerifyKey, generate, verify};
use std::fs;

#[test]
fn the_same_input_gives_the_same_bytes_and_says_what_is_in_it() {
    let (one, other) = (World::new(), World::new());
    let created = one.source().write(&one.path("crema.tar")).unwrap();
    assert_eq!(created.notes, Vec::<String>::new());
    assert_eq!(fs::read(one.path("crema.tar")).unwrap(), fs::read(other.bundle()).unwrap());
    let contents = verify(&one.path("crema.tar"), None).unwrap();
    assert_eq!((contents.metadata.version.as_str(), contents.trust), ("1.0.0", Trust::Unsigned));
    assert_eq!(contents.metadata.images, [format!("docker.io/crema/gateway:1.0.0@{DIGEST}")]);
    let names: Vec<_> = contents.sizes.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["images/10-crema-gateway-1.0.0-amd64.tar", "manifests/crema-50-pod.yaml"]);
}

#[test]
fn a_bundle_cut_short_anywhere_or_with_a_bit_turned_is_refused() {
    let world = World::new();
    let whole = fs::read(world.bundle()).unwrap();
    let path = world.path("bad.tar");
    let used = whole.len() - 1024;
    for end in (0..used).step_by(97) {
        fs::write(&path, &whole[..end]).unwrap();
        let error = verify(&path, None).unwrap_err();
        assert!(matches!(error, BundleError::Damaged { .. } | BundleError::Foreign { .. }), "{end}: {error}");
    }
    for (name, bytes) in files(&world.path("crema.tar")) {
        let at = whole.windows(bytes.len()).position(|window| window == bytes).unwrap();
        for offset in [0, bytes.len() / 2, bytes.len() - 1] {
            let mut bad = whole.clone();
            bad[at + offset] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(verify(&path, None).is_err(), "{name} {offset}");
        }
    }
    fs::write(&path, &whole[..used]).unwrap();
    verify(&path, None).unwrap();
}

#[test]
fn what_does_not_belong_in_a_bundle_is_refused_by_name() {
    let world = World::new();
    let sound = files(&world.bundle());
    let path = world.path("bad.tar");
    let refuse = |files: Vec<(&str, &[u8])>, expected: &str| {
        fs::write(&path, tar(&files)).unwrap();
        let error = verify(&path, None).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    };
    let all = || sound.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect::<Vec<_>>();
    for name in ["../../etc/cron.d/x", "/etc/passwd", "images/../x.tar", "images/other.tar", "x"] {
        refuse([all(), vec![(name, b"x")]].concat(), "is not listed");
    }
    refuse([all(), vec![all()[2]]].concat(), "twice");
    refuse(all()[..3].to_vec(), "is missing");
    refuse(all()[1..].to_vec(), "does not begin with SHA256SUMS");
    refuse([&all()[..1], &all()[2..]].concat(), "crema-bundle.json is missing");
    refuse(vec![("oci-layout", b"{}")], "is no Crema bundle");
    let list = |text: &str| text.as_bytes().to_vec();
    let digest = "0".repeat(64);
    for (text, expected) in [
        ("hello".to_owned(), "is none of `sha256sum`"),
        (format!("{digest}  ../x.tar\n"), "does not belong"),
        (format!("{digest}  images/../x.tar\n"), "no plain file name"),
        ("short  images/x.tar\n".to_owned(), "no digest"),
        (format!("{digest}  images/x.tar\n"), "does not list crema-bundle.json"),
    ] {
        refuse(vec![("SHA256SUMS", &list(&text)), ("crema-bundle.json", b"{}")], expected);
    }
    let metadata = br#"{"format": 2, "version": "1"}"#;
    let sum = sha256(metadata);
    refuse(
        vec![("SHA256SUMS", format!("{sum}  crema-bundle.json\n").as_bytes()), ("crema-bundle.json", metadata)],
        "format 2",
    );
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_link_or_a_device_in_a_bundle_is_refused() {
    let world = World::new();
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    archive.append_link(&mut header, "SHA256SUMS", "/etc/shadow").unwrap();
    fs::write(world.path("bad.tar"), archive.into_inner().unwrap()).unwrap();
    let error = verify(&world.path("bad.tar"), None).unwrap_err().to_string();
    assert!(error.contains("no plain file"), "{error}");
}

#[test]
fn only_the_owner_of_the_key_is_trusted() {
    let world = World::new();
    for name in ["a", "b"] {
        generate(&world.path(&format!("{name}.key")), &world.path(&format!("{name}.pub"))).unwrap();
    }
    let public = |name: &str| VerifyKey::read(&world.path(name)).unwrap();
    let signed = world.path("signed.tar");
    Source { key: Some(SigningKey::read(&world.path("a.key")).unwrap()), ..world.source() }.write(&signed).unwrap();
    assert_eq!(verify(&signed, Some(&public("a.pub"))).unwrap().trust, Trust::Signed);
    assert_eq!(verify(&signed, None).unwrap().trust, Trust::Unchecked);
    let refused = |error: BundleError| matches!(error, BundleError::Untrusted { .. });
    assert!(refused(verify(&signed, Some(&public("b.pub"))).unwrap_err()));
    assert!(refused(verify(&world.bundle(), Some(&public("a.pub"))).unwrap_err()));
    // Everything made anew but the signature.
    let mut forged: Vec<_> = files(&world.path("crema.tar"));
    forged.insert(1, files(&signed)[1].clone());
    forged[0].1.extend(b"\n");
    let forged: Vec<_> = forged.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
    fs::write(world.path("forged.tar"), tar(&forged)).unwrap();
    assert!(refused(verify(&world.path("forged.tar"), Some(&public("a.pub"))).unwrap_err()));
    assert!(SigningKey::read(&world.path("a.pub")).is_err() && VerifyKey::read(&world.path("a.key")).is_err());
}

#[test]
fn openssl_and_sha256sum_check_a_bundle_too() {
    let world = World::new();
    let text = |path: &str| world.path(path).to_str().unwrap().to_owned();
    generate(&world.path("a.key"), &world.path("a.pub")).unwrap();
    let key = Some(SigningKey::read(&world.path("a.key")).unwrap());
    Source { key, ..world.source() }.write(&world.path("signed.tar")).unwrap();
    for (name, bytes) in files(&world.path("signed.tar")) {
        world.write(&format!("x/{name}"), "");
        fs::write(world.path(&format!("x/{name}")), bytes).unwrap();
    }
    let test = "openssl_and_sha256sum_check_a_bundle_too";
    let sums = std::process::Command::new("sha256sum").args(["-c", "SHA256SUMS"]).current_dir(world.path("x")).output();
    assert!(sums.unwrap().status.success());
    let (public, signature, list) = (text("a.pub"), text("x/SHA256SUMS.sig"), text("x/SHA256SUMS"));
    let arguments = ["pkeyutl", "-verify", "-pubin", "-inkey", &public, "-rawin", "-in", &list, "-sigfile", &signature];
    let Some(output) = program(test, "openssl", &arguments) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // And a key of openssl signs.
    let (theirs, public) = (text("theirs.key"), text("theirs.pub"));
    program(test, "openssl", &["genpkey", "-algorithm", "ed25519", "-out", &theirs]).unwrap();
    program(test, "openssl", &["pkey", "-in", &theirs, "-pubout", "-out", &public]).unwrap();
    let key = Some(SigningKey::read(&world.path("theirs.key")).unwrap());
    Source { key, ..world.source() }.write(&world.path("signed.tar")).unwrap();
    let key = VerifyKey::read(&world.path("theirs.pub")).unwrap();
    assert_eq!(verify(&world.path("signed.tar"), Some(&key)).unwrap().trust, Trust::Signed);
}

#[test]
fn what_would_not_work_in_a_store_is_said_when_the_bundle_is_made() {
    let world = World::new();
    world.image("20-sensor.tar", "docker.io/other/sensor:2");
    world.write(
        "manifests/more/f.yaml",
        "apiVersion: openfaas.com/v1\nkind: Function\nmetadata: {name: f}\nspec: {image: a/f}\n---\napiVersion: v1\n\
         kind: Secret\nmetadata: {name: s}\n---\napiVersion: openfaas.com/v1\nkind: Function\nmetadata: {name: g}\n\
         spec: {image: \"a/g:1\"}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: q}\nspec: {image: \"other/sensor:2\"}\n",
    );
    let source = Source { archives: vec![world.path("20-sensor.tar")], ..world.source() };
    let notes = source.write(&world.path("crema.tar")).unwrap().notes.join("\n");
    for expected in
        ["Function f runs a/f: Kubernetes pulls latest", "Function g runs a/g:1, which is not in", "Secret s"]
    {
        assert!(notes.contains(expected), "{notes}");
    }
    assert!(!notes.contains("sensor"), "{notes}");
}

#[test]
fn what_cannot_be_bundled_is_refused_and_leaves_no_file() {
    let world = World::new();
    let refuse = |source: Source, expected: &str| {
        let error = source.write(&world.path("none.tar")).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(!world.path("none.tar").exists());
    };
    refuse(Source { version: Some("1 0".to_owned()), ..world.source() }, "is no version");
    refuse(Source { platform: Some("linux/arm64".to_owned()), ..world.source() }, "lists no images for linux/arm64");
    refuse(Source { archives: vec![world.path("images/images.lock")], ..world.source() }, "K3s takes no images");
    world.write("bad/a.yaml", "kind: [");
    refuse(Source { manifests: vec![world.path("bad")], ..world.source() }, "crema-50-a.yaml cannot be used");
    world.write("empty/readme", "");
    refuse(Source { manifests: vec![world.path("empty")], ..world.source() }, "holds no manifests");
    let image = world.path("images/gateway-1.0.0-amd64.tar");
    let whole = fs::read(&image).unwrap();
    fs::write(&image, &whole[..whole.len() - 3000]).unwrap();
    refuse(world.source(), "no whole archive");
    world
        .write("images/images.lock", &format!("docker.io/a/b:1@{} linux/amd64 gateway-1.0.0-amd64.tar\n", "sha256:00"));
    fs::write(&image, &whole).unwrap();
    refuse(world.source(), "does not hold");
}
