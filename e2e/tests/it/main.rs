//! The built platform, driven from outside.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod bad_input;
mod bad_versions;
mod bombs;
mod crash;
mod escapes;
mod external_broker;
mod foreign;
mod full_disk;
mod images;
mod isolation;
mod levels;
mod main_job;
mod many_functions;
mod packing;
mod restart;
mod saga;
mod saga_kills;
mod standalone;
mod trace;
mod unit;
mod update_kills;
mod updates;
mod updates_under_load;

use e2e::shop::{espresso, shop, shop_with};
