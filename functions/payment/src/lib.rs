//! Cards: authorise, capture, void and refund, and the books about it.
//!
//! ```text
//! POST /authorise   {"id", "amount", "currency", "token"}   a payment, named by this id
//! POST /capture     {"id", "payment", "amount"?}            takes all that is left, or part of it
//! POST /void        {"id", "payment"}                       lets go of what nothing was taken of
//! POST /refund      {"id", "payment", "amount"?}            gives back all that is left, or part of it
//! GET  /{payment}                                           where it stands
//! GET  /ledger                                              the books, and whether they add up
//! ```
//! The four need the secret `shop-key` in the header `X-Shop-Key`, and may be repeated: the id makes them one. Amounts
//! count the currency's smallest unit. Every answer says which processor it is about.

pub mod api;
pub mod body;
pub mod books;
pub mod ledger;
pub mod operation;
pub mod processor;
pub mod test_processor;

pub use api::Payments;
