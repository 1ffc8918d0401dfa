//! Images as files to carry: archives, and `images.lock`, which says what is in each.

use super::BuildError;
use image::{Image, Store};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// The file that lists the archives of a folder: `NAME@DIGEST PLATFORM ARCHIVE` a line.
pub const LOCK: &str = "images.lock";

/// A folder of archives that is being filled.
pub(super) struct Archives {
    folder: PathBuf,
    lines: Vec<String>,
}

impl Archives {
    /// Makes the folder where it is not there.
    pub(super) fn new(folder: &Path) -> Result<Self, BuildError> {
        fs::create_dir_all(folder).map_err(BuildError::io("create", folder))?;
        Ok(Self { folder: folder.to_owned(), lines: Vec::new() })
    }

    /// Writes images of the store as an archive of that name; layers they share are in it once.
    pub(super) fn add(&mut self, store: &Store, images: &[Image], file: &str) -> Result<(), BuildError> {
        let place = self.folder.join(file);
        let mut whole = self.new_file()?;
        let names: Vec<_> = images.iter().map(|image| image.reference.clone()).collect();
        store.export(&names, BufWriter::with_capacity(128 * 1024, whole.as_file_mut()))?;
        keep(whole, &place).map_err(BuildError::io("write", &place))?;
        let line =
            |image: &Image| format!("{}@{} {} {file}\n", image.reference.canonical(), image.digest, image.platform);
        self.lines.extend(images.iter().map(line));
        Ok(())
    }

    /// Writes down what is there now; its path.
    pub(super) fn lock(mut self) -> Result<PathBuf, BuildError> {
        self.lines.sort();
        let place = self.folder.join(LOCK);
        let mut whole = self.new_file()?;
        let written = whole.write_all(self.lines.concat().as_bytes()).and_then(|()| keep(whole, &place));
        written.map_err(BuildError::io("write", &place))?;
        Ok(place)
    }

    fn new_file(&self) -> Result<tempfile::NamedTempFile, BuildError> {
        tempfile::NamedTempFile::new_in(&self.folder).map_err(BuildError::io("write in", &self.folder))
    }
}

/// Gives a whole file its name.
fn keep(file: tempfile::NamedTempFile, place: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(place).map_err(|error| error.error)?;
    File::open(place.parent().unwrap_or_else(|| Path::new(".")))?.sync_all()
}
