//! An image as its manifest and configuration describe it.

use super::Store;
use crate::digest::Digest;
use crate::document::{self, Configuration, Descriptor, ImageConfig, Manifest};
use crate::error::ImageError;
use wire::image_reference::ImageReference;

/// An image in the store.
#[derive(Clone, Debug)]
pub struct Image {
    /// The manifest's digest, `sha256:…`: equal digests, equal images.
    pub digest: String,
    /// The name it was found by.
    pub reference: ImageReference,
    /// How to run it.
    pub config: ImageConfig,
    /// Bytes in the store: manifest, configuration and compressed layers.
    pub size: u64,
    /// What it runs on, `linux/amd64`.
    pub platform: String,
    pub(crate) manifest: Manifest,
    pub(crate) descriptor: Descriptor,
    /// Digests of the layers without compression, as the configuration has them.
    pub(crate) diff_ids: Vec<String>,
}

impl Image {
    pub(crate) fn manifest_digest(&self) -> Result<Digest, ImageError> {
        self.descriptor.digest()
    }

    /// Every blob it is made of.
    pub(crate) fn blobs(&self) -> Result<Vec<(Digest, u64)>, ImageError> {
        let parts = [&self.descriptor, &self.manifest.config].into_iter().chain(&self.manifest.layers);
        parts.map(|part| Ok((part.digest()?, part.size))).collect()
    }
}

impl Store {
    /// Reads manifest and configuration; the caller holds the lock.
    pub(crate) fn image(&self, reference: ImageReference, descriptor: &Descriptor) -> Result<Image, ImageError> {
        let digest = descriptor.digest()?;
        let bytes = self.document(&digest)?;
        let manifest: Manifest = document::parse(&format!("the manifest of {reference}"), &bytes)?;
        let config = self.document(&manifest.config.digest()?)?;
        let configuration: Configuration = document::parse(&format!("the configuration of {reference}"), &config)?;
        let layers = manifest.layers.iter().map(|layer| layer.size);
        Ok(Image {
            digest: digest.to_string(),
            config: configuration.config.into(),
            size: (bytes.len() + config.len()) as u64 + layers.sum::<u64>(),
            platform: configuration.platform.to_string(),
            diff_ids: configuration.rootfs.diff_ids,
            manifest,
            descriptor: Descriptor { size: bytes.len() as u64, ..descriptor.clone() },
            reference,
        })
    }
}
