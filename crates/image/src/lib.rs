//! OCI images without Docker: build them from static binaries, import and export archives, unpack them.
//!
//! A [`Store`] is an OCI image layout on disk (`oci-layout`, `index.json`, `blobs/sha256/…`), so that any tool that
//! reads layouts reads it too, with the root file systems of its images unpacked beside it. Several processes may use
//! one store at a time. Nothing is visible before it is complete and on disk.
#![forbid(unsafe_code)]

mod archive;
mod build;
mod digest;
mod document;
mod error;
mod export;
mod import;
mod lock;
mod metered;
mod name;
mod platform;
mod root;
mod staging;
mod store;
mod unpack;

pub use build::Builder;
pub use document::ImageConfig;
pub use error::ImageError;
pub use root::locate;
pub use store::{Image, Limits, Removed, Retention, SpecialFiles, Store};
