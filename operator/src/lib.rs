//! The operator: makes Function objects true.
//!
//! [`stores`] watches Functions and what is around them, [`objects`] says what a Function becomes or why it cannot,
//! [`apply`] writes that, [`status`] says what is seen, [`reconcile`] does one after the other for one Function.
//! [`lease`] sees to it that one of several operators acts.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod apply;
pub mod config;
mod digest;
mod lease;
mod metrics;
pub mod objects;
mod operator;
mod owner;
mod pace;
pub mod program;
mod reconcile;
mod report;
mod stalled;
mod status;
mod stores;
mod trouble;

pub use config::{Config, DefaultResources, Election, Probe, Probes};
pub use lease::{DURATION, LEASE, RENEW};
pub use operator::{Operator, OperatorError};
pub use stalled::Stalled;
