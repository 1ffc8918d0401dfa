//! Images as this provider needs them: found, of a kind it can run, unpacked before they are needed, freed after.

use crate::config::ImageLimits;
use image::{Image, ImageError, Removed, Retention, Store};
use provider::{ProviderError, Result};
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use wire::image_reference::ImageReference;

/// The image store, and what is known of images that are unpacked: a start asks the disk for nothing.
#[derive(Clone)]
pub(crate) struct Images {
    store: Store,
    /// By digest. Held for a map operation.
    unpacked: Arc<Mutex<HashMap<String, Unpacked>>>,
}

#[derive(Clone)]
struct Unpacked {
    image: Arc<Image>,
    root: PathBuf,
}

impl Images {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, unpacked: Arc::default() }
    }

    /// The image a deployment names.
    pub(crate) fn find(&self, reference: &ImageReference) -> Result<Image> {
        let found = self.store.find(reference);
        let image = found.map_err(|error| ProviderError::failed(format!("look for image {reference}"), error))?;
        let Some(image) = image else {
            return Err(ProviderError::Invalid(format!(
                "image {reference} is not in the image store: build it with crema up, or bring it in with crema image \
                 import FILE"
            )));
        };
        if image.config.entrypoint.is_empty() && image.config.cmd.is_empty() {
            return Err(ProviderError::Invalid(format!("image {reference} names no command to run")));
        }
        Ok(image)
    }

    /// The image of a digest, though its tag may have moved on. When the store has it no longer, the one the tag names
    /// now: better another version than none.
    pub(crate) fn pinned(&self, reference: &ImageReference, digest: &str) -> Result<Image> {
        let unpacked = self.unpacked().get(digest).cloned();
        if let Some(unpacked) = unpacked {
            return Ok(Image::clone(&unpacked.image));
        }
        let tagged = self.find(reference);
        if tagged.as_ref().is_ok_and(|image| image.digest == digest) {
            return tagged;
        }
        let pinned = format!("{}@{digest}", reference.repository()).parse().ok();
        pinned.and_then(|pinned| self.find(&pinned).ok()).map_or(tagged, Ok)
    }

    /// The directory an image is unpacked in.
    pub(crate) fn unpack(&self, image: &Image) -> Result<PathBuf> {
        if let Some(unpacked) = self.unpacked().get(&image.digest) {
            return Ok(unpacked.root.clone());
        }
        let root = self.store.unpack(image).map_err(|error| match error {
            ImageError::Io { .. } => ProviderError::failed(format!("unpack image {}", image.reference), error),
            // What the image is made of is at fault, not the machine.
            error => ProviderError::Invalid(format!("image {} cannot be unpacked: {error}", image.reference)),
        })?;
        let unpacked = Unpacked { image: Arc::new(image.clone()), root: root.clone() };
        self.unpacked().insert(image.digest.clone(), unpacked);
        Ok(root)
    }

    /// Finds an image and unpacks it; from now on it counts as used.
    pub(crate) fn prepare(&self, reference: &ImageReference, digest: Option<&str>, now: SystemTime) -> Result<()> {
        let image = match digest {
            Some(digest) => self.pinned(reference, digest)?,
            None => self.find(reference)?,
        };
        // First: what was used just now is not collected.
        let marked = self.store.mark_used(&image.digest, now);
        marked.map_err(|error| ProviderError::failed(format!("note that image {reference} is used"), error))?;
        self.unpack(&image).map(drop)
    }

    /// Frees what has not been used for long or does not fit, but for these.
    pub(crate) fn retain(
        &self,
        in_use: BTreeSet<String>,
        limits: ImageLimits,
        now: SystemTime,
    ) -> std::result::Result<Removed, ImageError> {
        self.unpacked().retain(|digest, _| in_use.contains(digest));
        let ImageLimits { age, bytes, at_least, .. } = limits;
        self.store.retain(&Retention { in_use, now, age, bytes, at_least })
    }

    fn unpacked(&self) -> MutexGuard<'_, HashMap<String, Unpacked>> {
        self.unpacked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
