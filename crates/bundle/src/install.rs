//! Puts a version in place, and the one before it back.
//!
//! ```text
//! check the bundle -> look at the folders -> room? -> releases/ID -> state: next -> images, manifests -> remove what
//! is of no version -> state: current, previous -> forget older ones
//! ```
//! Images come first: a manifest may name them as soon as K3s sees it. Cut off anywhere, the next call does the rest.

use crate::archive::{Contents, Trust, verify};
use crate::entry::{Entry, Kind};
use crate::error::{At, BundleError};
use crate::key::VerifyKey;
use crate::metadata::Sums;
use crate::place::{Bytes, clear_parts, put};
use crate::plan::{Act, Action, Ours, place, plan, wanted as wanted_of};
use crate::release::{Release, State, all, forget};
use crate::root::{Root, remove, sync};
use crate::secrets::Secrets;
use crate::steps::Steps;
use std::fs;
use std::path::{Path, PathBuf};

/// How to install.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whose signature there has to be.
    pub key: Option<VerifyKey>,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
    /// Files that no bundle brought may be replaced.
    pub replace: bool,
}

/// What was done, or would be.
#[derive(Clone, Debug)]
pub struct Report {
    /// The version that is in place now.
    pub version: String,
    /// The one before, which `rollback` puts back.
    pub before: Option<String>,
    /// What is known of who made it; not known when it was on the disk already.
    pub trust: Option<Trust>,
    /// What happened to each file.
    pub actions: Vec<Action>,
    /// A work that was cut off was finished.
    pub resumed: bool,
    /// Where the removed manifests still are.
    pub removed_from: Option<PathBuf>,
}

impl Report {
    /// Whether any file is another one than before.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.actions.iter().any(|action| action.act != Act::Keep)
    }
}

/// What is in place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Status {
    /// The version in place, and the one `rollback` puts back.
    pub current: Option<String>,
    /// The version before.
    pub previous: Option<String>,
    /// A work was cut off: the same `install` again finishes it, `rollback` undoes it.
    pub unfinished: Option<String>,
    /// Files that are not as the version in place has them.
    pub differing: Vec<String>,
}

/// Puts versions below a root.
#[derive(Debug)]
pub struct Installer {
    root: Root,
    steps: Steps,
}

impl Installer {
    /// Below that root.
    #[must_use]
    pub fn new(root: Root) -> Self {
        Self { root, steps: Steps::default() }
    }

    #[cfg(test)]
    pub(crate) fn ending_at(root: Root, last: usize) -> Self {
        Self { root, steps: Steps::ending_at(last) }
    }

    #[cfg(test)]
    pub(crate) fn steps(&self) -> usize {
        self.steps.done()
    }

    /// Brings a bundle in. Nothing is changed before all of it is checked.
    pub fn install(&self, bundle: &Path, options: &Options) -> Result<Report, BundleError> {
        let contents = verify(bundle, options.key.as_ref())?;
        let _lock = if options.dry_run { None } else { Some(self.begin()?) };
        let state = State::read(&self.root)?;
        let id = contents.id();
        let kept = Release::open(&self.root, &id).filter(|kept| kept.damaged().is_none());
        let mut secrets = Secrets::read(&self.root)?;
        let made = secrets.manifest(&contents.metadata)?;
        let actions = self.look(&contents.sums, made.as_ref(), options.replace)?;
        let mut report = self.report(&state, &id, &contents.metadata.version, actions);
        report.trust = Some(contents.trust);
        let images = contents.sizes.iter().filter(|(entry, _)| entry.kind == Kind::Image).map(|(_, size)| size).sum();
        self.root.check_room(if kept.is_some() { 0 } else { contents.bytes() }, images)?;
        if options.dry_run {
            return Ok(report);
        }
        let release = match kept {
            Some(kept) => kept,
            None => self.take(bundle, options.key.as_ref(), &contents)?,
        };
        secrets.write(&self.root, &self.steps)?;
        self.put_in_place(&release, made, &state, &report.actions)?;
        Ok(report)
    }

    /// Puts back the version before; after a work that was cut off, the one that was in place.
    pub fn rollback(&self, dry_run: bool) -> Result<Report, BundleError> {
        let state = State::read(&self.root)?;
        let back = match (&state.next, &state.current) {
            (Some(_), Some(current)) => current,
            (Some(_), None) => {
                let why = "the first bundle was cut off while it was put in place; install it again";
                return Err(BundleError::NoWayBack(why.to_owned()));
            }
            (None, None) => return Err(BundleError::NoWayBack("no bundle was installed here".to_owned())),
            (None, Some(_)) => state.previous.as_ref().ok_or_else(|| {
                BundleError::NoWayBack("the version in place is the only one that was installed".to_owned())
            })?,
        };
        let release = Release::open(&self.root, back)
            .ok_or_else(|| BundleError::NoWayBack(format!("{back} is no longer on the disk; install its bundle")))?;
        if let Some(entry) = release.damaged() {
            let why = format!("{entry} of {back} is damaged on the disk; install its bundle");
            return Err(BundleError::NoWayBack(why));
        }
        let _lock = if dry_run { None } else { Some(self.begin()?) };
        let mut secrets = Secrets::read(&self.root)?;
        let made = secrets.manifest(&release.metadata)?;
        let actions = self.look(&release.sums, made.as_ref(), true)?;
        let report = self.report(&state, &release.id, &release.metadata.version, actions);
        if !dry_run {
            secrets.write(&self.root, &self.steps)?;
            self.put_in_place(&release, made, &state, &report.actions)?;
        }
        Ok(report)
    }

