//! Removing images, and then what nothing refers to any more.

use super::{Store, is_named};
use crate::digest::Digest;
use crate::document::{self, Manifest};
use crate::error::{At, ImageError};
use crate::lock::Lock;
use crate::root;
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
        let _lock = self.exclusive()?;
        let mut index = self.index()?;
        index.manifests.retain(|descriptor| !is_named(descriptor, &stored));
        self.replace("index.json", &document::to_json(&index))?;
        self.sweep()
    }

    /// Frees what no name refers to: blobs and file systems of replaced images, remains of killed processes.
    pub fn collect_garbage(&self) -> Result<Removed, ImageError> {
        let _lock = self.exclusive()?;
        self.sweep()
    }

    fn sweep(&self) -> Result<Removed, ImageError> {
        let (manifests, blobs) = self.reachable()?;
        let mut removed = Removed::default();
        for (name, path) in children(&self.path("blobs/sha256"))? {
            if Digest::from_hex(&name).is_none_or(|digest| !blobs.contains(&digest)) {
                removed.bytes += path.metadata().map_or(0, |metadata| metadata.len());
                fs::remove_file(&path).at("remove", &path)?;
                removed.blobs += 1;
            }
        }
        for (name, path) in children(&self.path("unpacked"))? {
            let wanted = Digest::from_hex(&name).is_some_and(|digest| manifests.contains(&digest));
            if !wanted && self.discard(&path)? {
                removed.unpacked += 1;
            }
        }
        for (_, path) in children(&self.path("tmp"))? {
            self.discard(&path)?;
        }
        Ok(removed)
    }

    /// Removes a directory nobody holds.
    fn discard(&self, path: &Path) -> Result<bool, ImageError> {
        let Some(_unused) = Lock::if_unused(path) else { return Ok(false) };
        root::remove_tree(path).at("remove", path)?;
        Ok(true)
    }

    /// Digests of all manifests, and of all blobs they need. A manifest that cannot be read keeps itself alone.
    fn reachable(&self) -> Result<(BTreeSet<Digest>, BTreeSet<Digest>), ImageError> {
        let (mut manifests, mut blobs) = (BTreeSet::new(), BTreeSet::new());
        for descriptor in &self.index()?.manifests {
            let Ok(digest) = descriptor.digest() else { continue };
            blobs.insert(digest.clone());
            let manifest = self.document(&digest).ok();
            if let Some(manifest) = manifest.and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).ok()) {
                let parts = [&manifest.config].into_iter().chain(&manifest.layers);
                blobs.extend(parts.filter_map(|part| part.digest().ok()));
            }
            manifests.insert(digest);
        }
        Ok((manifests, blobs))
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
