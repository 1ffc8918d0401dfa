//! The built platform, driven from outside.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod bad_input;
mod bad_versions;
mod crash;
mod external_broker;
mod full_disk;
mod images;
mod main_job;
mod many_functions;
mod restart;
mod saga;
mod saga_kills;
mod standalone;
mod trace;
mod update_kills;
mod updates;
mod updates_under_load;

use e2e::shop::{espresso, shop, shop_with};
