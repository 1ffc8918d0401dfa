//! The power is cut while stores write, and disks fill up: what was acknowledged is there afterwards.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod cut;
mod full_disk;
mod store;
