//! Bundles as files: made twice, damaged in every way, and read by others' tools.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod archives;
mod charts;
mod support;
