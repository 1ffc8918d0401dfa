//! Layers, archives and stores for the tests.

use image::{Builder, Image, ImageConfig, Limits, Store};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tar::{EntryType, Header};
use tempfile::TempDir;
use wire::image_reference::ImageReference;

/// Waits until something is so: a process that another test starts has our locks for a moment.
pub(crate) fn eventually(so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "not within 30 s");
        std::thread::yield_now();
    }
}

pub(crate) fn reference(text: &str) -> ImageReference {
    text.parse().unwrap()
}

pub(crate) fn store() -> (TempDir, Store) {
    store_with(Limits::default())
}

pub(crate) fn store_with(limits: Limits) -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open_with(directory.path().join("images"), limits).unwrap();
    (directory, store)
}

pub(crate) fn hello(store: &Store, name: &str) -> Image {
    hello_saying(store, name, "hello")
}

pub(crate) fn hello_saying(store: &Store, name: &str, text: &str) -> Image {
    let config = ImageConfig {
        env: vec![("fprocess".to_owned(), "/function --a=b".to_owned()), ("EMPTY".to_owned(), String::new())],
        user: "12000".to_owned(),
        entrypoint: vec!["/function".to_owned()],
        labels: [("com.crema.serves".to_owned(), "unix-socket".to_owned())].into(),
        ..ImageConfig::default()
    };
    let builder = Builder::new(config).bytes("/function", text, 0o755).directory("/tmp", 0o1777);
    builder.bytes("etc/a/name", text, 0o600).build(store, &reference(name)).unwrap()
}

/// An entry of a tar, with a name that no well-behaved program would write.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: EntryType,
    pub(crate) link: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn raw(kind: EntryType, path: &str, link: &str, bytes: &[u8]) -> Raw {
    Raw { path: path.into(), kind, link: link.into(), mode: 0o755, bytes: bytes.to_vec() }
}

pub(crate) fn file(path: &str, text: &str) -> Raw {
    Raw { mode: 0o644, ..raw(EntryType::Regular, path, "", text.as_bytes()) }
}

pub(crate) fn directory(path: &str) -> Raw {
    raw(EntryType::Directory, path, "", b"")
}

pub(crate) fn symlink(path: &str, target: &str) -> Raw {
    raw(EntryType::Symlink, path, target, b"")
}

pub(crate) fn link(path: &str, target: &str) -> Raw {
    raw(EntryType::Link, path, target, b"")
}

/// A tar of exactly these entries; long names as GNU tar writes them.
pub(crate) fn tar(entries: &[Raw]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        for (kind, name) in [(b'L', &entry.path), (b'K', &entry.link)] {
            if name.len() > 100 {
                let note = raw(EntryType::new(kind), "././@LongLink", "", &[name, &b"\0"[..]].concat());
                append(&mut out, &note);
            }
        }
        append(&mut out, entry);
    }
    out.extend([0; 1024]);
    out
}

fn append(out: &mut Vec<u8>, entry: &Raw) {
    let mut header = Header::new_gnu();
    let old = header.as_old_mut();
    let put = |field: &mut [u8], text: &[u8]| {
        let length = text.len().min(field.len());
        field[..length].copy_from_slice(&text[..length]);
    };
    put(&mut old.name, &entry.path);
    put(&mut old.linkname, &entry.link);
    header.set_entry_type(entry.kind);
    header.set_mode(entry.mode);
    header.set_size(entry.bytes.len() as u64);
    header.set_cksum();
    out.extend(header.as_bytes());
    out.extend(&entry.bytes);
    out.resize(out.len().next_multiple_of(512), 0);
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

pub(crate) fn here() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The files of an OCI archive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Archive {
    pub(crate) entries: Vec<Raw>,
    pub(crate) manifests: Vec<serde_json::Value>,
}

impl Archive {
    pub(crate) fn blob(&mut self, bytes: &[u8]) -> String {
        let digest = hex(bytes);
        self.entries.push(raw(EntryType::Regular, &format!("blobs/sha256/{digest}"), "", bytes));
        format!("sha256:{digest}")
    }

    /// Adds an image of these layers for an architecture; the descriptor of its manifest.
    pub(crate) fn image(&mut self, architecture: &str, layers: &[Vec<u8>]) -> serde_json::Value {
        let diff_ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", hex(layer))).collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "config": null,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        })
        .to_string();
        let config_digest = self.blob(config.as_bytes());
        let layers: Vec<_> = layers
            .iter()
            .map(|layer| {
                let packed = gzip(layer);
                json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                    "digest": self.blob(&packed), "size": packed.len()})
            })
            .collect();
        let manifest = json!({"schemaVersion": 2, "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config.len()
        }, "layers": layers})
        .to_string();
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": self.blob(manifest.as_bytes()),
            "size": manifest.len(), "platform": {"architecture": architecture, "os": "linux"}})
    }

    pub(crate) fn named(mut self, mut descriptor: serde_json::Value, name: &str) -> Self {
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        self.manifests.push(descriptor);
        self
    }

    pub(crate) fn bytes(mut self) -> Vec<u8> {
        let index = json!({"schemaVersion": 2, "manifests": self.manifests}).to_string();
        self.entries.push(file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#));
        self.entries.push(file("index.json", &index));
        tar(&self.entries)
    }
}

/// An archive of one image, `owner/test:1`, of these layers.
pub(crate) fn archive_of(layers: &[Vec<Raw>]) -> Vec<u8> {
    let mut archive = Archive::default();
    let layers: Vec<_> = layers.iter().map(|entries| tar(entries)).collect();
    let descriptor = archive.image(here(), &layers);
    archive.named(descriptor, "owner/test:1").bytes()
}

/// Everything below a directory: kind, path, contents or target.
pub(crate) fn tree(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(path) = todo.pop() {
        for entry in std::fs::read_dir(root.join(&path)).unwrap() {
            let path = path.join(entry.unwrap().file_name());
            let place = root.join(&path);
            let metadata = std::fs::symlink_metadata(&place).unwrap();
            let shown = path.display();
            if metadata.is_dir() {
                found.push(format!("{shown}/"));
                todo.push(path);
            } else if metadata.is_symlink() {
                found.push(format!("{shown} -> {}", std::fs::read_link(&place).unwrap().display()));
            } else {
                found.push(format!("{shown} = {}", String::from_utf8_lossy(&std::fs::read(&place).unwrap())));
            }
        }
    }
    found.sort();
    found
}
