//! Unpacks an image's layers, one over the other, into a root file system.
//!
//! Kept of an entry: its path, kind, contents, links, time, and its permissions without the set-user-id and
//! set-group-id bits; its owner can always read it, and enter it. Everybody may read, run and enter what its owner may.
//! Not kept: owners (everything belongs to who unpacks), extended attributes.

mod change;
mod layer;

pub(crate) use layer::{Target, read_layer};

use crate::archive::Allowance;
use crate::digest::Digest;
use crate::error::{At, ImageError};
use crate::root::{self, Root};
use crate::store::{Image, Store};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Beside a root file system: how large it is. Without it the file system is not of this version's making.
const SIZE: &str = "size";

impl Store {
    /// The image's root file system, unpacked before this returns: all of it, on disk, or an error. It stays where it
    /// is while this process lives, unless a collection of this process finds it unused for long.
    pub fn unpack(&self, image: &Image) -> Result<PathBuf, ImageError> {
        let digest = image.manifest_digest()?;
        let place = self.unpacked_path(&digest);
        let root = place.join("rootfs");
        {
            let _lock = self.shared()?;
            if place.join(SIZE).exists() {
                self.hold(&digest)?;
                return Ok(root);
            }
        }
        let staging = self.staging()?;
        let _lock = self.shared()?;
        let whole = staging.path().join("image");
        let fresh = whole.join("rootfs");
        fs::create_dir_all(&fresh).at("create", &fresh)?;
        // A layer need not name the root; whoever unpacks may have a umask that would keep others out.
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).at("open", &fresh)?;
        self.fill(image, &fresh)?;
        let bytes = root::size_of(&fresh).at("measure", &fresh)?;
        fs::write(whole.join(SIZE), bytes.to_string()).at("write in", &whole)?;
        sync_all_of(&whole).at("sync", &whole)?;
        if root.exists() && !place.join(SIZE).exists() {
            // Unpacked by a version that kept other permissions.
            self.discard(&place, &staging)?;
        }
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

    /// The bytes an unpacked file system takes, as noted when it was unpacked; 0 when there is none.
    pub(crate) fn unpacked_size(&self, digest: &Digest) -> u64 {
        let noted = fs::read_to_string(self.unpacked_path(digest).join(SIZE)).ok();
        noted.and_then(|text| text.parse().ok()).unwrap_or(0)
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
