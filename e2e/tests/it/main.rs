//! The built platform, driven from outside.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod bad_input;
mod crash;
mod external_broker;
mod main_job;
mod restart;
mod saga;
mod trace;

use e2e::binaries;
use e2e::platform::{Options, Platform, State};
use serde_json::{Value, json};

/// A platform with the four functions deployed from images packed once.
async fn shop(state: &State) -> Platform {
    shop_with(state, Options::default()).await
}

/// The same, with more arguments or environment.
async fn shop_with(state: &State, options: Options) -> Platform {
    state.copy_images(binaries::images());
    Platform::start(state, &options.with(&["--no-build"])).await
}

/// An order of one espresso.
fn espresso(id: &str) -> Value {
    json!({"id": id, "items": [{"sku": "espresso", "quantity": 1}], "payment": {"token": "tok_visa"}})
}
