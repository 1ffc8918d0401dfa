//! Gives files their place: whole or not at all, on the disk when it is said.

use crate::error::{At, BundleError};
use crate::root::{remove, sync};
use crate::steps::Steps;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, utimensat};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What the name of a file ends with as long as it is not whole. K3s takes no such file.
const PART: &str = ".crema-part";

/// Where a file's bytes come from.
pub(crate) enum Bytes<'a> {
    /// A file that is never changed; its place may be a second name of it.
    Link(&'a Path),
    /// Bytes that only the owner may read: K3s changes nothing in them, people might.
    Private(&'a [u8]),
}

/// Puts a file in place of whatever has that name.
pub(crate) fn put(bytes: &Bytes<'_>, place: &Path, steps: &Steps) -> Result<(), BundleError> {
    let part = part(place);
    steps.before("writing", place)?;
    remove(&part)?;
    match bytes {
        Bytes::Link(from) => {
            // Another file system, or one without links.
            if fs::hard_link(from, &part).is_err() {
                fs::copy(from, &part).at("copy to", &part)?;
                fs::set_permissions(&part, fs::Permissions::from_mode(0o644)).at("set the mode of", &part)?;
                File::open(&part).and_then(|file| file.sync_all()).at("sync", &part)?;
            }
            // K3s looks at the time to see that a file is another one, also when an older one comes back.
            let now = Timestamps {
                last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
                last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
            };
            utimensat(CWD, &part, &now, AtFlags::empty()).at("set the time of", &part)?;
        }
        Bytes::Private(bytes) => {
            let mut file = File::create(&part).at("create", &part)?;
            file.set_permissions(fs::Permissions::from_mode(0o600)).at("set the mode of", &part)?;
            file.write_all(bytes).and_then(|()| file.sync_all()).at("write", &part)?;
        }
    }
    steps.before("naming", place)?;
    fs::rename(&part, place).at("replace", place)
}

/// The same, on the disk with its name when this returns.
pub(crate) fn keep(bytes: &[u8], place: &Path, steps: &Steps) -> Result<(), BundleError> {
    put(&Bytes::Private(bytes), place, steps)?;
    sync(place.parent().unwrap_or_else(|| Path::new("/")))
}

/// Removes what a work that was cut off left in a folder.
pub(crate) fn clear_parts(folder: &Path) -> Result<(), BundleError> {
    for entry in fs::read_dir(folder).at("read", folder)? {
        let entry = entry.at("read", folder)?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") && name.as_encoded_bytes().ends_with(PART.as_bytes()) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn part(place: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(place.file_name().unwrap_or_default());
    name.push(PART);
    place.with_file_name(name)
}
