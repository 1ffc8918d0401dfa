//! The store: what is in it, and the few writes that change it.

mod collect;
mod image;
mod retain;

pub use collect::Removed;
pub use image::Image;
pub use retain::Retention;

use crate::digest::Digest;
use crate::document::{self, Descriptor, Index, MAX_DOCUMENT, REF_NAME};
use crate::error::{At, ImageError};
use crate::lock::Lock;
use crate::name;
use crate::staging::{StagedBlob, Staging};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use wire::image_reference::ImageReference;

const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// Images on disk. Cheap to clone; clones and other processes may use the same directory.
#[derive(Clone, Debug)]
pub struct Store {
    root: Arc<Path>,
    limits: Limits,
    /// Locks on the file systems this process unpacked or may be running, by digest; short sections, no I/O.
    in_use: Arc<Mutex<BTreeMap<Digest, Lock>>>,
}

/// What one image may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Bytes of an archive, and of an image's layers without compression, together. 8 GiB unless set.
    pub unpacked_bytes: u64,
    /// Entries of an archive, and of an image's layers, together. 1,000,000 unless set.
    pub entries: u64,
    /// What to do with device nodes, pipes and sockets in a layer.
    pub special_files: SpecialFiles,
}

/// What to do with entries that are no file, directory or link.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SpecialFiles {
    /// The image is refused, with the entry's name.
    #[default]
    Refuse,
    /// The entries are left out.
    Skip,
}

impl Default for Limits {
    fn default() -> Self {
        Self { unpacked_bytes: 8 * 1024 * 1024 * 1024, entries: 1_000_000, special_files: SpecialFiles::default() }
    }
}

impl Store {
    /// Opens the store in `directory`, making it when it is not there.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, ImageError> {
        Self::open_with(directory, Limits::default())
    }

    /// Opens a store with limits of its own.
    pub fn open_with(directory: impl AsRef<Path>, limits: Limits) -> Result<Self, ImageError> {
        let root = directory.as_ref();
        fs::create_dir_all(root).at("create", root)?;
        let store = Self { root: root.into(), limits, in_use: Arc::default() };
        if store.path("index.json").exists() {
            store.check_layout()?;
        }
        for part in ["blobs/sha256", "unpacked", "tmp", "used"] {
            fs::create_dir_all(store.path(part)).at("create", &store.path(part))?;
        }
        for private in ["unpacked", "tmp"] {
            let path = store.path(private);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).at("set the mode of", &path)?;
        }
        let lock = store.path("lock");
        File::options().append(true).create(true).open(&lock).at("create", &lock)?;
        let _lock = store.exclusive()?;
        if !store.path("oci-layout").exists() {
            store.replace("oci-layout", LAYOUT.as_bytes())?;
        }
        if !store.path("index.json").exists() {
            store.replace("index.json", &document::to_json(&Index::default()))?;
        }
        Ok(store)
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.root
    }

    /// The image of that name; `None` when there is none.
    pub fn find(&self, reference: &ImageReference) -> Result<Option<Image>, ImageError> {
        let _lock = self.shared()?;
        let index = self.index()?;
        let found = match reference.digest() {
            Some(digest) => entries(&index)
                .chain(former_entries(&index))
                .find(|(stored, found)| stored.repository() == reference.repository() && found.digest == digest),
            None => entries(&index)
                .filter_map(|(stored, found)| Some((name::distance(&stored, reference)?, stored, found)))
                .min_by_key(|(distance, ..)| *distance)
                .map(|(_, stored, found)| (stored, found)),
        };
        found.map(|(stored, descriptor)| self.image(stored, descriptor)).transpose()
    }

    /// The image of that name, or an error that says what to do.
    pub fn get(&self, reference: &ImageReference) -> Result<Image, ImageError> {
        self.find(reference)?.ok_or_else(|| ImageError::NotFound(reference.clone()))
    }

    /// All images, by name.
    pub fn list(&self) -> Result<Vec<Image>, ImageError> {
        let _lock = self.shared()?;
        let index = self.index()?;
        let mut images = entries(&index)
            .map(|(reference, descriptor)| self.image(reference, descriptor))
            .collect::<Result<Vec<_>, _>>()?;
        images.sort_by(|a, b| a.reference.cmp(&b.reference));
        Ok(images)
    }

    /// Gives whole blobs their place, then the manifest its names; nothing refers to a blob that is not on disk.
    pub(crate) fn commit<'a>(
        &self,
        blobs: impl IntoIterator<Item = &'a StagedBlob>,
        names: &[(ImageReference, Descriptor)],
    ) -> Result<(), ImageError> {
        let _lock = self.exclusive()?;
        for blob in blobs {
            let place = self.blob_path(&blob.digest);
            fs::rename(&blob.path, &place).at("keep", &place)?;
        }
        self.sync_directory("blobs/sha256")?;
        let mut index = self.index()?;
        for (reference, descriptor) in names {
            let (replaced, mut others): (Vec<_>, Vec<_>) =
                index.manifests.into_iter().partition(|old| is_named(old, reference));
            others.retain(|other| !(is_former(other) && other.digest == descriptor.digest));
            // Something may still run, or go back to, what had the name: by its digest.
            let is_elsewhere = |digest: &str| others.iter().any(|other| other.digest == digest);
            let former: Vec<_> = replaced
                .into_iter()
                .filter(|old| old.digest != descriptor.digest && !is_elsewhere(&old.digest))
                .map(|old| nameless(old, reference))
                .collect();
            index.manifests = [others, former, vec![named(descriptor, reference)]].concat();
        }
        self.replace("index.json", &document::to_json(&index))
    }

    pub(crate) fn staging(&self) -> Result<Staging, ImageError> {
        let _lock = self.shared()?;
        Staging::new(&self.path("tmp"))
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    pub(crate) fn shared(&self) -> Result<Lock, ImageError> {
        Lock::shared(&self.path("lock"))
    }

    fn exclusive(&self) -> Result<Lock, ImageError> {
        Lock::exclusive(&self.path("lock"))
    }

    pub(crate) fn path(&self, part: &str) -> PathBuf {
        self.root.join(part)
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path("blobs/sha256").join(digest.hex())
    }

    pub(crate) fn unpacked_path(&self, digest: &Digest) -> PathBuf {
        self.path("unpacked").join(digest.hex())
    }

    /// Marks a file system as used by this process until it ends, so that nobody collects it.
    pub(crate) fn hold(&self, digest: &Digest) -> Result<(), ImageError> {
        let held = |map: &Mutex<BTreeMap<Digest, Lock>>| {
            map.lock().unwrap_or_else(PoisonError::into_inner).contains_key(digest)
        };
        if !held(&self.in_use) {
            let lock = Lock::shared(&self.unpacked_path(digest))?;
            self.in_use.lock().unwrap_or_else(PoisonError::into_inner).insert(digest.clone(), lock);
        }
        Ok(())
    }

    /// Forgets that this process uses a file system.
    pub(crate) fn let_go(&self, digest: &Digest) {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner).remove(digest);
    }

    pub(crate) fn open_blob(&self, digest: &Digest) -> Result<File, ImageError> {
        let path = self.blob_path(digest);
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(ImageError::MissingBlob { digest: digest.to_string() })
            }
            opened => opened.at("read", &path),
        }
    }

    /// A JSON blob, whole and as its digest says.
    pub(crate) fn document(&self, digest: &Digest) -> Result<Vec<u8>, ImageError> {
        let mut bytes = Vec::new();
        let file = self.open_blob(digest)?;
        file.take(MAX_DOCUMENT).read_to_end(&mut bytes).at("read", &self.blob_path(digest))?;
        if Digest::of(&bytes) == *digest {
            return Ok(bytes);
        }
        Err(ImageError::Damaged { what: format!("blob {digest}"), why: "its digest is another one".to_owned() })
    }

    fn index(&self) -> Result<Index, ImageError> {
        let path = self.path("index.json");
        let bytes = fs::read(&path).at("read", &path)?;
        document::parse("index.json of the image store", &bytes)
    }

    fn check_layout(&self) -> Result<(), ImageError> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Layout {
            image_layout_version: String,
        }
        let path = self.path("oci-layout");
        let refuse = |why| ImageError::NotAStore { path: self.root.to_path_buf(), why };
        let bytes = fs::read(&path).map_err(|error| refuse(format!("its oci-layout cannot be read: {error}")))?;
        let layout: Layout =
            serde_json::from_slice(&bytes).map_err(|error| refuse(format!("its oci-layout is not valid: {error}")))?;
        if layout.image_layout_version.starts_with("1.") {
            return Ok(());
        }
        Err(refuse(format!("its layout has version {}, and this version knows 1.0.0", layout.image_layout_version)))
    }

    /// Replaces a small file: all of it or none, on disk when this returns.
    fn replace(&self, file: &str, bytes: &[u8]) -> Result<(), ImageError> {
        let path = self.path(file);
        let write = || {
            let mut temporary = tempfile::NamedTempFile::new_in(&self.root)?;
            io::Write::write_all(&mut temporary, bytes)?;
            temporary.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
            temporary.as_file().sync_all()?;
            temporary.persist(&path).map_err(|error| error.error)?;
            File::open(&*self.root)?.sync_all()
        };
        write().at("write", &path)
    }

    pub(crate) fn sync_directory(&self, part: &str) -> Result<(), ImageError> {
        let path = self.path(part);
        File::open(&path).and_then(|directory| directory.sync_all()).at("sync", &path)
    }
}

