//! What control groups the machine has, and which of them the platform may use.

use super::{Cgroup, CgroupError, Limits, Removal, failed, v1, v2};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The control groups that functions are put into.
#[derive(Clone, Debug)]
pub struct Controllers {
    /// The root of each hierarchy in use, where left-over groups are looked for.
    roots: Vec<PathBuf>,
    /// The name of the group that holds the functions' groups.
    parent: String,
    hierarchy: Hierarchy,
}

/// Where the groups lie.
#[derive(Clone, Debug)]
pub(super) enum Hierarchy {
    V1(v1::Hierarchies),
    V2(v2::Tree),
}

/// Which resources can be bounded.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Available {
    /// The version of control groups: 1 or 2.
    pub version: u8,
    /// Memory.
    pub memory: bool,
    /// Swap, counted together with memory (version 1) or refused beside it (version 2).
    pub swap: bool,
    /// Processor time.
    pub cpu: bool,
    /// Processes and threads.
    pub pids: bool,
}

/// Why no control groups can be used.
#[derive(Debug, thiserror::Error)]
#[error("no control groups: {reason}; {remedy}")]
pub struct Unavailable {
    /// What is in the way.
    pub reason: String,
    /// What to do about it.
    pub remedy: &'static str,
}

impl Controllers {
    /// Looks for control groups under `root` (`/sys/fs/cgroup`) that the calling process may use; `own` is what
    /// `/proc/self/cgroup` says. Under version 2 the calling process may be moved into a group `platform` beside the
    /// functions', since a group with processes cannot bound its children.
    pub fn probe(root: &Path, own: &str, parent: &str) -> Result<Self, Unavailable> {
        let unified = [root.to_owned(), root.join("unified")].into_iter().find(|root| v2::is_there(root));
        let second = unified.map(|root| (v2::Tree::probe(&root, own, parent), root));
        if let Some((Ok(tree), root)) = second {
            return Ok(Self { roots: vec![root], parent: parent.to_owned(), hierarchy: Hierarchy::V2(tree) });
        }
        match v1::Hierarchies::probe(root, own, parent) {
            Ok(hierarchies) => Ok(Self {
                roots: hierarchies.roots(),
                parent: parent.to_owned(),
                hierarchy: Hierarchy::V1(hierarchies),
            }),
            // What stands in the way of version 2 says more than that there is no version 1.
            Err(first) => Err(match second {
                Some((Err(second), _)) if !v1::is_there(root) => second,
                _ => first,
            }),
        }
    }

    /// What can be bounded.
    #[must_use]
    pub fn available(&self) -> Available {
        match &self.hierarchy {
            Hierarchy::V1(hierarchies) => hierarchies.available(),
            Hierarchy::V2(tree) => tree.available(),
        }
    }

    /// Makes the group of one function, with its bounds set and nothing in it. `id` is one plain name.
    pub fn create(&self, id: &str, limits: &Limits) -> Result<Cgroup, CgroupError> {
        let Some(cgroup) = self.group(id) else {
            let name = std::io::Error::new(std::io::ErrorKind::InvalidInput, "the id is no plain name");
            return Err(failed("making", Path::new(id))(name));
        };
        let made = cgroup.make(limits);
        if made.is_err() {
            // Half a group bounds half of it: what was made goes again.
            let _removed = cgroup.remove();
        }
        made.map(|()| cgroup)
    }

    /// The group that an earlier process of the platform made, if it is all there.
    #[must_use]
    pub fn adopt(&self, id: &str) -> Option<Cgroup> {
        self.group(id).filter(Cgroup::is_there)
    }

    fn group(&self, id: &str) -> Option<Cgroup> {
        if id.is_empty() || id.starts_with('.') || id.contains('/') {
            return None;
        }
        Some(match &self.hierarchy {
            Hierarchy::V1(hierarchies) => hierarchies.group(id),
            Hierarchy::V2(tree) => tree.group(id),
        })
    }

    /// The ids of the groups that are there, wherever under the hierarchies an earlier process made them.
    pub fn left_over(&self) -> Result<BTreeSet<String>, CgroupError> {
        let mut ids = BTreeSet::new();
        for parent in self.parents()? {
            for group in folders(&parent)? {
                ids.extend(group.file_name().and_then(|name| name.to_str()).map(str::to_owned));
            }
        }
        Ok(ids)
    }

    /// Kills what is in the groups of an earlier process and removes them, but for those whose id is to be kept.
    /// Those whose processes have not ended yet are `Busy`: the caller tries again.
    pub fn clear_left_over(&self, keep: impl Fn(&str) -> bool) -> Result<Removal, CgroupError> {
        let mut all = Removal::Done;
        for parent in self.parents()? {
            for folder in folders(&parent)? {
                if folder.file_name().and_then(|name| name.to_str()).is_some_and(&keep) {
                    continue;
                }
                super::kill::all(&folder)?;
                if super::group::remove(&folder)? == Removal::Busy {
                    all = Removal::Busy;
                }
            }
        }
        Ok(all)
    }

    /// Removes the parents, as far as they are empty: at the platform's end nothing is left of it.
    pub fn close(&self) -> Result<Removal, CgroupError> {
        let mut all = Removal::Done;
        for parent in self.parents()? {
            if super::group::remove(&parent)? == Removal::Busy {
                all = Removal::Busy;
            }
        }
        Ok(all)
    }

    /// All groups of the parent's name, the parents of earlier processes of this platform.
    fn parents(&self) -> Result<Vec<PathBuf>, CgroupError> {
        let mut found = Vec::new();
        let mut open = self.roots.clone();
        while let Some(folder) = open.pop() {
            for folder in folders(&folder)? {
                let parent = folder.file_name().is_some_and(|name| *name == *self.parent);
                if parent { &mut found } else { &mut open }.push(folder);
            }
        }
        Ok(found)
    }
}

/// The folders in a folder; none if it has gone meanwhile.
fn folders(folder: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied) => {
            return Ok(Vec::new());
        }
        entries => entries.map_err(failed("reading", folder))?,
    };
    Ok(entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect())
}
