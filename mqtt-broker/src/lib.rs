//! An MQTT broker that acknowledges an event after it is on disk.
//!
//! rmqtt speaks MQTT 3.1.1 and 5 with the clients; [`hook`] is awaited before PUBACK and PUBREC: it asks for permission,
//! hands the event to `dispatch`, and only then lets the sensor know. A sensor whose event cannot be kept is cut off
//! and sends again. The port opens after the first complete topic map, so that no event passes by a function that is
//! deployed but not known yet. Sessions and queues of offline clients live in memory;
//! retained messages too, unless there is a directory for them.
#![forbid(unsafe_code)]

mod access;
mod acl;
mod broker;
mod config;
mod hook;
mod password;
pub mod program;
mod retained;
mod shelf;

pub use access::AccessError;
pub use broker::{Broker, BrokerError};
pub use config::{Config, ConfigError};
