//! A Kubernetes cluster: functions as custom resources, replicas as their pods.
//!
//! The way of a deploy through the files: [`cluster`] takes the wish, `admit` checks it, `functions` writes a Function
//! object, which the operator makes true. The way back: `watching` follows Functions, EndpointSlices and namespaces,
//! `mirror` keeps what was read of each, `board` makes the replica table of `provider` from it. What the API server has
//! said last holds while it is away.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod admit;
mod answer;
mod board;
pub mod cluster;
pub mod config;
mod endpoints;
mod functions;
mod logs;
mod mirror;
mod namespaces;
mod origin;
mod secrets;
mod usage;
mod wanted;
mod watching;

pub use cluster::KubernetesProvider;
pub use config::Config;
