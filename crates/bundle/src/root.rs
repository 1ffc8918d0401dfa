//! K3s' folders below a root, which nothing may leave, and what is kept beside them.

use crate::entry::Kind;
use crate::error::{At, BundleError};
use crate::steps::Steps;
use rustix::fs::{FlockOperation, flock, statvfs};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

/// Where K3s keeps everything, below the root.
pub const DATA_DIR: &str = "var/lib/rancher/k3s";
/// What is left free on the disk.
const MARGIN: u64 = 32 * 1024 * 1024;
const MIB: u64 = 1024 * 1024;

/// K3s' data directory below a root: `/`, or where a store's disk is mounted.
#[derive(Clone, Debug)]
pub struct Root {
    root: PathBuf,
    data: PathBuf,
}

impl Root {
    /// The data directory `data` of a root that is there. Links may lead anywhere inside the root.
    pub fn open(root: &Path, data: &Path) -> Result<Self, BundleError> {
        let refuse = |path: &Path, why: String| Err(BundleError::Root { path: path.to_owned(), why });
        let inside = data.strip_prefix("/").unwrap_or(data);
        if !inside.components().all(|part| matches!(part, Component::Normal(_))) || inside.as_os_str().is_empty() {
            return refuse(data, "it is no path below the root".to_owned());
        }
        let canonical = match fs::canonicalize(root) {
            Ok(canonical) if canonical.is_dir() => canonical,
            Ok(_) => return refuse(root, "it is no folder".to_owned()),
            Err(error) => return refuse(root, format!("{error}; is the disk mounted?")),
        };
        let root = Self { data: canonical.join(inside), root: canonical };
        for place in [root.state(), root.folder(Kind::Image), root.folder(Kind::Manifest)] {
            root.check_inside(&place)?;
        }
        Ok(root)
    }

    /// What is kept of bundles.
    pub(crate) fn state(&self) -> PathBuf {
        self.data.join("crema-bundle")
    }

    /// K3s' folder.
    pub(crate) fn folder(&self, kind: Kind) -> PathBuf {
        match kind {
            Kind::Image => self.data.join("agent/images"),
            Kind::Manifest => self.data.join("server/manifests"),
        }
    }

    /// A path as people know it, without the root.
    pub(crate) fn shown<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.data).unwrap_or(path)
    }

    /// Whatever of a path is there lies inside the root.
    fn check_inside(&self, path: &Path) -> Result<(), BundleError> {
        let there = path.ancestors().find(|above| fs::symlink_metadata(above).is_ok()).unwrap_or(&self.root);
        let refuse = |why: String| BundleError::Root { path: there.to_owned(), why };
        let real = fs::canonicalize(there).map_err(|error| refuse(format!("it leads nowhere: {error}")))?;
        if !real.starts_with(&self.root) {
            return Err(refuse(format!("it leads to {}, out of {}", real.display(), self.root.display())));
        }
        if !real.is_dir() {
            return Err(refuse("it is no folder".to_owned()));
        }
        Ok(())
    }

    /// Makes the folders that are missing, with the rights K3s gives them: what is below `server` is its own.
    pub(crate) fn make_folders(&self, steps: &Steps) -> Result<(), BundleError> {
        for (folder, mode) in [
            (self.state(), 0o700),
            (self.folder(Kind::Image), 0o755),
            (self.data.join("server"), 0o700),
            (self.folder(Kind::Manifest), 0o700),
        ] {
            self.make(&folder, mode, steps)?;
        }
        Ok(())
    }

    fn make(&self, folder: &Path, mode: u32, steps: &Steps) -> Result<(), BundleError> {
        if folder.is_dir() {
            return Ok(());
        }
        let above = folder.parent().unwrap_or(&self.root);
        self.make(above, 0o755, steps)?;
        steps.before("making", folder)?;
        DirBuilder::new().mode(mode).create(folder).at("create", folder)?;
        sync(above)
    }

    /// Nobody else is at work as long as the file lives.
    pub(crate) fn lock(&self) -> Result<File, BundleError> {
        let path = self.state().join("lock");
        let file = File::options().append(true).create(true).open(&path).at("open", &path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(BundleError::Busy { path: self.state() }),
            Err(error) => Err(BundleError::Io { doing: "lock", path, source: error.into() }),
        }
    }

    /// Room for what is to be kept, and for copies of the images where they lie on another disk.
    pub(crate) fn check_room(&self, kept: u64, images: u64) -> Result<(), BundleError> {
        let (state, folder) = (existing(&self.state()), existing(&self.folder(Kind::Image)));
        let device = |path: &Path| fs::metadata(path).map(|there| there.dev()).at("look at", path);
        room(&state, kept)?;
        if device(&state)? == device(&folder)? { Ok(()) } else { room(&folder, images) }
    }
}

fn existing(path: &Path) -> PathBuf {
    path.ancestors().find(|above| above.exists()).unwrap_or(path).to_owned()
}

fn room(path: &Path, bytes: u64) -> Result<(), BundleError> {
    let there = statvfs(path).at("look at", path)?;
    let free = there.f_bavail.saturating_mul(there.f_frsize);
    let needed = bytes.saturating_add(MARGIN);
    if bytes == 0 || free >= needed {
        return Ok(());
    }
    Err(BundleError::Space { path: path.to_owned(), free: free / MIB, needed: needed.div_ceil(MIB) })
}

/// Puts a folder's names on the disk.
pub(crate) fn sync(folder: &Path) -> Result<(), BundleError> {
    File::open(folder).and_then(|folder| folder.sync_all()).at("sync", folder)
}

/// Removes a file or folder that may not be there.
pub(crate) fn remove(path: &Path) -> Result<(), BundleError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(there) if there.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at("remove", path),
        _ => Ok(()),
    }
}
