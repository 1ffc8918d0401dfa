//! Removing images, and then what nothing refers to any more.

use super::{Store, is_named};
use crate::digest::Digest;
use crate::document::{self, Manifest};
use crate::error::{At, ImageError};
use crate::lock::Lock;
use crate::staging::Staging;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use wire::image_reference::ImageReference;

/// What a collection freed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Removed {
    /// Blobs removed.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Unpacked file systems removed.
    pub unpacked: usize,
}

impl Store {
    /// Forgets the image of that name and frees what only it used. A file system that a running platform uses stays
    /// until the next collection. An unknown name is an error.
    pub fn remove(&self, reference: &ImageReference) -> Result<Removed, ImageError> {
        let stored = self.get(reference)?.reference;
        let (removed, trash) = {
            let _lock = self.exclusive()?;
            let mut index = self.index()?;
            index.manifests.retain(|descriptor| !is_named(descriptor, &stored));
            self.replace("index.json", &document::to_json(&index))?;
            self.sweep()?
        };
        trash.empty()?;
        Ok(removed)
    }

    /// Frees what nothing refers to: blobs and file systems of removed images, remains of killed processes. An image
    /// whose name another one has got stays until [`Store::retain`] finds it unused.
    pub fn collect_garbage(&self) -> Result<Removed, ImageError> {
        let (removed, trash) = {
            let _lock = self.exclusive()?;
            self.sweep()?
        };
        trash.empty()?;
        Ok(removed)
    }

    /// Moves what nothing in the index refers to out of the way, to be removed when others need not wait for it: a kill
    /// leaves whole things, or remains that the next sweep clears.
    pub(super) fn sweep(&self) -> Result<(Removed, Staging), ImageError> {
        let (manifests, blobs) = self.reachable()?;
        let trash = Staging::new(&self.path("tmp"))?;
        let mut removed = Removed::default();
        for (name, path) in children(&self.path("blobs/sha256"))? {
            if Digest::from_hex(&name).is_none_or(|digest| !blobs.contains(&digest)) {
                removed.bytes += path.metadata().map_or(0, |metadata| metadata.len());
                fs::rename(&path, trash.path().join(&name)).at("move", &path)?;
                removed.blobs += 1;
            }
        }
        for (name, path) in children(&self.path("unpacked"))? {
            let digest = Digest::from_hex(&name);
            let wanted = digest.as_ref().is_some_and(|digest| manifests.contains(digest));
            let bytes = digest.map_or(0, |digest| self.unpacked_size(&digest));
            if !wanted && self.discard(&path, &trash)? {
                removed.bytes += bytes;
                removed.unpacked += 1;
            }
        }
        for (name, path) in children(&self.path("used"))? {
            if Digest::from_hex(&name).is_none_or(|digest| !manifests.contains(&digest)) {
                fs::remove_file(&path).at("remove", &path)?;
            }
        }
        for (_, path) in children(&self.path("tmp"))? {
            self.discard(&path, &trash)?;
        }
        Ok((removed, trash))
    }

    /// Moves what nobody holds out of the way.
    pub(crate) fn discard(&self, path: &Path, trash: &Staging) -> Result<bool, ImageError> {
        let Some(_unused) = Lock::if_unused(path) else { return Ok(false) };
        // Blobs, file systems and remains of one name do not meet.
        let kind = path.parent().and_then(Path::file_name).unwrap_or_default();
        let aside = trash.path().join(kind);
        fs::create_dir_all(&aside).at("create", &aside)?;
        fs::rename(path, aside.join(path.file_name().unwrap_or_default())).at("move", path)?;
        Ok(true)
    }

    /// Digests of all manifests, and of all blobs they need. A manifest that cannot be read keeps itself alone.
    pub(super) fn reachable(&self) -> Result<(BTreeSet<Digest>, BTreeSet<Digest>), ImageError> {
        let (mut manifests, mut blobs) = (BTreeSet::new(), BTreeSet::new());
        for descriptor in &self.index()?.manifests {
            let Ok(digest) = descriptor.digest() else { continue };
            blobs.extend(self.blobs_of(&digest));
            manifests.insert(digest);
        }
        Ok((manifests, blobs))
    }

    /// The blobs an image needs, its manifest first.
    pub(super) fn blobs_of(&self, digest: &Digest) -> Vec<Digest> {
        let mut blobs = vec![digest.clone()];
        let manifest = self.document(digest).ok();
        if let Some(manifest) = manifest.and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).ok()) {
            let parts = [&manifest.config].into_iter().chain(&manifest.layers);
            blobs.extend(parts.filter_map(|part| part.digest().ok()));
        }
        blobs
    }
}

fn children(directory: &Path) -> Result<Vec<(String, std::path::PathBuf)>, ImageError> {
    let entries = fs::read_dir(directory).at("read", directory)?;
    entries
        .map(|entry| {
            let entry = entry.at("read", directory)?;
            Ok((entry.file_name().to_string_lossy().into_owned(), entry.path()))
        })
        .collect()
}
