//! Images as this provider needs them: found, of a kind it can run, unpacked.

use image::{Image, Store};
use provider::{ProviderError, Result};
use std::path::PathBuf;
use wire::image_reference::ImageReference;
use wire::label::{IMAGE_SERVES, SERVES_UNIX_SOCKET};

/// The image store.
#[derive(Clone)]
pub(crate) struct Images(Store);

impl Images {
    pub(crate) const fn new(store: Store) -> Self {
        Self(store)
    }

    /// The image a deployment names, if this provider can run it.
    pub(crate) fn find(&self, reference: &ImageReference) -> Result<Image> {
        let found = self.0.find(reference);
        let image = found.map_err(|error| ProviderError::failed(format!("look for image {reference}"), error))?;
        let Some(image) = image else {
            return Err(ProviderError::Invalid(format!(
                "image {reference} is not in the image store: build it with crema up, or bring it in with crema image \
                 import FILE"
            )));
        };
        if image.config.labels.get(IMAGE_SERVES).is_none_or(|serves| serves != SERVES_UNIX_SOCKET) {
            return Err(ProviderError::Invalid(format!(
                "image {reference} does not carry the label {IMAGE_SERVES}={SERVES_UNIX_SOCKET}: this version runs \
                 functions built with Crema's SDK or watchdog; other images need the sandbox, which it does not have yet"
            )));
        }
        if image.config.entrypoint.is_empty() && image.config.cmd.is_empty() {
            return Err(ProviderError::Invalid(format!("image {reference} names no command to run")));
        }
        Ok(image)
    }

    /// The image of a digest, though its tag may have moved on. When the store has it no longer, the one the tag names
    /// now: better another version than none.
    pub(crate) fn pinned(&self, reference: &ImageReference, digest: &str) -> Result<Image> {
        let tagged = self.find(reference);
        if tagged.as_ref().is_ok_and(|image| image.digest == digest) {
            return tagged;
        }
        let pinned = format!("{}@{digest}", reference.repository()).parse().ok();
        pinned.and_then(|pinned| self.find(&pinned).ok()).map_or(tagged, Ok)
    }

    /// The directory an image is unpacked in.
    pub(crate) fn unpack(&self, image: &Image) -> Result<PathBuf> {
        self.0.unpack(image).map_err(|error| ProviderError::failed("unpack the image", error))
    }
}
