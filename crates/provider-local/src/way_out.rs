//! The way out of functions' own networks, made when the first of them wants it.

use crate::disk;
use rustix::process::Pid;
use sandbox::egress::{self, Egress};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The way out. All calls block, for some milliseconds each.
#[derive(Default)]
pub(crate) struct WayOut {
    open: Mutex<Option<Arc<Egress>>>,
    /// Where it is noted that there is one: after a crash it has to be removed.
    mark: PathBuf,
}

impl WayOut {
    /// `state` is a directory of the platform's own.
    pub(crate) fn new(state: &Path) -> Self {
        Self { open: Mutex::default(), mark: state.join("egress") }
    }

    /// Gives the network of a process a way out.
    pub(crate) fn give(&self, process: Pid) -> io::Result<()> {
        let egress = self.egress()?;
        egress.attach(egress::network_of(process)?).map(drop).map_err(io::Error::other)
    }

    /// Sets right what others have undone of it on the box.
    pub(crate) fn uphold(&self) {
        // Held meanwhile, so that closing does not miss it.
        let open = self.open();
        match open.as_ref().map(|egress| egress.uphold()) {
            Some(Ok(true)) => {
                tracing::warn!(
                    "The rules for functions with a way out were gone from the box's firewall; they are set again"
                );
            }
            Some(Err(error)) => tracing::error!(%error, "Functions' way out is not what it is to be"),
            Some(Ok(false)) | None => {}
        }
    }

    /// Removes what an earlier process of the platform left behind.
    pub(crate) fn clear_left_over(&self) -> io::Result<()> {
        if !self.mark.is_file() {
            return Ok(());
        }
        // Opening removes what is left of links, closing what is left of rules.
        drop(self.egress()?);
        self.close()
    }

    /// Removes it, when there is one.
    pub(crate) fn close(&self) -> io::Result<()> {
        let egress = self.open().take();
        let Some(egress) = egress.and_then(Arc::into_inner) else { return Ok(()) };
        egress.close().map_err(io::Error::other)?;
        disk::remove(&self.mark).map(drop)
    }

    fn egress(&self) -> io::Result<Arc<Egress>> {
        let mut open = self.open();
        if let Some(egress) = &*open {
            return Ok(Arc::clone(egress));
        }
        let egress = Arc::new(Egress::open(&self.tag()?).map_err(io::Error::other)?);
        *open = Some(Arc::clone(&egress));
        Ok(egress)
    }

    /// Four characters that no other platform on this machine is likely to have, noted before they are used.
    fn tag(&self) -> io::Result<String> {
        if let Ok(tag) = fs::read_to_string(&self.mark) {
            return Ok(tag);
        }
        let digit = || char::from_digit(rand::random_range(0..36), 36).unwrap_or('0');
        let tag: String = std::iter::repeat_with(digit).take(4).collect();
        disk::write(&self.mark, tag.as_bytes())?;
        Ok(tag)
    }

    fn open(&self) -> MutexGuard<'_, Option<Arc<Egress>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for WayOut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("WayOut").field("is_open", &self.open().is_some()).finish_non_exhaustive()
    }
}
