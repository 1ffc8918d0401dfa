//! Unpacks an image's layers, one over the other, into a root file system.
//!
//! Kept of an entry: its path, kind, contents, links, time, and its permissions without the set-user-id and
//! set-group-id bits; its owner can always read it, and enter it. Not kept: owners (everything belongs to who unpacks),
//! extended attributes.

mod change;
mod layer;

pub(crate) use layer::{Target, read_layer};

use crate::archive::Allowance;
use crate::error::{At, ImageError};
use crate::root::Root;
use crate::store::{Image, Store};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

impl Store {
    /// The image's root file system, unpacked before this returns: all of it, on disk, or an error. It stays where it
    /// is while this process lives.
    pub fn unpack(&self, image: &Image) -> Result<PathBuf, ImageError> {
        let digest = image.manifest_digest()?;
        let place = self.unpacked_path(&digest);
        let root = place.join("rootfs");
        {
            let _lock = self.shared()?;
            if root.exists() {
                self.hold(&digest)?;
                return Ok(root);
            }
        }
        let staging = self.staging()?;
        let _lock = self.shared()?;
        let whole = staging.path().join("image");
        let fresh = whole.join("rootfs");
        fs::create_dir_all(&fresh).at("create", &fresh)?;
        self.fill(image, &fresh)?;
        sync_all_of(&whole).at("sync", &whole)?;
        match fs::rename(&whole, &place) {
            Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => {
                // Somebody else was faster; equal digests, equal trees.
            }
            renamed => renamed.at("keep", &place)?,
        }
        self.sync_directory("unpacked")?;
        self.hold(&digest)?;
        Ok(root)
    }

    fn fill(&self, image: &Image, root: &Path) -> Result<(), ImageError> {
        let limits = self.limits();
        let mut allowance = Allowance::new(limits.unpacked_bytes, limits.entries);
        let root = Root::new(root);
        for (number, layer) in image.manifest.layers.iter().enumerate() {
            let digest = layer.digest()?;
            let of = format!("layer {} of {}", number + 1, image.reference);
            let blob = self.open_blob(&digest)?;
            let mut target = Target::new(&root, number > 0, allowance.entries.clone());
            let diff_id = image.diff_ids.get(number).map(String::as_str);
            read_layer(&of, blob, (&digest, diff_id), &mut allowance, |item| {
                change::decode(&of, item, limits.special_files)?
                    .map_or(Ok(()), |change| target.apply(&of, change, item))
            })?;
        }
        Ok(())
    }

    /// Reads layers as unpacking would and writes nothing: whether they are whole, within the limits and harmless.
    pub(crate) fn check_layers<'a>(
        &self,
        name: &str,
        layers: impl Iterator<Item = (&'a crate::staging::StagedBlob, &'a str)>,
    ) -> Result<(), ImageError> {
        let limits = self.limits();
        let mut allowance = Allowance::new(limits.unpacked_bytes, limits.entries);
        for (number, (blob, diff_id)) in layers.enumerate() {
            let of = format!("layer {} of {name}", number + 1);
            let file = fs::File::open(&blob.path).at("read", &blob.path)?;
            read_layer(&of, file, (&blob.digest, Some(diff_id)), &mut allowance, |item| {
                change::decode(&of, item, limits.special_files).map(|_| ())
            })?;
        }
        Ok(())
    }
}

/// One sync of the file system: an image may have thousands of files.
fn sync_all_of(directory: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(fs::File::open(directory)?)?)
}