    /// What is in place.
    pub fn status(&self) -> Result<Status, BundleError> {
        let state = State::read(&self.root)?;
        let version =
            |id: &String| Release::open(&self.root, id).map_or_else(|| id.clone(), |release| release.metadata.version);
        let current = state.current.as_ref().and_then(|id| Release::open(&self.root, id));
        let mut differing = Vec::new();
        if let Some(current) = &current {
            let made = Secrets::read(&self.root)?.manifest(&current.metadata)?;
            let wanted = wanted_of(&current.sums, made.as_ref().map(|(entry, bytes)| (entry, &bytes[..])));
            let actions = plan(&self.root, &wanted, &Ours::default(), true)?;
            let other = actions.into_iter().filter(|action| action.act != Act::Keep);
            differing =
                other.map(|action| self.root.shown(&place(&self.root, &action.entry)).display().to_string()).collect();
        }
        Ok(Status {
            current: state.current.as_ref().map(version),
            previous: state.previous.as_ref().map(version),
            unfinished: state.next.as_ref().map(version),
            differing,
        })
    }

    fn begin(&self) -> Result<fs::File, BundleError> {
        self.root.make_folders(&self.steps)?;
        let lock = self.root.lock()?;
        for folder in [self.root.state(), self.root.folder(Kind::Image), self.root.folder(Kind::Manifest)] {
            clear_parts(&folder)?;
        }
        Ok(lock)
    }

    fn take(&self, bundle: &Path, key: Option<&VerifyKey>, contents: &Contents) -> Result<Release, BundleError> {
        Release::take(&self.root, bundle, key, contents, &self.steps)
    }

    fn look(&self, sums: &Sums, made: Option<&(Entry, Vec<u8>)>, replace: bool) -> Result<Vec<Action>, BundleError> {
        let wanted = wanted_of(sums, made.map(|(entry, bytes)| (entry, &bytes[..])));
        let mut ours = Ours::default();
        for release in all(&self.root)? {
            let made = Secrets::read(&self.root)?.manifest(&release.metadata)?;
            ours.add(&wanted_of(&release.sums, made.as_ref().map(|(entry, bytes)| (entry, &bytes[..]))));
        }
        plan(&self.root, &wanted, &ours, replace)
    }

    fn report(&self, state: &State, id: &str, version: &str, actions: Vec<Action>) -> Report {
        let before = state.current.as_deref().filter(|current| *current != id).or(state.previous.as_deref());
        let before = before.filter(|before| *before != id);
        let release = before.and_then(|id| Release::open(&self.root, id));
        let removed = actions.iter().find(|action| action.act == Act::Remove && action.entry.kind == Kind::Manifest);
        let folder = |release: &Release, action: &Action| release.file(&action.entry).parent().map(Path::to_owned);
        Report {
            version: version.to_owned(),
            trust: None,
            resumed: state.next.is_some(),
            removed_from: release.as_ref().zip(removed).and_then(|(release, action)| folder(release, action)),
            before: before.map(|id| release.map_or_else(|| id.to_owned(), |release| release.metadata.version)),
            actions,
        }
    }

    fn put_in_place(
        &self,
        release: &Release,
        made: Option<(Entry, Vec<u8>)>,
        state: &State,
        actions: &[Action],
    ) -> Result<(), BundleError> {
        let (root, steps) = (&self.root, &self.steps);
        let settled = state.next.is_none() && state.current.as_deref() == Some(&release.id);
        if settled && actions.iter().all(|action| action.act == Act::Keep) {
            return forget(root, state, steps);
        }
        let mut state = State { next: Some(release.id.clone()), ..state.clone() };
        state.write(root, steps)?;
        for kind in Kind::ALL {
            let mine = || actions.iter().filter(move |action| action.entry.kind == kind);
            for action in mine().filter(|action| matches!(action.act, Act::Put | Act::Replace)) {
                self.put(release, made.as_ref(), &action.entry)?;
            }
            sync(&root.folder(kind))?;
        }
        // Only now does nothing that is in place name them.
        for action in actions.iter().filter(|action| action.act == Act::Remove) {
            let place = place(root, &action.entry);
            steps.before("removing", &place)?;
            remove(&place)?;
        }
        for kind in Kind::ALL {
            sync(&root.folder(kind))?;
        }
        state.next = None;
        if state.current.as_deref() != Some(&release.id) {
            state.previous = state.current.replace(release.id.clone());
        }
        state.write(root, steps)?;
        forget(root, &state, steps)
    }

    fn put(&self, release: &Release, made: Option<&(Entry, Vec<u8>)>, entry: &Entry) -> Result<(), BundleError> {
        let (from, place) = (release.file(entry), place(&self.root, entry));
        match (entry.kind, made) {
            (_, Some((secrets, bytes))) if secrets == entry => put(&Bytes::Private(bytes), &place, &self.steps),
            (Kind::Image, _) => put(&Bytes::Link(&from), &place, &self.steps),
            (Kind::Manifest, _) => {
                let bytes = fs::read(&from).at("read", &from)?;
                put(&Bytes::Private(&bytes), &place, &self.steps)
            }
        }
    }
}

#[cfg(test)]
mod tests;
