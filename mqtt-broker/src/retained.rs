//! Retained messages, in memory and bounded. rmqtt's own store keeps nothing unless something is put around it.

use async_trait::async_trait;
use rmqtt::Result;
use rmqtt::codec::types::Publish;
use rmqtt::retain::{DefaultRetainStorage, RetainStorage};
use rmqtt::types::{Retain, TopicFilter, TopicName};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How many topics may have a retained message.
const TOPICS: usize = 10_000;
/// How large one may be, its topic and properties included.
const MESSAGE_BYTES: usize = 64 * 1024;
/// How large all may be together.
const BYTES: usize = 16 * 1024 * 1024;

/// Retained messages in memory.
#[derive(Default)]
pub(crate) struct Retained {
    messages: DefaultRetainStorage,
    kept: Mutex<Kept>,
}

/// What the messages take.
#[derive(Default)]
struct Kept {
    by_topic: HashMap<TopicName, Size>,
    bytes: usize,
}

struct Size {
    bytes: usize,
    expires: Option<Instant>,
}

impl Kept {
    /// Makes room for a topic's new message; says why when there is none.
    fn keep(&mut self, topic: &TopicName, size: Size) -> std::result::Result<(), &'static str> {
        if size.bytes > MESSAGE_BYTES {
            return Err("it is too large");
        }
        if !self.has_room(topic, size.bytes) {
            return Err("there are too many");
        }
        self.forget(topic);
        self.bytes += size.bytes;
        self.by_topic.insert(topic.clone(), size);
        Ok(())
    }

    fn forget(&mut self, topic: &TopicName) {
        self.bytes -= self.by_topic.remove(topic).map_or(0, |size| size.bytes);
    }

    fn has_room(&self, topic: &TopicName, bytes: usize) -> bool {
        let before = self.by_topic.get(topic);
        let topics = self.by_topic.len() + usize::from(before.is_none());
        topics <= TOPICS && self.bytes - before.map_or(0, |size| size.bytes) + bytes <= BYTES
    }

    fn forget_expired(&mut self) {
        let now = Instant::now();
        self.by_topic.retain(|_, size| size.expires.is_none_or(|expires| expires > now));
        self.bytes = self.by_topic.values().map(|size| size.bytes).sum();
    }
}

#[async_trait]
impl RetainStorage for Retained {
    fn enable(&self) -> bool {
        true
    }

    fn need_sync(&self) -> bool {
        false
    }

    async fn set(&self, topic: &TopicName, retain: Retain, expiry: Option<Duration>) -> Result<()> {
        // Zero is "for ever" here.
        let expiry = expiry.filter(|expiry| !expiry.is_zero());
        // Held until the message is where it belongs, so that what is counted is what is there.
        let mut kept = self.kept.lock().await;
        if retain.publish.payload.is_empty() {
            kept.forget(topic);
        } else {
            let expires = expiry.and_then(|expiry| Instant::now().checked_add(expiry));
            let bytes = size(topic, &retain.publish);
            if !kept.has_room(topic, bytes) {
                kept.forget_expired();
                self.messages.remove_expired_messages().await;
            }
            if let Err(why) = kept.keep(topic, Size { bytes, expires }) {
                tracing::warn!(?topic, bytes, kept = kept.bytes, "A retained message is not kept: {why}");
                return Ok(());
            }
        }
        let set = self.messages.set_with_timeout(topic, retain, expiry).await;
        if set.is_err() {
            kept.forget(topic);
        }
        set
    }

    async fn get(&self, filter: &TopicFilter) -> Result<Vec<(TopicName, Retain)>> {
        self.messages.get_message(filter).await
    }

    async fn count(&self) -> isize {
        self.messages.count().await
    }

    async fn max(&self) -> isize {
        self.messages.max().await
    }
}

/// What a message takes, roughly.
fn size(topic: &TopicName, publish: &Publish) -> usize {
    let properties = publish.properties.iter().flat_map(|properties| &properties.user_properties);
    topic.len() + publish.payload.len() + properties.map(|(name, value)| name.len() + value.len()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn size(bytes: usize) -> Size {
        Size { bytes, expires: None }
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes() {
        let mut kept = Kept::default();
        let topic = |number: usize| TopicName::from(format!("a/{number}"));
        assert!(kept.keep(&topic(0), size(MESSAGE_BYTES + 1)).is_err());
        let full = BYTES / MESSAGE_BYTES;
        for number in 0..full {
            kept.keep(&topic(number), size(MESSAGE_BYTES)).unwrap();
        }
        assert!(kept.keep(&topic(full), size(1)).is_err());
        kept.keep(&topic(0), size(MESSAGE_BYTES - 1)).unwrap();
        kept.keep(&topic(full), size(1)).unwrap();
        kept.forget(&topic(1));
        kept.keep(&topic(full), size(MESSAGE_BYTES)).unwrap();
        assert_eq!((kept.by_topic.len(), kept.bytes), (full, BYTES - 1));
    }

    #[test]
    fn what_is_kept_is_bounded_in_number_and_what_has_expired_makes_room() {
        let mut kept = Kept::default();
        for number in 1..TOPICS {
            kept.keep(&TopicName::from(number.to_string()), size(1)).unwrap();
        }
        kept.keep(&"0".into(), Size { bytes: 1, expires: Some(Instant::now()) }).unwrap();
        assert!(kept.keep(&"one more".into(), size(1)).is_err());
        kept.forget_expired();
        kept.keep(&"one more".into(), size(1)).unwrap();
        assert!(kept.keep(&"too many".into(), size(1)).is_err());
        assert_eq!(kept.bytes, TOPICS);
    }
}
