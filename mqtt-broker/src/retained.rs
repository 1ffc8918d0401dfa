//! Retained messages, in memory and bounded. rmqtt's own store keeps nothing unless something is put around it.

use async_trait::async_trait;
use rmqtt::Result;
use rmqtt::retain::{DefaultRetainStorage, RetainStorage};
use rmqtt::types::{Retain, TopicFilter, TopicName};
use std::time::Duration;

/// How many topics may have a retained message.
const TOPICS: isize = 10_000;

/// Retained messages in memory.
#[derive(Default)]
pub(crate) struct Retained(DefaultRetainStorage);

#[async_trait]
impl RetainStorage for Retained {
    fn enable(&self) -> bool {
        true
    }

    fn need_sync(&self) -> bool {
        false
    }

    async fn set(&self, topic: &TopicName, retain: Retain, expiry: Option<Duration>) -> Result<()> {
        if self.0.count().await >= TOPICS {
            self.0.remove_expired_messages().await;
            let known = !self.0.get_message(topic).await?.is_empty();
            if !known && self.0.count().await >= TOPICS {
                tracing::warn!(%topic, limit = TOPICS, "Too many retained messages; this one is not kept");
                return Ok(());
            }
        }
        // Zero is "for ever" here.
        self.0.set_with_timeout(topic, retain, expiry.filter(|expiry| !expiry.is_zero())).await
    }

    async fn get(&self, filter: &TopicFilter) -> Result<Vec<(TopicName, Retain)>> {
        self.0.get_message(filter).await
    }

    async fn count(&self) -> isize {
        self.0.count().await
    }

    async fn max(&self) -> isize {
        self.0.max().await
    }
}
