use bundle::Source;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

pub(crate) const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

pub(crate) struct World(pub(crate) TempDir);

impl World {
    /// A folder of images with their list, and one of manifests.
    pub(crate) fn new() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        world.image("images/gateway-1.0.0-amd64.tar", "docker.io/crema/gateway:1.0.0");
        let line = format!("docker.io/crema/gateway:1.0.0@{DIGEST} linux/amd64 gateway-1.0.0-amd64.tar\n");
        world.write("images/images.lock", &line);
        world.write(
            "manifests/pod.yaml",
            "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, image: crema/gateway:1.0.0}]}\n",
        );
        world
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    pub(crate) fn image(&self, path: &str, name: &str) {
        let index = format!(
            "{{\"manifests\":[{{\"digest\":\"{DIGEST}\",\"annotations\":{{\"io.containerd.image.name\":\"{name}\"}}}}]}}"
        );
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), tar(&[("index.json", index.as_bytes()), ("blobs/x", &[7; 5000])])).unwrap();
    }

    pub(crate) fn source(&self) -> Source {
        Source { images: Some(self.path("images")), manifests: vec![self.path("manifests")], ..Source::default() }
    }

    pub(crate) fn bundle(&self) -> PathBuf {
        let output = self.path("crema.tar");
        self.source().write(&output).unwrap();
        output
    }
}

/// An archive of these files.
pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        // Names that `set_path` would refuse are written too.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        archive.append(&header, *bytes).unwrap();
    }
    archive.into_inner().unwrap()
}

/// The files of an archive.
pub(crate) fn files(path: &Path) -> Vec<(String, Vec<u8>)> {
    use std::io::Read;
    let mut archive = tar::Archive::new(fs::File::open(path).unwrap());
    let mut found = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        found.push((name, bytes));
    }
    found
}

/// Runs a program; `None`, with a line that says so, where it is not there.
pub(crate) fn program(test: &str, name: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(name).args(arguments).output() {
        Ok(output) => Some(output),
        Err(_) => {
            note(&format!("SKIPPED {test}: apt-get install {name}"));
            None
        }
    }
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn note(text: &str) {
    eprintln!("{text}");
}
