//! The shop's orders.
//!
//! ```text
//! POST /                  {"id"?, "items": [{"sku", "quantity"}], "payment": {"token"}}
//! GET  /{id}              one order
//! GET  /?status=&limit=   the newest first
//! POST /                  from the schedule (X-Topic: cron-function): drives pending orders to their end
//! ```
//! An order is named by `id`, or by the call (`X-Call-Id`) without one. The same order again gives the same answer and
//! touches stock and card once; another order of that name is 409. Read on in [`till`], then [`saga`].

pub mod api;
pub mod flights;
pub mod order;
pub mod placement;
pub mod saga;
pub mod shop;
pub mod store;
pub mod till;

pub use api::Orders;
