//! Orders as their customers see them, in a shop of the tests' own making.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod placing;
mod recovery;
mod till;
mod world;
