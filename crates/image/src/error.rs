//! What can go wrong with images, said to the person who has to do something about it.

use std::io;
use std::path::{Path, PathBuf};
use wire::image_reference::ImageReference;

/// Why an image operation failed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
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
    /// The directory holds something else, or a store of a version this program does not know.
    #[error("{path} is not an image store this version can use: {why}", path = .path.display())]
    NotAStore {
        /// The directory.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// A blob is not there.
    #[error("blob {digest} is missing from the image store; import or build the image again")]
    MissingBlob {
        /// Its digest.
        digest: String,
    },
    /// A blob or document does not hold what it should.
    #[error("{what} is damaged: {why}; import or build the image again")]
    Damaged {
        /// Which one.
        what: String,
        /// What was found.
        why: String,
    },
    /// No image has that name.
    #[error("no image {0} in the store; `crema image ls` lists what is there, `crema image import` adds one")]
    NotFound(ImageReference),
    /// An archive is none, is cut short or does not fit together.
    #[error("this is no image archive that can be imported: {why}")]
    Archive {
        /// What was found.
        why: String,
    },
    /// An entry of a layer or archive that must not be there.
    #[error("entry {entry:?} of {of} is refused: {why}")]
    Entry {
        /// The entry's path as written.
        entry: String,
        /// The layer or archive.
        of: String,
        /// Why.
        why: String,
    },
    /// More than the limits allow.
    #[error("{what} holds more than {limit}, the limit of this store; nothing of it was kept")]
    TooLarge {
        /// What was being read.
        what: String,
        /// The limit, with its unit.
        limit: String,
    },
    /// The archive does not say what the image is called.
    #[error("{why}; give its name, like `crema image import --name owner/name:1.0.0 FILE`")]
    Nameless {
        /// What was found instead.
        why: String,
    },
    /// The image is for other machines.
    #[error("{what} is for {offered}, and this machine is {wanted}; import an image built for {wanted}")]
    Platform {
        /// The image.
        what: String,
        /// The platforms it is for.
        offered: String,
        /// This machine's platform.
        wanted: String,
    },
    /// What a builder was told cannot be an image.
    #[error("cannot build image {reference}: {why}")]
    Build {
        /// The image.
        reference: ImageReference,
        /// Why.
        why: String,
    },
}

/// Gives an I/O error its place.
pub(crate) trait At<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, ImageError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, ImageError> {
        self.map_err(|error| ImageError::Io { doing, path: path.to_owned(), source: error.into() })
    }
}
