//! Building, finding, removing; two processes in one store.

use crate::support::{eventually, hello, hello_saying, reference, store};
use image::{Builder, ImageConfig, Store};
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_built_image_is_found_by_its_names_and_unpacks_to_what_went_in() {
    let (_directory, store) = store();
    let built = hello(&store, "owner/hello:1");
    for name in ["owner/hello:1", "docker.io/owner/hello:1", "localhost/owner/hello:1"] {
        assert_eq!(store.find(&reference(name)).unwrap().unwrap().digest, built.digest, "{name}");
    }
    let pinned = reference(&format!("owner/hello@{}", built.digest));
    assert_eq!(store.find(&pinned).unwrap().unwrap().digest, built.digest);
    assert!(store.find(&reference("owner/hello:2")).unwrap().is_none());
    let image = store.find(&reference("owner/hello:1")).unwrap().unwrap();
    assert_eq!(image.config.entrypoint, ["/function"]);
    assert_eq!(image.config.env[0], ("fprocess".to_owned(), "/function --a=b".to_owned()));
    assert_eq!(image.config.labels["com.crema.serves"], "unix-socket");
    let root = store.unpack(&image).unwrap();
    assert_eq!(crate::support::tree(&root), ["etc/", "etc/a/", "etc/a/name = hello", "function = hello", "tmp/"]);
    let mode = |path: &str| root.join(path).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("function"), mode("etc/a/name"), mode("tmp")), (0o755, 0o644, 0o1777));
    assert_eq!(store.unpack(&image).unwrap(), root);
}

#[test]
fn the_same_files_give_the_same_digest() {
    let (_one, first) = store();
    let (_two, second) = store();
    let a = hello(&first, "owner/hello:1");
    assert_eq!(a.digest, hello(&second, "other/name:2").digest);
    assert_ne!(a.digest, hello_saying(&second, "owner/hello:1", "changed").digest);
}

#[test]
fn a_name_moves_to_the_newer_image_and_the_older_is_found_by_its_digest() {
    let (_directory, store) = store();
    let old = hello(&store, "owner/hello:1");
    let new = hello_saying(&store, "owner/hello:1", "changed");
    assert_eq!(store.list().unwrap().len(), 1);
    assert_eq!(store.get(&reference("owner/hello:1")).unwrap().digest, new.digest);
    assert_eq!(store.collect_garbage().unwrap().blobs, 0);
    let pinned = reference(&format!("owner/hello@{}", old.digest));
    assert_eq!(store.unpack(&store.get(&pinned).unwrap()).unwrap(), store.unpack(&old).unwrap());
    store.unpack(&new).unwrap();
    // The name comes back.
    hello(&store, "owner/hello:1");
    assert_eq!(store.get(&reference("owner/hello:1")).unwrap().digest, old.digest);
    assert_eq!(store.get(&pinned).unwrap().digest, old.digest);
}

#[test]
fn removing_frees_what_only_that_image_used() {
    let (_directory, store) = store();
    let kept = hello(&store, "owner/kept:1");
    hello(&store, "owner/same:1");
    hello_saying(&store, "owner/other:1", "other");
    assert_eq!(store.remove(&reference("owner/same:1")).unwrap().blobs, 0);
    assert_eq!(store.remove(&reference("owner/other:1")).unwrap().blobs, 3);
    let unknown = store.remove(&reference("owner/other:1")).unwrap_err().to_string();
    assert!(unknown.contains("owner/other:1") && unknown.contains("crema image ls"), "{unknown}");
    store.unpack(&kept).unwrap();
}

#[test]
fn a_file_system_in_use_stays_until_its_user_is_gone() {
    let (directory, store) = store();
    let image = hello(&store, "owner/hello:1");
    let root = store.unpack(&image).unwrap();
    let other = Store::open(directory.path().join("images")).unwrap();
    assert_eq!(other.remove(&reference("owner/hello:1")).unwrap().unpacked, 0);
    assert!(root.join("function").exists());
    drop(store);
    eventually(|| other.collect_garbage().unwrap().unpacked == 1);
    assert!(!root.exists());
}

#[test]
fn remains_of_a_killed_process_are_cleared_and_no_others() {
    let (directory, store) = store();
    let left = directory.path().join("images/tmp/left");
    std::fs::create_dir_all(left.join("image/rootfs/locked")).unwrap();
    let closed = std::fs::Permissions::from_mode(0o000);
    std::fs::set_permissions(left.join("image/rootfs/locked"), closed).unwrap();
    store.collect_garbage().unwrap();
    assert!(!left.exists());
}

#[test]
fn several_writers_at_a_time_lose_nothing() {
    let (directory, _store) = store();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let path = directory.path().join("images");
            scope.spawn(move || {
                let store = Store::open(path).unwrap();
                let image = hello_saying(&store, &format!("owner/f{number}:1"), &number.to_string());
                store.collect_garbage().unwrap();
                store.unpack(&image).unwrap();
            });
        }
    });
    let store = Store::open(directory.path().join("images")).unwrap();
    assert_eq!(store.list().unwrap().len(), 8);
}

#[test]
fn a_damaged_blob_is_named_and_nothing_is_unpacked() {
    let (directory, store) = store();
    let image = hello(&store, "owner/hello:1");
    let blobs = directory.path().join("images/blobs/sha256");
    for entry in std::fs::read_dir(blobs).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0xff;
            std::fs::write(&path, bytes).unwrap();
        }
    }
    let error = store.unpack(&image).unwrap_err().to_string();
    assert!(error.contains("layer 1 of owner/hello:1 is damaged: it should be sha256:"), "{error}");
    assert_eq!(std::fs::read_dir(directory.path().join("images/unpacked")).unwrap().count(), 0);
    hello(&store, "owner/hello:1");
    store.unpack(&image).unwrap();
}

#[test]
fn a_directory_that_is_something_else_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("index.json"), "{}").unwrap();
    std::fs::write(directory.path().join("oci-layout"), r#"{"imageLayoutVersion":"9.0.0"}"#).unwrap();
    let error = Store::open(directory.path()).unwrap_err().to_string();
    assert!(error.contains("version 9.0.0"), "{error}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn a_builder_refuses_what_is_no_path_and_says_what_is_missing() {
    let (_directory, store) = store();
    for path in ["/", "", "../x", "/a/../../b"] {
        let error = Builder::new(ImageConfig::default()).bytes(path, "x", 0o644).build(&store, &reference("a/b:1"));
        assert!(error.unwrap_err().to_string().contains("no path inside an image"), "{path}");
    }
    let builder = Builder::new(ImageConfig::default()).file("/function", "/no/such/file", 0o755);
    let error = builder.build(&store, &reference("a/b:1")).unwrap_err().to_string();
    assert!(error.contains("cannot read /no/such/file"), "{error}");
    assert!(store.list().unwrap().is_empty());
}
