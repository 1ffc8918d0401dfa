//! MQTT 5: with media types and trace context, and a reason for every refusal.

use super::{Incoming, KEEP_ALIVE, Link, Message, ORDERS, Orders, PACKETS, UNACKNOWLEDGED, transport};
use crate::{Config, ConnectorError, Qos};
use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnectProperties, Filter, Packet, Publish, RetainForwardRule, SubscribeReasonCode, UnsubAckReason,
};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};

/// How long the broker keeps our session after we left, in seconds: thirty days. MQTT 3.1.1 has no limit.
const SESSION_EXPIRY: u32 = 30 * 24 * 60 * 60;
/// The largest packet, in bytes: a broker does not send us larger ones (MQTT 5 §3.1.2.11.4), which would take more memory
/// than there is, for a gateway that refuses them as a rule.
const LARGEST_PACKET: u32 = 16 << 20;
/// How long connecting may take, in seconds.
const CONNECT_LIMIT: u64 = 10;

pub(crate) struct V5(EventLoop);

pub(crate) struct V5Orders {
    client: AsyncClient,
    qos: QoS,
}

impl V5 {
    pub(crate) fn open(config: &Config, client_id: &str) -> Result<(Self, V5Orders), ConnectorError> {
        let mut options = MqttOptions::new(client_id, &config.host, config.port);
        options.set_transport(transport(config)?);
        options.set_clean_start(false);
        options.set_manual_acks(true);
        options.set_keep_alive(KEEP_ALIVE);
        options.set_connection_timeout(CONNECT_LIMIT);
        options.set_outgoing_inflight_upper_limit(PACKETS);
        let mut properties = ConnectProperties::new();
        properties.session_expiry_interval = Some(SESSION_EXPIRY);
        properties.receive_maximum = Some(UNACKNOWLEDGED);
        properties.max_packet_size = Some(LARGEST_PACKET);
        options.set_connect_properties(properties);
        if let Some((user, password)) = &config.login {
            options.set_credentials(user, password);
        }
        let (client, events) = AsyncClient::new(options, ORDERS);
        let qos = match config.qos {
            Qos::AtMostOnce => QoS::AtMostOnce,
            Qos::AtLeastOnce => QoS::AtLeastOnce,
        };
        Ok((Self(events), V5Orders { client, qos }))
    }
}

impl Link for V5 {
    async fn next(&mut self) -> Result<Incoming, String> {
        let event = self.0.poll().await.map_err(|error| error.to_string())?;
        Ok(match event {
            Event::Incoming(Packet::ConnAck(answer)) => Incoming::Connected { session: answer.session_present },
            Event::Incoming(Packet::Publish(publish)) => message(publish),
            Event::Incoming(Packet::SubAck(answer)) => {
                let refused =
                    answer.return_codes.iter().find(|reason| !matches!(reason, SubscribeReasonCode::Success(_)));
                Incoming::Answered(answer.pkid, refused.map(|reason| format!("{reason:?}")))
            }
            Event::Incoming(Packet::UnsubAck(answer)) => {
                let refused = answer
                    .reasons
                    .iter()
                    .find(|reason| !matches!(reason, UnsubAckReason::Success | UnsubAckReason::NoSubscriptionExisted));
                Incoming::Answered(answer.pkid, refused.map(|reason| format!("{reason:?}")))
            }
            Event::Outgoing(Outgoing::Subscribe(packet) | Outgoing::Unsubscribe(packet)) => Incoming::Asked(packet),
            Event::Outgoing(Outgoing::Disconnect) => Incoming::Left,
            _ => Incoming::Other,
        })
    }

    fn forget(&mut self) {
        self.0.clean();
        self.0.pending.clear();
    }
}

fn message(publish: Publish) -> Incoming {
    let properties = publish.properties.unwrap_or_default();
    let user = |wanted: &str| {
        let found = properties.user_properties.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.clone())
    };
    Incoming::Message(Message {
        packet: (publish.qos != QoS::AtMostOnce).then_some(publish.pkid),
        again: publish.dup,
        topic: String::from_utf8_lossy(&publish.topic).into_owned(),
        payload: publish.payload,
        traceparent: user(wire::header::TRACEPARENT),
        tracestate: user(wire::header::TRACESTATE),
        content_type: properties.content_type,
    })
}

impl Orders for V5Orders {
    fn acknowledge(&self, packet: u16) -> bool {
        let mut publish = Publish::new("", QoS::AtLeastOnce, Vec::new(), None);
        publish.pkid = packet;
        self.client.try_ack(&publish).is_ok()
    }

    fn subscribe(&self, path: &str) -> bool {
        // Retained messages come once, with a new subscription, not with every connection.
        let mut filter = Filter::new(path, self.qos);
        filter.retain_forward_rule = RetainForwardRule::OnNewSubscribe;
        self.client.try_subscribe_many([filter]).is_ok()
    }

    fn unsubscribe(&self, filter: &str) -> bool {
        self.client.try_unsubscribe(filter).is_ok()
    }

    fn leave(&self) -> bool {
        self.client.try_disconnect().is_ok()
    }
}
