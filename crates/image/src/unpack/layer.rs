//! Applies one layer to a root file system.

use super::change::Change;
use crate::archive::{self, Allowance, Entries, Item};
use crate::digest::{Digest, Hashing};
use crate::error::ImageError;
use crate::root::{Root, remove_tree};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Reads a layer's entries and then the rest of it, so that both digests are known: of the blob as it is stored, and
/// of what it unpacks to. A wrong digest is the error even where the damage showed itself earlier.
pub(crate) fn read_layer(
    of: &str,
    blob: impl Read,
    (digest, diff_id): (&Digest, Option<&str>),
    allowance: &mut Allowance,
    each: impl FnMut(&mut Item<'_>) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    let mut compressed = Hashing::new(blob);
    let outcome = read_plain(of, BufReader::with_capacity(64 * 1024, &mut compressed), allowance, each);
    let drained = io::copy(&mut compressed, &mut io::sink());
    drained.map_err(|error| ImageError::Damaged { what: of.to_owned(), why: error.to_string() })?;
    let (_, found, _) = compressed.finish();
    let damaged = |why: String| ImageError::Damaged { what: of.to_owned(), why };
    if found != *digest {
        return Err(damaged(format!("it should be {digest} and is {found}")));
    }
    let plain = outcome?;
    match diff_id {
        Some(diff_id) if diff_id != plain.to_string() => {
            Err(damaged(format!("without compression it should be {diff_id} and is {plain}")))
        }
        _ => Ok(()),
    }
}

fn read_plain(
    of: &str,
    blob: impl io::BufRead,
    allowance: &mut Allowance,
    each: impl FnMut(&mut Item<'_>) -> Result<(), ImageError>,
) -> Result<Digest, ImageError> {
    let mut plain = Hashing::new(archive::decompressed(of, blob)?);
    archive::for_each(of, &mut plain, allowance, each)?;
    let rest = io::copy(&mut allowance.bytes.reader(&mut plain), &mut io::sink());
    rest.map_err(|error| allowance.error(of, &error))?;
    Ok(plain.finish().1)
}

/// Where one layer goes.
pub(crate) struct Target<'a> {
    root: &'a Root,
    /// What this layer brought itself and its whiteouts do not hide; `None` for the lowest layer, which hides nothing.
    own: Option<HashSet<PathBuf>>,
    /// Directories that entries need and none names count as entries: a path may need hundreds.
    entries: Entries,
}

impl<'a> Target<'a> {
    pub(crate) fn new(root: &'a Root, over_others: bool, entries: Entries) -> Self {
        Self { root, own: over_others.then(HashSet::new), entries }
    }

    pub(super) fn apply(&mut self, of: &str, change: Change, item: &mut Item<'_>) -> Result<(), ImageError> {
        self.try_apply(change, item).map_err(|error| item.refuse(of, error.to_string()))
    }

    fn try_apply(&mut self, change: Change, item: &mut Item<'_>) -> io::Result<()> {
        match change {
            Change::Directory { path } if path.as_os_str().is_empty() => set_mode(self.root.base(), item.mode),
            Change::Directory { path } => {
                let place = self.place(&path)?;
                if !fs::symlink_metadata(&place).is_ok_and(|found| found.is_dir()) {
                    clear(&place)?;
                    fs::create_dir(&place)?;
                }
                set_mode(&place, item.mode)
            }
            Change::File { path } => {
                let place = self.free_place(&path)?;
                let mut file = File::create_new(&place)?;
                io::copy(item.contents, &mut file)?;
                file.set_permissions(fs::Permissions::from_mode(for_anyone(item.mode & 0o777 | 0o400)))?;
                match UNIX_EPOCH.checked_add(Duration::from_secs(item.mtime)) {
                    Some(time) if item.mtime <= u64::from(u32::MAX) => file.set_modified(time),
                    _ => Ok(()),
                }
            }
            Change::Symlink { path, target } => symlink(target, self.free_place(&path)?),
            Change::HardLink { path, to } => self.hard_link(&path, &to),
            Change::Hide { directory, name } => match self.root.directory(&directory)? {
                Some(directory) => self.hide(&directory.join(name)),
                None => Ok(()),
            },
            Change::HideAll { directory } => match self.root.directory(&directory)? {
                Some(directory) => self.hide_inside(&directory),
                None => Ok(()),
            },
        }
    }

    fn hard_link(&mut self, path: &Path, to: &Path) -> io::Result<()> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "the file it links to is not in the image");
        let (above, name) = split(to)?;
        let existing = self.root.at(&self.root.directory(above)?.ok_or_else(missing)?).join(name);
        let found = fs::symlink_metadata(&existing).map_err(|_| missing())?;
        if found.is_dir() {
            return Err(io::Error::other("it links to a directory"));
        }
        let place = self.place(path)?;
        if place == existing {
            return Ok(());
        }
        clear(&place)?;
        fs::hard_link(existing, place)
    }

    /// Where an entry goes, its directories made; whatever is there already stays for now.
    fn place(&mut self, path: &Path) -> io::Result<PathBuf> {
        let (above, name) = split(path)?;
        let too_many = |limit| {
            io::Error::other(format!("with the directories it needs, the image holds more than {limit} entries"))
        };
        let directory = self.root.make_directory(above, || self.entries.take().map_err(too_many))?;
        let place = directory.join(name);
        if let Some(own) = &mut self.own {
            for above in place.ancestors().take_while(|above| !above.as_os_str().is_empty()) {
                // Those above one that is there already came with it.
                if !own.insert(above.to_owned()) {
                    break;
                }
            }
        }
        Ok(self.root.at(&place))
    }

    fn free_place(&mut self, path: &Path) -> io::Result<PathBuf> {
        let place = self.place(path)?;
        clear(&place)?;
        Ok(place)
    }

    /// Removes what lower layers have at a real place; what this layer put there stays.
    fn hide(&self, place: &Path) -> io::Result<()> {
        let Some(own) = &self.own else { return Ok(()) };
        if !own.contains(place) {
            return clear(&self.root.at(place));
        }
        match fs::symlink_metadata(self.root.at(place)) {
            Ok(found) if found.is_dir() => self.hide_inside(place),
            _ => Ok(()),
        }
    }

    fn hide_inside(&self, directory: &Path) -> io::Result<()> {
        for entry in fs::read_dir(self.root.at(directory))? {
            self.hide(&directory.join(entry?.file_name()))?;
        }
        Ok(())
    }
}

fn split(path: &Path) -> io::Result<(&Path, &OsStr)> {
    let name = path.file_name().ok_or_else(|| io::Error::other("it has no name"))?;
    Ok((path.parent().unwrap_or_else(|| Path::new("")), name))
}

fn clear(place: &Path) -> io::Result<()> {
    match remove_tree(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Sets a directory's mode. The caller has seen that it is one: the call would follow a link.
fn set_mode(directory: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(for_anyone(mode & 0o1777 | 0o700)))
}

/// What its owner may read and run, everybody may: a function runs as a user of its own, whoever unpacked its image.
const fn for_anyone(mode: u32) -> u32 {
    let readable = mode & 0o500;
    mode | readable >> 3 | readable >> 6
}
