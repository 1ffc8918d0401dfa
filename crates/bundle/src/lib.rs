//! What a store without a link is brought on a stick: one archive of images and manifests as K3s takes them.
//!
//! ```text
//! make   images.lock + chart or manifests -> Source -> SHA256SUMS, signature, files -> FILE.tar
//! bring  FILE.tar -> checked whole -> releases/ID -> agent/images, server/manifests -> state.json
//! back   releases/ID of the version before -> the same places
//! ```
//! Nothing is put in place before all of the archive is checked and on the disk. Every step leaves whole files, and the
//! same call again goes on where one was cut off.
#![forbid(unsafe_code)]

mod archive;
mod chart;
mod create;
mod entry;
mod error;
mod install;
mod key;
mod manifest;
mod metadata;
mod place;
mod plan;
mod release;
mod root;
mod secrets;
mod steps;

pub use archive::{Contents, Trust, verify};
pub use chart::Chart;
pub use create::{Created, Source};
pub use entry::{Entry, Kind};
pub use error::BundleError;
pub use install::{Installer, Options, Report, Status};
pub use key::{SigningKey, VerifyKey, generate};
pub use metadata::{Metadata, SecretToMake};
pub use plan::{Act, Action};
pub use root::{DATA_DIR, Root};
