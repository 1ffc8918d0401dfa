//! Archives of other tools, and ours.

use crate::support::{
    Archive, archive_of, file, gzip, hello, hello_saying, here, hex, raw, reference, store, symlink, tar, tree,
};
use rstest::rstest;
use serde_json::json;
use tar::EntryType;

#[test]
fn what_is_exported_is_imported_as_it_was() {
    let (_one, from) = store();
    let (_two, to) = store();
    let (a, b) = (hello(&from, "owner/a:1"), hello_saying(&from, "ghcr.io/owner/b:2", "other"));
    hello(&from, "owner/same:1");
    let names = [reference("owner/a:1"), reference("ghcr.io/owner/b:2"), reference("owner/same:1")];
    let mut archive = Vec::new();
    from.export(&names, &mut archive).unwrap();
    let imported = to.import(&archive[..], None).unwrap();
    let digests: Vec<_> = imported.iter().map(|image| (image.reference.to_string(), image.digest.clone())).collect();
    assert_eq!(
        digests,
        [
            ("owner/a:1".to_owned(), a.digest.clone()),
            ("ghcr.io/owner/b:2".to_owned(), b.digest),
            ("owner/same:1".to_owned(), a.digest)
        ]
    );
    let mut again = Vec::new();
    to.export(&names, &mut again).unwrap();
    assert_eq!(archive, again);
    assert!(from.export(&[reference("owner/none:1")], Vec::new()).is_err());
}

#[test]
fn a_compressed_archive_is_imported_too_and_under_the_name_given() {
    let (_directory, store) = store();
    let archive = gzip(&archive_of(&[vec![file("a", "x")]]));
    let images = store.import(&archive[..], Some(&reference("my/name:7"))).unwrap();
    assert_eq!(images[0].reference.to_string(), "my/name:7");
    assert!(store.find(&reference("owner/test:1")).unwrap().is_none());
}

/// As `docker save` wrote them before version 25: a layer a directory, equal ones as links.
#[rstest]
#[case::plain(false)]
#[case::gzip(true)]
fn a_docker_archive_is_imported_with_its_tags(#[case] compressed: bool) {
    let (_directory, store) = store();
    let layers = [tar(&[file("a", "x")]), tar(&[file("b", "y")])];
    let diff_ids: Vec<_> = layers.iter().chain(&layers[..1]).map(|layer| format!("sha256:{}", hex(layer))).collect();
    let config = json!({"architecture": here(), "os": "linux", "config": {"Cmd": ["/a"], "Env": ["A=b=c", "D"],
        "Labels": null}, "rootfs": {"type": "layers", "diff_ids": diff_ids}})
    .to_string();
    let name = format!("{}.json", hex(config.as_bytes()));
    let manifest = json!([{"Config": name, "RepoTags": ["owner/old:1", "localhost/owner/old:2"],
        "Layers": ["one/layer.tar", "two/layer.tar", "three/layer.tar"]}]);
    let pack = |layer: &[u8]| if compressed { gzip(layer) } else { layer.to_vec() };
    let archive = tar(&[
        raw(EntryType::Regular, "one/layer.tar", "", &pack(&layers[0])),
        raw(EntryType::Regular, "two/layer.tar", "", &pack(&layers[1])),
        symlink("three/layer.tar", "../one/layer.tar"),
        file(&name, &config),
        file("manifest.json", &manifest.to_string()),
        file("repositories", "{}"),
    ]);
    let images = store.import(&archive[..], None).unwrap();
    assert_eq!(images.len(), 2);
    assert_eq!(images[0].config.cmd, ["/a"]);
    assert_eq!(images[0].config.env, [("A".to_owned(), "b=c".to_owned()), ("D".to_owned(), String::new())]);
    assert!(store.find(&reference("owner/old:2")).unwrap().is_some());
    assert_eq!(tree(&store.unpack(&images[1]).unwrap()), ["a = x", "b = y"]);
}

/// Made of `fixtures/Containerfile` by docker 20.10 (`docker save`) and podman 4.3 (`podman save --format …`).
#[rstest]
#[case::docker("docker.tar", "shop/hello:1", include_bytes!("fixtures/docker.tar"))]
#[case::podman("podman.tar", "localhost/shop/hello:1", include_bytes!("fixtures/podman.tar"))]
#[case::podman_oci("podman-oci.tar", "localhost/shop/hello:1", include_bytes!("fixtures/podman-oci.tar"))]
fn what_other_tools_save_is_imported(#[case] file: &str, #[case] name: &str, #[case] archive: &[u8]) {
    if here() != "amd64" {
        eprintln!("SKIPPED {file}: it holds an image for amd64");
        return;
    }
    let (_directory, store) = store();
    let images = store.import(archive, None).unwrap();
    assert_eq!(images.iter().map(|image| image.reference.to_string()).collect::<Vec<_>>(), [name]);
    let config = &images[0].config;
    assert_eq!(
        (config.user.as_str(), config.working_dir.as_str(), config.entrypoint.as_slice(), config.cmd.len()),
        ("1000:1000", "/etc", ["/bin/none".to_owned()].as_slice(), 0)
    );
    assert!(config.env.contains(&("GREETING".to_owned(), "hello".to_owned())), "{:?}", config.env);
    assert_eq!(config.labels["maker"], "test");
    assert_eq!(tree(&store.unpack(&images[0]).unwrap()), ["etc/", "etc/hello.txt = hello from an archive\n"]);
}

