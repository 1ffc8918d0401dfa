//! The steps that change a disk, so that a test can end the work before any of them, as a power cut would.

use crate::error::BundleError;
use std::cell::Cell;
use std::path::Path;

/// Counts steps, and ends at one when a test asks for it.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Cell<usize>,
    last: Option<usize>,
}

impl Steps {
    /// Ends before the step of that number.
    #[cfg(test)]
    pub(crate) fn ending_at(last: usize) -> Self {
        Self { done: Cell::new(0), last: Some(last) }
    }

    #[cfg(test)]
    pub(crate) fn done(&self) -> usize {
        self.done.get()
    }

    pub(crate) fn before(&self, doing: &str, path: &Path) -> Result<(), BundleError> {
        if self.last == Some(self.done.get()) {
            return Err(BundleError::Interrupted(format!("before {doing} {}", path.display())));
        }
        self.done.set(self.done.get() + 1);
        Ok(())
    }
}
