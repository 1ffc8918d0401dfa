//! What can go wrong with a bundle, said to the person who holds the stick.

use std::io;
use std::path::{Path, PathBuf};

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The file system refused.
    #[error("cannot {doing} {path}: {source}", path = .path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is something else.
    #[error("{path} is no Crema bundle: {why}", path = .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// It was a bundle.
    #[error("{path} is damaged: {why}; copy it to the stick again. Nothing was changed", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// Nobody who is trusted made it.
    #[error("{path} is not trusted: {why}. Nothing was changed", path = .path.display())]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// A key is none.
    #[error("{path} holds no key that can be used: {why}; `crema bundle keygen` makes a pair", path = .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// A bundle cannot be made of this.
    #[error("{0}")]
    Source(String),
    /// The folder is no place for K3s' files.
    #[error("{path} cannot be used: {why}", path = .path.display())]
    Root {
        /// The folder.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// Files that no bundle brought are where its own belong.
    #[error(
        "{files} is there already, and no bundle put it there; move it away, or replace it with --replace. \
         Nothing was changed"
    )]
    InTheWay {
        /// The files.
        files: String,
    },
    /// The disk is too full.
    #[error("{path} has {free} MiB free and {needed} MiB are needed; nothing was changed", path = .path.display())]
    Space {
        /// Where.
        path: PathBuf,
        /// MiB that are free.
        free: u64,
        /// MiB that are not.
        needed: u64,
    },
    /// Another one is at work.
    #[error("another `crema bundle` works on {path}; wait for it", path = .path.display())]
    Busy {
        /// The folder of the state.
        path: PathBuf,
    },
    /// There is no version before.
    #[error("there is nothing to go back to: {0}")]
    NoWayBack(String),
    /// A test ended it here, as a power cut would.
    #[error("interrupted {0}")]
    Interrupted(String),
}

/// Gives an I/O error its place.
pub(crate) trait At<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, BundleError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, BundleError> {
        self.map_err(|error| BundleError::Io { doing, path: path.to_owned(), source: error.into() })
    }
}
