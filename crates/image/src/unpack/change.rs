//! What an entry of a layer asks for.

use crate::archive::Item;
use crate::error::ImageError;
use crate::root::entry_path;
use crate::store::SpecialFiles;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use tar::EntryType;

/// The name that hides all that lower layers have in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// The prefix of a name that hides one file of lower layers.
const WHITEOUT: &[u8] = b".wh.";

/// A change to the file system; the path is relative and holds neither `.` nor `..`.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Change {
    Directory {
        path: PathBuf,
    },
    File {
        path: PathBuf,
    },
    Symlink {
        path: PathBuf,
        target: PathBuf,
    },
    HardLink {
        path: PathBuf,
        to: PathBuf,
    },
    /// Hides `name` of lower layers in `directory`.
    Hide {
        directory: PathBuf,
        name: OsString,
    },
    /// Hides everything of lower layers in `directory`.
    HideAll {
        directory: PathBuf,
    },
}

/// Reads an entry; `None` when it asks for nothing.
pub(super) fn decode(of: &str, item: &Item<'_>, special: SpecialFiles) -> Result<Option<Change>, ImageError> {
    let path = entry_path(&item.path).map_err(|why| item.refuse(of, why))?;
    if item.kind == EntryType::XGlobalHeader {
        return Ok(None);
    }
    let Some(name) = path.file_name().map(OsStr::to_owned) else {
        return match item.kind {
            EntryType::Directory => Ok(Some(Change::Directory { path })),
            _ => Err(item.refuse(of, "it takes the place of the root directory")),
        };
    };
    if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT) {
        let directory = path.parent().map(PathBuf::from).unwrap_or_default();
        return match hidden {
            _ if name.as_bytes() == OPAQUE => Ok(Some(Change::HideAll { directory })),
            b"" | b"." | b".." => Err(item.refuse(of, "it hides no file")),
            // Other `.wh..wh.` names are notes of AUFS to itself.
            _ if hidden.starts_with(WHITEOUT) => Ok(None),
            _ => Ok(Some(Change::Hide { directory, name: OsStr::from_bytes(hidden).to_owned() })),
        };
    }
    let change = match item.kind {
        EntryType::Directory => Change::Directory { path },
        // Before POSIX, a directory was a file whose name ends with a slash.
        EntryType::Regular if item.path.ends_with(b"/") => Change::Directory { path },
        EntryType::Regular | EntryType::Continuous => Change::File { path },
        EntryType::Symlink if item.link.is_empty() || item.link.contains(&0) => {
            return Err(item.refuse(of, "its link has no valid target"));
        }
        EntryType::Symlink => Change::Symlink { path, target: OsStr::from_bytes(&item.link).into() },
        EntryType::Link => {
            let to = entry_path(&item.link).map_err(|why| item.refuse(of, format!("its link's target: {why}")))?;
            if to.as_os_str().is_empty() {
                return Err(item.refuse(of, "its link has no valid target"));
            }
            Change::HardLink { path, to }
        }
        EntryType::Char | EntryType::Block | EntryType::Fifo => {
            return match special {
                SpecialFiles::Skip => Ok(None),
                SpecialFiles::Refuse => Err(item.refuse(of, "an image must not bring device nodes or pipes")),
            };
        }
        EntryType::GNUSparse => return Err(item.refuse(of, "sparse files are not understood; pack it as a plain one")),
        other => return Err(item.refuse(of, format!("its kind {:?} is unknown", char::from(other.as_byte())))),
    };
    Ok(Some(change))
}
