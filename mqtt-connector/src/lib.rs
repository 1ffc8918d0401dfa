//! MQTT topics to functions, from any broker.
//!
//! The broker keeps what has not been acknowledged, in a persistent session; the connector owns no queue. It
//! acknowledges a message after `dispatch` said that it is on disk for every function whose topics match, in the order
//! received. The flow: [`link`] polls the broker and never waits for functions, so keep-alive is never late;
//! [`intake`] dispatches, messages of one topic one after another; [`subscriptions`] follows the functions' topics.
#![forbid(unsafe_code)]

mod config;
mod connector;
mod identity;
mod intake;
mod link;
pub mod program;
mod subscriptions;

pub use config::{Config, ConfigError, Qos, Version};
pub use connector::{ConnectorError, MqttConnector};
