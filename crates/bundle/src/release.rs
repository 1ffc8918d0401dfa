//! The versions that are kept on the disk, and which of them is in place.

use crate::archive::{self, Contents};
use crate::entry::{Entry, Kind, copy, digest_of};
use crate::error::{At, BundleError};
use crate::key::VerifyKey;
use crate::metadata::{METADATA, Metadata, SUMS, Sums};
use crate::place::keep;
use crate::root::{Root, remove, sync};
use crate::steps::Steps;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The format of `state.json`.
const FORMAT: u32 = 1;

/// Which version is where; `state.json`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct State {
    pub(crate) format: u32,
    /// The one that is in place, whole.
    pub(crate) current: Option<String>,
    /// The one that was before.
    pub(crate) previous: Option<String>,
    /// The one that is being put in place.
    pub(crate) next: Option<String>,
}

impl State {
    pub(crate) fn read(root: &Root) -> Result<Self, BundleError> {
        let path = path(root);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { format: FORMAT, ..Self::default() });
            }
            Err(error) => return Err(error).at("read", &path),
        };
        let refuse = |why: String| BundleError::Root { path: path.clone(), why };
        let state: Self =
            serde_json::from_slice(&bytes).map_err(|error| refuse(format!("it is not valid: {error}")))?;
        if state.format != FORMAT {
            return Err(refuse(format!("it has format {}, and this crema knows {FORMAT}", state.format)));
        }
        Ok(state)
    }

    pub(crate) fn write(&self, root: &Root, steps: &Steps) -> Result<(), BundleError> {
        let bytes = serde_json::to_vec(self).expect("a state is plain text");
        keep(&bytes, &path(root), steps)
    }

    /// All it names; none of them is forgotten.
    fn ids(&self) -> impl Iterator<Item = &String> {
        [&self.current, &self.previous, &self.next].into_iter().flatten()
    }
}

fn path(root: &Root) -> PathBuf {
    root.state().join("state.json")
}

/// A version on the disk, all of it.
#[derive(Clone, Debug)]
pub(crate) struct Release {
    pub(crate) id: String,
    pub(crate) metadata: Metadata,
    pub(crate) sums: Sums,
    folder: PathBuf,
}

impl Release {
    /// The version of that id; `None` when it is not there or not to be read.
    pub(crate) fn open(root: &Root, id: &str) -> Option<Self> {
        // Ids are of our making; those of a state that somebody changed might not be.
        if id.starts_with('.') || id.contains('/') {
            return None;
        }
        let folder = releases(root).join(id);
        let sums = Sums::parse(&fs::read_to_string(folder.join(SUMS)).ok()?).ok()?;
        let metadata = serde_json::from_slice(&fs::read(folder.join(METADATA)).ok()?).ok()?;
        Some(Self { id: id.to_owned(), metadata, sums, folder })
    }

    pub(crate) fn file(&self, entry: &Entry) -> PathBuf {
        self.folder.join(entry.to_string())
    }

    /// The first file that is no longer what it was.
    pub(crate) fn damaged(&self) -> Option<&Entry> {
        let whole =
            |entry: &Entry, expected: &String| digest_of(&self.file(entry)).is_ok_and(|(found, _)| found == *expected);
        self.sums.entries.iter().find(|(entry, expected)| !whole(entry, expected)).map(|(entry, _)| entry)
    }

    /// Takes a version from a bundle that was checked: read, checked and written once more, and named when it is whole.
    pub(crate) fn take(
        root: &Root,
        bundle: &Path,
        key: Option<&VerifyKey>,
        expected: &Contents,
        steps: &Steps,
    ) -> Result<Self, BundleError> {
        let (id, releases) = (expected.id(), releases(root));
        let incoming = root.state().join("incoming");
        steps.before("clearing", &incoming)?;
        remove(&incoming)?;
        for folder in
            [&releases, &incoming, &incoming.join(Kind::Image.folder()), &incoming.join(Kind::Manifest.folder())]
        {
            fs::create_dir_all(folder).at("create", folder)?;
        }
        let taken = archive::read(bundle, key, |entry, contents| {
            let path = incoming.join(entry.to_string());
            let interrupted = |error: BundleError| io::Error::other(error.to_string());
            steps.before("taking", &path).map_err(interrupted)?;
            let mut file = File::create_new(&path)?;
            copy(contents, &mut file)?;
            file.sync_all()
        })?;
        if taken.documents.sums != expected.documents.sums {
            let why = "it changed while it was read".to_owned();
            return Err(BundleError::Damaged { path: bundle.to_owned(), why });
        }
        for (name, bytes) in [(SUMS, &taken.documents.sums), (METADATA, &taken.documents.metadata)] {
            keep(bytes, &incoming.join(name), steps)?;
        }
        for kind in Kind::ALL {
            sync(&incoming.join(kind.folder()))?;
        }
        let place = releases.join(&id);
        steps.before("removing", &place)?;
        remove(&place)?;
        steps.before("naming", &place)?;
        fs::rename(&incoming, &place).at("name", &place)?;
        sync(&releases)?;
        sync(&root.state())?;
        Self::open(root, &id)
            .ok_or_else(|| BundleError::Root { path: place, why: "what was written there is gone".to_owned() })
    }
}

/// All versions on the disk, also one that was cut off: what it put in place has to be known.
pub(crate) fn all(root: &Root) -> Result<Vec<Release>, BundleError> {
    let folder = releases(root);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).at("read", &folder),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.at("read", &folder)?.file_name();
        found.extend(name.to_str().and_then(|id| Release::open(root, id)));
    }
    Ok(found)
}

/// Removes the versions that nobody comes back to.
pub(crate) fn forget(root: &Root, state: &State, steps: &Steps) -> Result<(), BundleError> {
    let releases = releases(root);
    let Ok(entries) = fs::read_dir(&releases) else { return Ok(()) };
    for entry in entries {
        let path = entry.at("read", &releases)?.path();
        if !state.ids().any(|id| path.file_name().is_some_and(|name| *name == **id)) {
            steps.before("removing", &path)?;
            remove(&path)?;
        }
    }
    remove(&root.state().join("incoming"))
}

fn releases(root: &Root) -> PathBuf {
    root.state().join("releases")
}
