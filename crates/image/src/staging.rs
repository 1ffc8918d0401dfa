//! A directory of one operation's unfinished work, inside the store so that finishing is a rename.
//!
//! Its lock tells others that its owner lives; what a dead owner left is cleared by the next collection.

use crate::digest::{Digest, Hashing};
use crate::error::{At, ImageError};
use crate::lock::Lock;
use crate::root;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub(crate) struct Staging {
    directory: TempDir,
    _lock: Lock,
    next: u64,
}

/// A whole blob that is on disk but has no name in the store yet.
#[derive(Clone, Debug)]
pub(crate) struct StagedBlob {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) path: PathBuf,
}

impl Staging {
    /// The caller holds the store's lock, so that no collection sees the directory before it is locked.
    pub(crate) fn new(temporary: &Path) -> Result<Self, ImageError> {
        let directory = TempDir::new_in(temporary).at("write in", temporary)?;
        let lock = Lock::shared(directory.path())?;
        Ok(Self { directory, _lock: lock, next: 0 })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Keeps what `write` writes; the blob is synced when this returns.
    pub(crate) fn blob<T>(
        &mut self,
        write: impl FnOnce(&mut dyn Write) -> Result<T, ImageError>,
    ) -> Result<(StagedBlob, T), ImageError> {
        let path = self.directory.path().join(self.next.to_string());
        self.next += 1;
        let file = File::create_new(&path).at("create", &path)?;
        let mut hashing = Hashing::new(BufWriter::with_capacity(128 * 1024, file));
        let answer = write(&mut hashing)?;
        let (writer, digest, size) = hashing.finish();
        let file = writer.into_inner().map_err(std::io::IntoInnerError::into_error).at("write", &path)?;
        file.sync_all().at("sync", &path)?;
        Ok((StagedBlob { digest, size, path }, answer))
    }

    /// Removes it with all in it, also what refuses its owner.
    pub(crate) fn empty(self) -> Result<(), ImageError> {
        let path = self.directory.keep();
        root::remove_tree(&path).at("remove", &path)
    }

    pub(crate) fn document(&mut self, bytes: &[u8]) -> Result<StagedBlob, ImageError> {
        let path = self.directory.path().to_owned();
        let (blob, ()) = self.blob(|writer| writer.write_all(bytes).at("write in", &path))?;
        Ok(blob)
    }
}