/// The named images of an index; what others put there without a readable name is left alone.
fn entries(index: &Index) -> impl Iterator<Item = (ImageReference, &Descriptor)> {
    index.manifests.iter().filter_map(|descriptor| Some((name_of(descriptor)?, descriptor)))
}

/// Images that had a name until another one got it.
fn former_entries(index: &Index) -> impl Iterator<Item = (ImageReference, &Descriptor)> {
    let former = |descriptor: &Descriptor| descriptor.annotations.get(document::FORMER_NAME)?.parse().ok();
    index.manifests.iter().filter_map(move |descriptor| Some((former(descriptor)?, descriptor)))
}

fn is_former(descriptor: &Descriptor) -> bool {
    descriptor.annotations.contains_key(document::FORMER_NAME)
}

fn name_of(descriptor: &Descriptor) -> Option<ImageReference> {
    name::of_descriptor(descriptor).ok()
}

fn is_named(descriptor: &Descriptor, reference: &ImageReference) -> bool {
    name_of(descriptor).is_some_and(|stored| name::familiar(&stored) == name::familiar(reference))
}

/// The descriptor without the name it had.
fn nameless(mut descriptor: Descriptor, former: &ImageReference) -> Descriptor {
    descriptor.annotations.retain(|key, _| ![REF_NAME, document::CONTAINERD_NAME].contains(&key.as_str()));
    descriptor.annotations.insert(document::FORMER_NAME.to_owned(), former.canonical());
    descriptor
}

/// The descriptor under that name, for every tool that reads it.
pub(crate) fn named(descriptor: &Descriptor, reference: &ImageReference) -> Descriptor {
    let mut descriptor = descriptor.clone();
    descriptor.annotations.insert(REF_NAME.to_owned(), reference.canonical());
    descriptor.annotations.insert(document::CONTAINERD_NAME.to_owned(), name::qualified(reference));
    descriptor
}
