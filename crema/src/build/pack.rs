//! Packs a binary as an image, unless the store has the very same one.

use image::{Builder, Image, ImageConfig, ImageError, Store};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use wire::image_reference::ImageReference;
use wire::label::{IMAGE_SERVES, SERVES_UNIX_SOCKET};

/// The image label that holds the digest of the binary an image was packed from.
pub const BINARY_LABEL: &str = "com.crema.binary";
/// Where the binary lies in its image, and what the image runs.
const PLACE: &str = "/function";
/// Nobody, as a number: Kubernetes wants to see that it is not root. Processes of `crema up` run as its user.
const USER: &str = "65532:65532";

/// A binary and how it is to run.
#[derive(Clone, Debug)]
pub struct Pack {
    binary: PathBuf,
    config: ImageConfig,
}

impl Pack {
    /// A function: it serves on the socket the platform names.
    #[must_use]
    pub fn function(binary: &Path) -> Self {
        let config = ImageConfig {
            user: USER.to_owned(),
            entrypoint: vec![PLACE.to_owned()],
            labels: [(IMAGE_SERVES.to_owned(), SERVES_UNIX_SOCKET.to_owned())].into(),
            ..ImageConfig::default()
        };
        Self { binary: binary.to_owned(), config }
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

    /// Stores it under a name; whether that changed anything.
    pub fn store(mut self, store: &Store, reference: &ImageReference) -> Result<(Image, bool), ImageError> {
        let io = |source| ImageError::Io { doing: "read", path: self.binary.clone(), source };
        let digest = digest(&self.binary).map_err(io)?;
        self.config.labels.insert(BINARY_LABEL.to_owned(), digest);
        // A damaged image is no reason not to make a sound one.
        if let Ok(Some(image)) = store.find(reference)
            && image.config == self.config
            && image.reference.canonical() == reference.canonical()
        {
            return Ok((image, false));
        }
        let builder = Builder::new(self.config).file(PLACE, self.binary, 0o755).directory("/tmp", 0o1777);
        Ok((builder.build(store, reference)?, true))
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
