//! The built platform, driven from outside.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod bad_input;
mod crash;
mod external_broker;
mod full_disk;
mod images;
mod main_job;
mod restart;
mod saga;
mod saga_kills;
mod standalone;
mod trace;
mod updates;

use e2e::shop::{espresso, shop, shop_with};
