//! What is kept of images that nobody needs any more: those used lately, as long as there is room.
//!
//! When an image was last used is a file's time, `used/DIGEST`. An image without one was built or imported and never
//! used: it stays until somebody uses it or removes it by hand. Only one that another image took the name of goes all
//! the same, since nobody can ask for it by name.

use super::{Removed, Store, is_former};
use crate::digest::Digest;
use crate::document;
use crate::error::{At, ImageError};
use crate::lock::Lock;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::time::{Duration, SystemTime};

/// What to keep.
#[derive(Clone, Debug)]
pub struct Retention {
    /// Manifest digests of images that are in use now.
    pub in_use: BTreeSet<String>,
    /// What time it is.
    pub now: SystemTime,
    /// What has not been used for so long goes.
    pub age: Duration,
    /// When the store takes more, what was used longest ago goes first.
    pub bytes: u64,
    /// What was used less than so long ago stays all the same.
    pub at_least: Duration,
}

/// An image that may go.
struct Candidate {
    digest: Digest,
    unused_for: Duration,
}

impl Store {
    /// Notes that an image is used now.
    pub fn mark_used(&self, digest: &str, now: SystemTime) -> Result<(), ImageError> {
        let Some(digest) = Digest::parse(digest) else { return Ok(()) };
        let path = self.path("used").join(digest.hex());
        let mark = || File::options().append(true).create(true).open(&path)?.set_modified(now);
        mark().at("write", &path)
    }

    /// Frees images that are not in use and were used too long ago, or longest ago when the store is too large, with
    /// all that only they need.
    pub fn retain(&self, retention: &Retention) -> Result<Removed, ImageError> {
        for digest in &retention.in_use {
            self.mark_used(digest, retention.now)?;
        }
        let (removed, trash) = {
            let _lock = self.exclusive()?;
            let doomed = self.doomed(retention)?;
            if !doomed.is_empty() {
                let mut index = self.index()?;
                index.manifests.retain(|image| image.digest().map_or(true, |digest| !doomed.contains(&digest)));
                self.replace("index.json", &document::to_json(&index))?;
            }
            self.sweep()?
        };
        trash.empty()?;
        Ok(removed)
    }

    fn doomed(&self, retention: &Retention) -> Result<BTreeSet<Digest>, ImageError> {
        let mut sizes = self.sizes()?;
        let mut doomed = BTreeSet::new();
        for Candidate { digest, unused_for } in self.candidates(retention)? {
            let is_old = unused_for >= retention.age;
            let is_too_much = unused_for >= retention.at_least && sizes.total() > retention.bytes;
            if (is_old || is_too_much) && self.is_free(&digest) {
                sizes.forget(&digest);
                doomed.insert(digest);
            }
        }
        Ok(doomed)
    }

    /// Images that are not in use and once were, the one used longest ago first.
    fn candidates(&self, retention: &Retention) -> Result<Vec<Candidate>, ImageError> {
        let mut candidates = Vec::new();
        for descriptor in &self.index()?.manifests {
            let Ok(digest) = descriptor.digest() else { continue };
            if retention.in_use.contains(&descriptor.digest) {
                continue;
            }
            let used_at = fs::metadata(self.path("used").join(digest.hex())).and_then(|mark| mark.modified());
            match used_at {
                // A clock that has gone back says nothing: it counts as used now.
                Ok(at) => candidates
                    .push(Candidate { digest, unused_for: retention.now.duration_since(at).unwrap_or_default() }),
                Err(_) if is_former(descriptor) => self.mark_used(&descriptor.digest, retention.now)?,
                Err(_) => {}
            }
        }
        candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.unused_for));
        Ok(candidates)
    }

    /// Whether nobody uses a file system, this process aside, which is asked no more.
    fn is_free(&self, digest: &Digest) -> bool {
        self.let_go(digest);
        let place = self.unpacked_path(digest);
        !place.exists() || Lock::if_unused(&place).is_some()
    }

    fn sizes(&self) -> Result<Sizes, ImageError> {
        let mut sizes = Sizes::default();
        for descriptor in &self.index()?.manifests {
            let Ok(digest) = descriptor.digest() else { continue };
            let parts = self.blobs_of(&digest).into_iter().map(|blob| {
                let bytes = self.blob_path(&blob).metadata().map_or(0, |metadata| metadata.len());
                (blob, bytes)
            });
            let parts = parts.collect();
            let unpacked = self.unpacked_size(&digest);
            sizes.0.insert(digest, (parts, unpacked));
        }
        Ok(sizes)
    }
}

/// What every image takes: its blobs, which it may share, and its file system.
#[derive(Default)]
struct Sizes(BTreeMap<Digest, (BTreeMap<Digest, u64>, u64)>);

impl Sizes {
    fn total(&self) -> u64 {
        let blobs: BTreeMap<&Digest, u64> =
            self.0.values().flat_map(|(blobs, _)| blobs.iter().map(|(digest, bytes)| (digest, *bytes))).collect();
        let unpacked = self.0.values().map(|(_, bytes)| *bytes);
        blobs.into_values().chain(unpacked).fold(0, u64::saturating_add)
    }

    fn forget(&mut self, digest: &Digest) {
        self.0.remove(digest);
    }
}
