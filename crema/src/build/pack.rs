//! Packs a binary as an image, unless the store has the very same one.

use super::workspace::Package;
use image::{Builder, Image, ImageConfig, ImageError, Store};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use wire::image_reference::ImageReference;
use wire::label::{IMAGE_SERVES, SERVES_UNIX_SOCKET};

/// The image label that holds the digest of the binary an image was packed from.
pub const BINARY_LABEL: &str = "com.crema.binary";
/// Where a function lies in its image, and what the image runs.
const FUNCTION: &str = "/function";
/// Where the platform lies in the images of its parts.
const PLATFORM: &str = "/platform";
/// Nobody, as a number: Kubernetes wants to see that it is not root. Processes of `crema up` run as its user.
const USER: &str = "65532:65532";
const PASSWD: &str = "nonroot:x:65532:65532::/tmp:/sbin/nologin\n";
const GROUP: &str = "nonroot:x:65532:\n";

/// A binary and how it is to run.
#[derive(Clone, Debug)]
pub struct Pack {
    binary: PathBuf,
    place: String,
    config: ImageConfig,
    files: Vec<(&'static str, Vec<u8>)>,
    links: Vec<String>,
    architecture: Option<&'static str>,
}

impl Pack {
    /// A function: it serves on the socket the platform names, or on port 8080.
    #[must_use]
    pub fn function(binary: &Path) -> Self {
        Self::at(FUNCTION, FUNCTION, binary).label(IMAGE_SERVES, SERVES_UNIX_SOCKET)
    }

    /// A part of the platform, which is a program of many names: `/NAME` is what the image runs. All of `names` are in
    /// it, so that the images differ in nothing else.
    #[must_use]
    pub fn part(name: &str, names: &[&str], binary: &Path) -> Self {
        let mut pack = Self::at(PLATFORM, &format!("/{name}"), binary);
        pack.links = names.iter().map(|name| format!("/{name}")).collect();
        pack.file("/etc/passwd", PASSWD).file("/etc/group", GROUP)
    }

    fn at(place: &str, entrypoint: &str, binary: &Path) -> Self {
        let config =
            ImageConfig { user: USER.to_owned(), entrypoint: vec![entrypoint.to_owned()], ..ImageConfig::default() };
        let (files, links) = (Vec::new(), Vec::new());
        Self { binary: binary.to_owned(), place: place.to_owned(), config, files, links, architecture: None }
    }

    /// With an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.config.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a label.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.config.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With a file that everyone may read.
    #[must_use]
    pub fn file(mut self, path: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.push((path, bytes.into()));
        self
    }

    /// For another architecture than this machine's.
    #[must_use]
    pub(super) fn architecture(mut self, architecture: &'static str) -> Self {
        self.architecture = Some(architecture);
        self
    }

    /// With labels that say what it is, as far as its package does.
    #[must_use]
    pub(super) fn describe(self, title: &str, package: &Package) -> Self {
        let facts = [
            ("title", Some(title)),
            ("version", Some(package.version.as_str())),
            ("description", package.description.as_deref()),
            ("licenses", package.license.as_deref()),
            ("source", package.repository.as_deref()),
        ];
        let known =
            facts.into_iter().filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)));
        known.fold(self, |pack, (name, value)| pack.label(&format!("org.opencontainers.image.{name}"), value))
    }

    /// Stores it under a name; whether that changed anything.
    pub fn store(mut self, store: &Store, reference: &ImageReference) -> Result<(Image, bool), ImageError> {
        let io = |source| ImageError::Io { doing: "read", path: self.binary.clone(), source };
        let digest = digest(&self.binary).map_err(io)?;
        self.config.labels.insert(BINARY_LABEL.to_owned(), digest);
        // A damaged image is no reason not to make a sound one.
        let before = store.find(reference).ok().flatten();
        if let Some(image) = &before
            && self.files.is_empty()
            && self.architecture.is_none()
            && image.config == self.config
            && image.reference.canonical() == reference.canonical()
        {
            return Ok((image.clone(), false));
        }
        let builder = Builder::new(self.config).file(&self.place, self.binary, 0o755).directory("/tmp", 0o1777);
        let builder = self.files.into_iter().fold(builder, |builder, (path, bytes)| builder.bytes(path, bytes, 0o644));
        let to = self.place.trim_start_matches('/');
        let builder = self.links.iter().fold(builder, |builder, path| builder.link(path, to));
        let builder = match self.architecture {
            Some(architecture) => builder.architecture(architecture),
            None => builder,
        };
        let image = builder.build(store, reference)?;
        let changed = before.is_none_or(|before| before.digest != image.digest);
        Ok((image, changed))
    }
}

fn digest(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    let hex: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("sha256:{hex}"))
}
