//! What has to happen to K3s' folders so that they hold a version: looked up, not done.

use crate::entry::{Entry, Kind, digest, digest_of};
use crate::error::{At, BundleError};
use crate::metadata::Sums;
use crate::root::Root;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::PathBuf;

/// What happens to a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Act {
    /// It is new.
    Put,
    /// Another one of that name was there.
    Replace,
    /// It is as it should be.
    Keep,
    /// The version before had it.
    Remove,
}

/// A file and what happens to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Action {
    /// What.
    pub act: Act,
    /// With which.
    pub entry: Entry,
    /// The file there was changed by somebody after a bundle put it there.
    pub changed_by_hand: bool,
    /// K3s passes over the manifest: there is a file of its name with `.skip`.
    pub skipped: bool,
}

/// What is to be in place: digests by file.
pub(crate) type Wanted = BTreeMap<Entry, String>;

/// The files of a version, and the manifest of its secrets.
pub(crate) fn wanted(sums: &Sums, secrets: Option<(&Entry, &[u8])>) -> Wanted {
    let mut wanted = sums.entries.clone();
    wanted.extend(secrets.map(|(entry, bytes)| (entry.clone(), digest(bytes))));
    wanted
}

/// Looks at the folders. `ours` is what bundles put there before, with all digests it had.
pub(crate) fn plan(root: &Root, wanted: &Wanted, ours: &Ours, replace: bool) -> Result<Vec<Action>, BundleError> {
    let (mut actions, mut in_the_way) = (Vec::new(), Vec::new());
    let removed = ours.0.keys().filter(|entry| !wanted.contains_key(*entry));
    for entry in wanted.keys().chain(removed) {
        let place = place(root, entry);
        let there = match digest_of(&place) {
            Ok((digest, _)) => Some(digest),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).at("read", &place),
        };
        let act = match (&there, wanted.get(entry)) {
            (None, Some(_)) => Act::Put,
            (Some(there), Some(wanted)) if there == wanted => Act::Keep,
            (Some(_), Some(_)) => Act::Replace,
            (Some(_), None) => Act::Remove,
            (None, None) => continue,
        };
        let known = ours.0.get(entry);
        if act == Act::Replace && known.is_none() && !replace {
            in_the_way.push(root.shown(&place).display().to_string());
        }
        let changed_by_hand = matches!(act, Act::Replace | Act::Remove)
            && known.zip(there).is_some_and(|(known, there)| !known.contains(&there));
        let skipped = entry.kind == Kind::Manifest && fs::symlink_metadata(skip(&place)).is_ok();
        actions.push(Action { act, entry: entry.clone(), changed_by_hand, skipped });
    }
    if in_the_way.is_empty() { Ok(actions) } else { Err(BundleError::InTheWay { files: in_the_way.join(", ") }) }
}

/// What bundles put in place, and the digests it had.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ours(BTreeMap<Entry, BTreeSet<String>>);

impl Ours {
    pub(crate) fn add(&mut self, wanted: &Wanted) {
        for (entry, digest) in wanted {
            self.0.entry(entry.clone()).or_default().insert(digest.clone());
        }
    }
}

/// Where a file goes.
pub(crate) fn place(root: &Root, entry: &Entry) -> PathBuf {
    root.folder(entry.kind).join(&entry.name)
}

fn skip(place: &std::path::Path) -> PathBuf {
    let mut name = place.as_os_str().to_owned();
    name.push(".skip");
    name.into()
}
