//! The shop's stock: reserve, commit, release, restock, and what has to be reordered.
//!
//! ```text
//! GET  /                  the menu, with prices and what is left
//! GET  /{sku}             one item of it
//! GET  /reorders?limit=   what has to be ordered from the supplier, newest first
//! POST /reserve           {"id", "items": [{"sku", "quantity"}]}   all of it is set aside, or nothing
//! POST /commit            {"id"}                                   takes it off the shelf
//! POST /release           {"id"}                                   gives it back
//! POST /restock           {"id"?, "sku", "quantity"}               a delivery
//! POST /                  from the schedule (X-Topic: cron-function): gives up what is stale, checks the stock
//! ```
//! The four changes need the secret `shop-key` in the header `X-Shop-Key`, and may be repeated: the id makes them one.

pub mod api;
pub mod body;
pub mod reorder;
pub mod reservation;
pub mod restock;
pub mod stock;

pub use api::Inventory;