#[test]
fn of_several_platforms_this_machines_is_taken() {
    let mut archive = Archive::default();
    let other = archive.image("s390x", &[tar(&[file("other", "x")])]);
    let ours = archive.image(here(), &[tar(&[file("ours", "x")])]);
    let index = json!({"schemaVersion": 2, "manifests": [other, ours]}).to_string();
    let nested = json!({"mediaType": "application/vnd.oci.image.index.v1+json", "digest": archive.blob(index.as_bytes()),
        "size": index.len()});
    let both = archive.clone().named(other.clone(), "a/b:1").named(ours, "a/b:1");
    let (_directory, store) = store();
    for archive in [archive.clone().named(nested, "a/b:1"), both] {
        let images = store.import(&archive.bytes()[..], None).unwrap();
        assert_eq!(tree(&store.unpack(&images[0]).unwrap()), ["ours = x"]);
    }
    let error = store.import(&archive.named(other, "a/b:1").bytes()[..], None).unwrap_err().to_string();
    assert!(error.contains("a/b:1 is for linux/s390x") && error.contains(here()), "{error}");
}

fn nameless(name: Option<&str>) -> Vec<u8> {
    let mut archive = Archive::default();
    let mut descriptor = archive.image(here(), &[tar(&[file("a", "x")])]);
    if let Some(name) = name {
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    }
    archive.manifests.push(descriptor);
    archive.bytes()
}

fn with_blob_changed() -> Vec<u8> {
    let mut archive = Archive::default();
    let descriptor = archive.image(here(), &[tar(&[file("a", "x")])]);
    archive.entries[1].bytes[20] ^= 1;
    archive.named(descriptor, "a/b:1").bytes()
}

fn with_wrong_diff_id() -> Vec<u8> {
    let mut archive = Archive::default();
    let layer = gzip(&tar(&[file("a", "x")]));
    let config = json!({"architecture": here(), "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex(b"other"))]}})
    .to_string();
    let manifest = json!({"schemaVersion": 2,
        "config": {"mediaType": "", "digest": archive.blob(config.as_bytes()), "size": 1},
        "layers": [{"mediaType": "", "digest": archive.blob(&layer), "size": 1}]})
    .to_string();
    let digest = archive.blob(manifest.as_bytes());
    archive.named(json!({"mediaType": "", "digest": digest, "size": 1}), "a/b:1").bytes()
}

fn with_zstd_layer() -> Vec<u8> {
    let mut archive = Archive::default();
    let config = r#"{"rootfs":{"diff_ids":["sha256:00"]}}"#;
    let manifest = json!({"schemaVersion": 2,
        "config": {"mediaType": "", "digest": archive.blob(config.as_bytes()), "size": 1},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+zstd", "digest": archive.blob(b"z"), "size": 1}]})
    .to_string();
    let digest = archive.blob(manifest.as_bytes());
    archive.named(json!({"mediaType": "", "digest": digest, "size": 1}), "a/b:1").bytes()
}

#[rstest]
#[case::nothing(vec![], "neither index.json")]
#[case::no_tar(b"hello, this is no tar at all".repeat(40), "it is no tar")]
#[case::short_text(b"#!/bin/sh\n".to_vec(), "cut short")]
#[case::zstd(vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0], "zstd")]
#[case::a_tar_of_something_else(tar(&[file("readme", "x")]), "neither index.json")]
#[case::cut_short({ let mut all = archive_of(&[vec![file("a", &"x".repeat(5000))]]); all.truncate(1500); all }, "cut short")]
#[case::index_is_no_json(tar(&[file("index.json", "{")]), "index.json is not valid")]
#[case::manifest_is_no_list(tar(&[file("manifest.json", "{}")]), "manifest.json is not valid")]
#[case::no_images(tar(&[file("index.json", "{\"manifests\":[]}")]), "holds no image")]
#[case::blob_missing(tar(&[file("index.json", &format!("{{\"manifests\":[{{\"mediaType\":\"x\",\"digest\":\"sha256:{}\",\"size\":1}}]}}", "a".repeat(64)))]), "cut short")]
#[case::odd_digest(tar(&[file("index.json", r#"{"manifests":[{"mediaType":"x","digest":"sha256:../../x","size":1}]}"#)]), "no sha256 digest")]
#[case::blob_changed(with_blob_changed(), "holds other bytes")]
#[case::wrong_diff_id(with_wrong_diff_id(), "without compression it should be")]
#[case::zstd_layer(with_zstd_layer(), "--dest-compress-format gzip")]
#[case::no_name(nameless(None), "crema image import --name")]
#[case::only_a_tag(nameless(Some("latest")), "only \"latest\"")]
fn what_is_no_image_archive_is_refused_with_a_reason(#[case] archive: Vec<u8>, #[case] expected: &str) {
    let (directory, store) = store();
    let error = store.import(&archive[..], None).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
    assert_eq!(std::fs::read_dir(directory.path().join("images/tmp")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(directory.path().join("images/blobs/sha256")).unwrap().count(), 0);
}
