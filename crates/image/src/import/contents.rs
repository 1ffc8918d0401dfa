//! The files of an archive, kept under names of ours; the archive's own names are only keys.

use crate::archive::Item;
use crate::digest::Digest;
use crate::document::{Descriptor, MAX_DOCUMENT};
use crate::error::{At, ImageError};
use crate::root::entry_path;
use crate::staging::{StagedBlob, Staging};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use tar::EntryType;

/// An archive of images has a few files for each layer.
pub(super) const MAX_ENTRIES: u64 = 10_000;
/// Links followed from one name.
const MAX_LINKS: usize = 8;

pub(super) struct Contents {
    staging: Staging,
    files: BTreeMap<PathBuf, StagedBlob>,
    links: BTreeMap<PathBuf, PathBuf>,
}

impl Contents {
    pub(super) fn new(staging: Staging) -> Self {
        Self { staging, files: BTreeMap::new(), links: BTreeMap::new() }
    }

    /// Keeps one entry.
    pub(super) fn keep(&mut self, of: &str, item: &mut Item<'_>) -> Result<(), ImageError> {
        if item.path.starts_with(b"/") {
            return Err(item.refuse(of, "an archive of images has no absolute paths"));
        }
        let path = entry_path(&item.path).map_err(|why| item.refuse(of, why))?;
        match item.kind {
            EntryType::Directory | EntryType::XGlobalHeader => {}
            EntryType::Regular | EntryType::Continuous => {
                let directory = self.staging.path().to_owned();
                let (blob, _) = self.staging.blob(|writer| {
                    io::copy(&mut item.contents, writer).map_err(|error| copy_error(error, &directory))
                })?;
                self.files.insert(path, blob);
            }
            EntryType::Symlink | EntryType::Link => {
                let link = Path::new(std::ffi::OsStr::new(std::str::from_utf8(&item.link).unwrap_or("/")));
                let from = match item.kind {
                    EntryType::Symlink => path.parent().unwrap_or_else(|| Path::new("")),
                    _ => Path::new(""),
                };
                let target = lexical(&from.join(link)).ok_or_else(|| item.refuse(of, "its link leaves the archive"))?;
                self.links.insert(path, target);
            }
            _ => return Err(item.refuse(of, "an archive of images holds files and directories only")),
        }
        Ok(())
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.file(path).is_some()
    }

    pub(super) fn file(&self, path: &str) -> Option<&StagedBlob> {
        let mut path = Path::new(path);
        for _ in 0..MAX_LINKS {
            match self.links.get(path) {
                Some(target) => path = target,
                None => break,
            }
        }
        self.files.get(path)
    }

    /// A file that must be there.
    pub(super) fn required(&self, path: &str) -> Result<&StagedBlob, ImageError> {
        self.file(path).ok_or_else(|| ImageError::Archive {
            why: format!("{path} is not in it; it is cut short or was not written completely"),
        })
    }

    /// The blob that an OCI document names, which must be what its name says.
    pub(super) fn blob(&self, descriptor: &Descriptor) -> Result<&StagedBlob, ImageError> {
        let digest = Digest::parse(&descriptor.digest).ok_or_else(|| ImageError::Archive {
            why: format!("{:?} is no sha256 digest", descriptor.digest.chars().take(100).collect::<String>()),
        })?;
        let blob = self.required(&format!("blobs/sha256/{}", digest.hex()))?;
        if blob.digest == digest {
            return Ok(blob);
        }
        Err(ImageError::Archive { why: format!("blob {digest} holds other bytes, of digest {}", blob.digest) })
    }

    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<StagedBlob, ImageError> {
        self.staging.document(bytes)
    }
}

/// A JSON file of the archive.
pub(super) fn read(blob: &StagedBlob) -> Result<Vec<u8>, ImageError> {
    if blob.size > MAX_DOCUMENT {
        return Err(ImageError::Archive { why: "one of its JSON files is larger than 4 MiB".to_owned() });
    }
    fs::read(&blob.path).at("read", &blob.path)
}

/// A full disk is the file system's, a broken stream the archive's.
fn copy_error(error: io::Error, directory: &Path) -> ImageError {
    match error.raw_os_error() {
        Some(_) => ImageError::Io { doing: "write in", path: directory.to_owned(), source: error },
        None => ImageError::Archive { why: error.to_string() },
    }
}

/// The path with `..` worked out; `None` when it climbs out or is absolute.
fn lexical(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => plain.push(part),
            Component::CurDir => {}
            Component::ParentDir if plain.pop() => {}
            _ => return None,
        }
    }
    Some(plain)
}
