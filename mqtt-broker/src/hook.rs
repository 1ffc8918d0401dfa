//! What the broker asks before it answers a client: may it connect, subscribe, publish; and is its event on disk.
//!
//! rmqtt awaits the answer to `MessagePublishCheckAcl` before it sends PUBACK or PUBREC. So a sensor's event is
//! acknowledged after dispatch, and one connection's events are dispatched one after another, in their order.

use crate::access::{Access, Verdict};
use async_trait::async_trait;
use daemon::Stop;
use dispatch::{DispatchError, Dispatcher, Event};
use rmqtt::codec::types::Publish;
use rmqtt::codec::v5::{PublishAckReason, SubscribeAckReason};
use rmqtt::hook::{Handler, HookResult, Parameter, Register, ReturnType, Type};
use rmqtt::session::Session;
use rmqtt::types::{
    AuthResult, ConnectInfo, FromType, LastWill, PublishAclResult, PublishResult, QoS, Subscribe, SubscribeAclResult,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// `X-Connector` of events from here.
const CONNECTOR: &str = "crema/mqtt-broker";
/// How long an event is tried again before its sensor is cut off. Meanwhile the sensor gets no answer to its pings.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a dispatch may take in all, posts that hang included.
const LIMIT: Duration = Duration::from_secs(10);
/// How long a will is tried again. No client waits for it and none sends it twice.
const WILL_PATIENCE: Duration = Duration::from_secs(60);

/// Answers the broker's questions. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Hook(Arc<Inner>);

struct Inner {
    access: Arc<Access>,
    dispatcher: Dispatcher,
    body_limit: usize,
    stop: Stop,
    under_way: watch::Sender<usize>,
}

/// What is done with a publish.
enum Answer {
    Allow,
    /// The client is told, where its protocol can, and keeps its connection.
    Refuse(PublishAckReason, String),
    /// The client is told, where its protocol can, and cut off: it sends again.
    CutOff(PublishAckReason, String),
}

impl Hook {
    pub(crate) fn new(access: Access, dispatcher: Dispatcher, body_limit: usize, stop: Stop) -> Self {
        let under_way = watch::Sender::new(0);
        Self(Arc::new(Inner { access: Arc::new(access), dispatcher, body_limit, stop, under_way }))
    }

    /// Has the broker ask.
    pub(crate) async fn register(&self, register: &dyn Register) {
        for kind in [
            Type::ClientAuthenticate,
            Type::ClientSubscribeCheckAcl,
            Type::MessagePublishCheckAcl,
            Type::MessagePublish,
        ] {
            register.add(kind, Box::new(self.clone())).await;
        }
        register.start().await;
    }

    /// Waits until no event is under way.
    pub(crate) async fn idle(&self) {
        self.0.under_way.subscribe().wait_for(|count| *count == 0).await.map(drop).unwrap_or_default();
    }

    async fn authenticate(&self, client: &ConnectInfo) -> AuthResult {
        let user = client.username().map(ToString::to_string);
        let password = client.password().cloned().unwrap_or_default();
        let (access, asked) = (Arc::clone(&self.0.access), user.clone());
        // Hashing takes its time, on purpose.
        let verdict = tokio::task::spawn_blocking(move || access.authenticate(asked.as_deref(), &password)).await;
        match verdict {
            Ok(Verdict::Allowed) => {}
            Ok(Verdict::WrongPassword) => {
                tracing::warn!(user, client = ?client.client_id(), "An MQTT client gave a wrong user or password");
                return AuthResult::BadUsernameOrPassword;
            }
            Ok(Verdict::NoUser) | Err(_) => return AuthResult::NotAuthorized,
        }
        // A will is published without another question.
        let will = match client.last_will() {
            Some(LastWill::V3(will)) => Some(&will.topic),
            Some(LastWill::V5(will)) => Some(&will.topic),
            None => None,
        };
        match will {
            Some(topic)
                if is_the_brokers(topic) || !self.0.access.may_publish(user.as_deref(), client.client_id(), topic) =>
            {
                tracing::warn!(user, client = ?client.client_id(), ?topic, "An MQTT client may not publish its will");
                AuthResult::NotAuthorized
            }
            _ => AuthResult::Allow(false, None),
        }
    }

    fn subscribe(&self, session: &Session, subscribe: &Subscribe) -> SubscribeAclResult {
        let user = session.id.username.as_deref();
        if self.0.access.may_subscribe(user, &session.id.client_id, &subscribe.topic_filter) {
            return SubscribeAclResult::new_success(subscribe.opts.qos(), None);
        }
        let filter = &subscribe.topic_filter;
        tracing::warn!(user, client = ?session.id.client_id, ?filter, "An MQTT client may not subscribe to this");
        SubscribeAclResult::new_failure(SubscribeAckReason::NotAuthorized)
    }

    async fn publish(&self, session: &Session, publish: &Publish) -> Answer {
        let (user, client, topic) = (session.id.username.as_deref(), &session.id.client_id, &publish.topic);
        if topic.is_empty() || topic.contains(['+', '#', '\0']) {
            return Answer::CutOff(PublishAckReason::TopicNameInvalid, "wildcards are for subscriptions".to_owned());
        }
        if is_the_brokers(topic) || !self.0.access.may_publish(user, client, topic) {
            tracing::warn!(user, ?client, ?topic, "An MQTT client may not publish to this");
            return Answer::Refuse(PublishAckReason::NotAuthorized, "not allowed to publish to this topic".to_owned());
        }
        let bytes = publish.payload.len();
        if bytes > self.0.body_limit {
            let limit = self.0.body_limit;
            tracing::warn!(?client, ?topic, bytes, limit, "An MQTT client's payload is too large");
            return Answer::Refuse(PublishAckReason::QuotaExceeded, format!("the payload's limit is {limit} bytes"));
        }
        let dispatched = self.dispatch(event(publish), PATIENCE).await;
        match dispatched {
            Ok(_) => Answer::Allow,
            // At most once is what QoS 0 promises.
            Err(error) if publish.qos == QoS::AtMostOnce => {
                tracing::warn!(?client, ?topic, %error, "An event of QoS 0 did not reach its functions");
                Answer::Allow
            }
            Err(error) if error.is_temporary() => {
                tracing::warn!(?client, ?topic, %error, "An event cannot be kept; its sensor is cut off to send again");
                Answer::CutOff(PublishAckReason::ImplementationSpecificError, error.to_string())
            }
            Err(error) => {
                tracing::error!(?client, ?topic, %error, "An event is refused for good; its sensor is told");
                Answer::Refuse(PublishAckReason::QuotaExceeded, error.to_string())
            }
        }
    }

    async fn will(&self, publish: &Publish) {
        if publish.payload.len() > self.0.body_limit {
            tracing::warn!(topic = ?publish.topic, "A will is too large for functions");
            return;
        }
        let hook = self.clone();
        let event = event(publish);
        // The task ends with the broker's runtime.
        let task = tokio::spawn(async move {
            let topic = event.topic.clone();
            if let Err(error) = hook.dispatch_until(event, WILL_PATIENCE, WILL_PATIENCE).await {
                tracing::error!(topic, %error, "A client's will did not reach its functions");
            }
        });
        drop(task);
    }

    async fn dispatch(&self, event: Event, patience: Duration) -> Result<usize, DispatchError> {
        self.dispatch_until(event, patience, LIMIT).await
    }

    async fn dispatch_until(&self, event: Event, patience: Duration, limit: Duration) -> Result<usize, DispatchError> {
        if self.0.stop.is_stopped() {
            return Err(DispatchError::NotReady);
        }
        let _under_way = UnderWay::begin(&self.0.under_way);
        tokio::select! {
            ended = self.0.dispatcher.dispatch_within(&event, patience) => ended,
            () = tokio::time::sleep(limit) => Err(DispatchError::Late(limit)),
        }
    }
}

/// Whether a topic is for what the broker says of itself.
fn is_the_brokers(topic: &str) -> bool {
    topic.starts_with("$SYS/")
}

/// Counts an event while it is under way.
struct UnderWay<'a>(&'a watch::Sender<usize>);

