//! Retained messages, bounded: in memory, and on a shelf when there is one. rmqtt's own store keeps nothing unless
//! something is put around it.

use crate::shelf::{Record, Shelf};
use async_trait::async_trait;
use daemon::Clock;
use rmqtt::Result;
use rmqtt::codec::types::Publish;
use rmqtt::retain::{DefaultRetainStorage, RetainStorage};
use rmqtt::types::{From, Id, Retain, TopicFilter, TopicName};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How many topics may have a retained message.
const TOPICS: usize = 10_000;
/// How large one may be, its topic and properties included.
const MESSAGE_BYTES: usize = 64 * 1024;
/// How large all may be together.
const BYTES: usize = 16 * 1024 * 1024;

/// Retained messages.
#[derive(Default)]
pub(crate) struct Retained {
    messages: DefaultRetainStorage,
    kept: Mutex<Kept>,
    shelf: Option<(Shelf, Arc<dyn Clock>)>,
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

    /// Returns whose.
    fn forget_expired(&mut self) -> Vec<TopicName> {
        let now = Instant::now();
        let expired = |(_, size): &(&TopicName, &mut Size)| size.expires.is_some_and(|expires| expires <= now);
        let expired: Vec<_> = self.by_topic.iter_mut().filter(expired).map(|(topic, _)| topic.clone()).collect();
        expired.iter().for_each(|topic| self.forget(topic));
        expired
    }
}

impl Retained {
    /// Those on a shelf, and from now on what comes.
    pub(crate) async fn on(shelf: Shelf, clock: Arc<dyn Clock>) -> Result<Self> {
        let retained = Self { shelf: None, ..Self::default() };
        let now = clock.unix_millis();
        for Record { client, expires, publish } in shelf.all()? {
            let left = expires.map(|at| Duration::from_millis(at.saturating_sub(now)));
            if left.is_some_and(|left| left.is_zero()) {
                shelf.remove(&publish.topic).await?;
                continue;
            }
            // Which node and listener it came by says nothing any more.
            let from = From::from_custom(Id::new(0, 0, None, None, client.into(), None));
            let topic = publish.topic.clone();
            retained.set(&topic, Retain { msg_id: None, from, publish }, left).await?;
        }
        Ok(Self { shelf: Some((shelf, clock)), ..retained })
    }

    /// Puts on the shelf what is kept now. Failing at it is told: the message is there until the broker stops.
    async fn shelve(&self, topic: &TopicName, retain: &Retain, expiry: Option<Duration>) {
        let Some((shelf, clock)) = &self.shelf else { return };
        let kept = if retain.publish.payload.is_empty() {
            shelf.remove(topic).await
        } else {
            let millis = |expiry: Duration| u64::try_from(expiry.as_millis()).unwrap_or(u64::MAX);
            let expires = expiry.map(|expiry| clock.unix_millis().saturating_add(millis(expiry)));
            let client = retain.from.client_id.to_string();
            shelf.put(&Record { client, expires, publish: retain.publish.clone() }).await
        };
        told(topic, kept);
    }

    async fn forget_expired(&self, kept: &mut Kept) {
        self.messages.remove_expired_messages().await;
        for topic in kept.forget_expired() {
            if let Some((shelf, _)) = &self.shelf {
                told(&topic, shelf.remove(&topic).await);
            }
        }
    }
}

fn told(topic: &TopicName, kept: io::Result<()>) {
    kept.unwrap_or_else(|error| {
        tracing::warn!(?topic, %error, "A retained message cannot be kept on disk and is lost when the broker stops");
    });
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
                self.forget_expired(&mut kept).await;
            }
            if let Err(why) = kept.keep(topic, Size { bytes, expires }) {
                tracing::warn!(?topic, bytes, kept = kept.bytes, "A retained message is not kept: {why}");
                return Ok(());
            }
        }
        self.shelve(topic, &retain, expiry).await;
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
        assert_eq!(kept.forget_expired(), ["0"]);
        kept.keep(&"one more".into(), size(1)).unwrap();
        assert!(kept.keep(&"too many".into(), size(1)).is_err());
        assert_eq!(kept.bytes, TOPICS);
    }

    fn message(topic: &str, payload: &str) -> Retain {
        let publish = Box::new(Publish {
            dup: false,
            retain: true,
            qos: rmqtt::codec::types::QoS::AtLeastOnce,
            topic: topic.into(),
            packet_id: None,
            payload: payload.to_owned().into(),
            properties: None,
        });
        let from = From::from_custom(Id::new(0, 0, None, None, "sensor".into(), None));
        Retain { msg_id: None, from, publish: rmqtt::types::Publish::new(publish, None, None, None) }
    }

    #[tokio::test]
    async fn what_is_on_the_shelf_outlives_the_broker_and_what_has_expired_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(daemon::TestClock::new(daemon::Clock::now(&daemon::SystemClock)));
        let open = async || {
            let shelf = Shelf::open(directory.path()).unwrap();
            Retained::on(shelf, Arc::clone(&clock) as _).await.unwrap()
        };
        let files = || std::fs::read_dir(directory.path().join("retained")).unwrap().count();
        let first = open().await;
        let hour = Some(Duration::from_secs(3600));
        for (topic, payload, expiry) in [
            ("a/b", "old", None),
            ("a/b", "new", None),
            ("a/gone", "x", None),
            ("a/gone", "", None),
            ("a/short", "x", hour),
            ("a/long", "x", Some(Duration::from_secs(9999))),
        ] {
            first.set(&topic.into(), message(topic, payload), expiry).await.unwrap();
        }
        drop(first);
        assert_eq!(files(), 3);
        std::fs::write(directory.path().join("retained/broken.json"), "{").unwrap();
        std::fs::write(directory.path().join("retained/half"), "{").unwrap();
        clock.advance(Duration::from_secs(3601));
        let second = open().await;
        let mut found = second.get(&"a/+".into()).await.unwrap();
        found.sort_by(|one, other| one.0.cmp(&other.0));
        let found: Vec<_> = found.iter().map(|(topic, kept)| (&topic[..], &kept.publish.payload[..])).collect();
        assert_eq!(found, [("a/b", &b"new"[..]), ("a/long", b"x")]);
        assert_eq!((second.count().await, files()), (2, 2));
        assert_eq!(second.kept.lock().await.by_topic.len(), 2);
    }
}
