//! The store from outside: what it builds, keeps, refuses, and what the usual tools make of it.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod archives;
mod hostile;
mod layers;
mod retention;
mod skopeo;
mod stores;
mod support;