impl<'a> UnderWay<'a> {
    fn begin(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Answer {
    fn result(self, publish: &Publish) -> PublishAclResult {
        // Only MQTT 5 can say no and go on. Before it, an acknowledgement would be a lie; QoS 0 has none.
        let can_say_no = publish.properties.is_some() || publish.qos == QoS::AtMostOnce;
        let (reason, why, cut_off) = match self {
            Self::Allow => return PublishAclResult::allow(),
            Self::Refuse(reason, why) => (reason, why, !can_say_no),
            Self::CutOff(reason, why) => (reason, why, true),
        };
        PublishAclResult(PublishResult::reason_code(reason, Some(why.into()), cut_off))
    }
}

/// The event a publish is. MQTT 5 carries a media type and, as user properties, the trace it belongs to.
fn event(publish: &Publish) -> Event {
    let properties = publish.properties.as_ref();
    let user = |wanted: &str| {
        let properties = &properties?.user_properties;
        properties.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.to_string())
    };
    Event {
        topic: publish.topic.to_string(),
        payload: publish.payload.clone(),
        connector: CONNECTOR,
        content_type: properties.and_then(|properties| properties.content_type.as_ref()).map(ToString::to_string),
        traceparent: user(wire::header::TRACEPARENT),
        tracestate: user(wire::header::TRACESTATE),
    }
}

#[async_trait]
impl Handler for Hook {
    async fn hook(&self, parameter: &Parameter, known: Option<HookResult>) -> ReturnType {
        let result = match parameter {
            Parameter::ClientAuthenticate(client) => HookResult::AuthResult(self.authenticate(client).await),
            Parameter::ClientSubscribeCheckAcl(session, subscribe) => {
                HookResult::SubscribeAclResult(self.subscribe(session, subscribe))
            }
            Parameter::MessagePublishCheckAcl(session, publish) => {
                HookResult::PublishAclResult(self.publish(session, publish).await.result(publish))
            }
            Parameter::MessagePublish(_, from, publish) => {
                if matches!(from.typ(), FromType::LastWill) {
                    self.will(publish).await;
                }
                return (true, known);
            }
            _ => return (true, known),
        };
        (true, Some(result))
    }
}
