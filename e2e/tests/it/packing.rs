//! Images as other people's tools make them, packed from this machine's own files: a Docker archive of one layer.

use e2e::binaries::binary;
use e2e::platform::Platform;
use e2e::system::{libraries, program};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

/// An image being packed.
pub(crate) struct Packing {
    folder: TempDir,
    layer: Builder<File>,
    there: BTreeSet<PathBuf>,
}

impl Default for Packing {
    fn default() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let layer = Builder::new(File::create(folder.path().join("layer.tar")).unwrap());
        Self { folder, layer, there: BTreeSet::new() }
    }
}

impl Packing {
    /// A file of this machine, links followed.
    pub(crate) fn file(mut self, path: &str, from: &Path, mode: u32) -> Self {
        self.add_file(Path::new(path), from, mode);
        self
    }

    /// A file of these bytes.
    pub(crate) fn text(mut self, path: &str, text: &str, mode: u32) -> Self {
        self.add(Path::new(path), EntryType::Regular, mode, text.len() as u64, text.as_bytes());
        self
    }

    /// A symbolic link.
    pub(crate) fn link(mut self, path: &str, to: &str) -> Self {
        let mut header = header(EntryType::Symlink, 0o777, 0);
        self.layer.append_link(&mut header, relative(Path::new(path)), to).unwrap();
        self
    }

    pub(crate) fn directory(mut self, path: &str, mode: u32) -> Self {
        self.add(Path::new(path), EntryType::Directory, mode, 0, std::io::empty());
        self
    }

    /// A program of this machine with the shared libraries it needs.
    pub(crate) fn program(mut self, path: &str, from: &Path) -> Self {
        self.add_file(Path::new(path), from, 0o755);
        self.libraries(from)
    }

    /// The shared libraries that a file needs, where its loader looks for them.
    pub(crate) fn libraries(mut self, of: &Path) -> Self {
        for library in libraries(of) {
            self.add_file(&library, &library, 0o755);
        }
        self
    }

    fn add_file(&mut self, path: &Path, from: &Path, mode: u32) {
        let file = File::open(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        let size = file.metadata().unwrap().len();
        self.add(path, EntryType::Regular, mode, size, file);
    }

    fn add(&mut self, path: &Path, kind: EntryType, mode: u32, size: u64, content: impl Read) {
        if self.there.insert(path.to_owned()) {
            self.layer.append_data(&mut header(kind, mode, size), relative(path), content).unwrap();
        }
    }

    /// The archive, with the image's configuration as Docker writes it.
    pub(crate) fn archive(self, name: &str, config: &Value) -> Archive {
        let layer = self.folder.path().join("layer.tar");
        self.layer.into_inner().unwrap().sync_all().unwrap();
        let sum = Command::new("sha256sum").arg(&layer).output().unwrap().stdout;
        let digest = String::from_utf8(sum).unwrap().split_whitespace().next().unwrap().to_owned();
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let config = json!({
            "architecture": architecture, "os": "linux", "config": config,
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
        })
        .to_string();
        let manifest = json!([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]).to_string();
        let path = self.folder.path().join("image.tar");
        let mut archive = Builder::new(File::create(&path).unwrap());
        for (name, text) in [("config.json", &config), ("manifest.json", &manifest)] {
            let mut header = header(EntryType::Regular, 0o644, text.len() as u64);
            archive.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        archive.append_path_with_name(&layer, "layer.tar").unwrap();
        archive.into_inner().unwrap();
        std::fs::remove_file(layer).unwrap();
        Archive { _folder: self.folder, path, name: name.to_owned() }
    }
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// A packed image. It goes with the test.
pub(crate) struct Archive {
    _folder: TempDir,
    path: PathBuf,
    /// Its name.
    pub(crate) name: String,
}

impl Archive {
    /// The same image as skopeo writes OCI archives; as it is where there is no skopeo.
    pub(crate) fn through_skopeo(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (path, name) = (self.path.clone(), self.name.clone());
        let Some(skopeo) = program("skopeo") else { return Self { _folder: folder, path, name } };
        let to = folder.path().join("oci.tar");
        let output = Command::new(skopeo)
            .args(["--insecure-policy", "copy", "-q"])
            .arg(format!("docker-archive:{}", self.path.display()))
            .arg(format!("oci-archive:{}:{}", to.display(), self.name))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { _folder: folder, path: to, name }
    }

    /// Brings it into a platform's store, which may be running.
    pub(crate) fn import(&self, state: &Path) {
        let mut import = Command::new(binary("crema"));
        import.args(["image", "--state"]).arg(state).arg("import").arg(&self.path).args(["--name", &self.name]);
        let output = import.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// How large the archive is.
    pub(crate) fn bytes(&self) -> u64 {
        self.path.metadata().unwrap().len()
    }
}

/// Deploys an image with more in the deployment; what was answered.
pub(crate) async fn deploy(platform: &Platform, service: &str, image: &str, more: &Value) -> (u16, String) {
    let mut deployment = json!({"service": service, "image": image});
    deployment.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let answer = platform.system("POST", "/system/functions", &deployment.to_string()).await;
    (answer.status, answer.text())
}

/// Deploys an image and waits until it answers.
pub(crate) async fn deployed(platform: &Platform, service: &str, image: &str, more: &Value) {
    let (status, said) = deploy(platform, service, image, more).await;
    assert!(status < 300, "{service}: {status} {said}");
    e2e::eventually(&format!("{service} is ready"), || async {
        let status = platform.system("GET", &format!("/system/function/{service}"), "").await.json();
        (status["availableReplicas"] == 1).then_some(()).ok_or(status)
    })
    .await;
}
