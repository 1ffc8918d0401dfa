//! MQTT 3.1.1.

use super::{Incoming, KEEP_ALIVE, Link, Message, ORDERS, Orders, PACKET_LIMIT, PACKETS, transport};
use crate::{Config, ConnectorError, Qos};
use rumqttc::mqttbytes::v4::{Packet, Publish, SubscribeReasonCode};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Outgoing, QoS};

pub(crate) struct V3(EventLoop);

pub(crate) struct V3Orders {
    client: AsyncClient,
    qos: QoS,
}

impl V3 {
    pub(crate) fn open(config: &Config, client_id: &str) -> Result<(Self, V3Orders), ConnectorError> {
        let mut options = MqttOptions::new(client_id, &config.host, config.port);
        options.set_transport(transport(config)?);
        options.set_clean_session(false);
        options.set_manual_acks(true);
        options.set_keep_alive(KEEP_ALIVE);
        options.set_inflight(PACKETS);
        let limit = usize::try_from(PACKET_LIMIT).unwrap_or(usize::MAX);
        options.set_max_packet_size(limit, limit);
        if let Some((user, password)) = &config.login {
            options.set_credentials(user, password);
        }
        let (client, events) = AsyncClient::new(options, ORDERS);
        let qos = match config.qos {
            Qos::AtMostOnce => QoS::AtMostOnce,
            Qos::AtLeastOnce => QoS::AtLeastOnce,
        };
        Ok((Self(events), V3Orders { client, qos }))
    }
}

impl Link for V3 {
    async fn next(&mut self) -> Result<Incoming, String> {
        let event = self.0.poll().await.map_err(|error| error.to_string())?;
        Ok(match event {
            Event::Incoming(Packet::ConnAck(answer)) => Incoming::Connected { session: answer.session_present },
            Event::Incoming(Packet::Publish(publish)) => Incoming::Message(Message {
                packet: (publish.qos != QoS::AtMostOnce).then_some(publish.pkid),
                again: publish.dup,
                topic: publish.topic,
                payload: publish.payload,
                content_type: None,
                traceparent: None,
                tracestate: None,
            }),
            Event::Incoming(Packet::SubAck(answer)) => {
                let refused = answer.return_codes.contains(&SubscribeReasonCode::Failure);
                Incoming::Answered(answer.pkid, refused.then(|| "the broker gives no reason".to_owned()))
            }
            Event::Incoming(Packet::UnsubAck(answer)) => Incoming::Answered(answer.pkid, None),
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

impl Orders for V3Orders {
    fn acknowledge(&self, packet: u16) -> bool {
        let mut publish = Publish::new("", QoS::AtLeastOnce, Vec::new());
        publish.pkid = packet;
        self.client.try_ack(&publish).is_ok()
    }

    fn subscribe(&self, filter: &str) -> bool {
        self.client.try_subscribe(filter, self.qos).is_ok()
    }

    fn unsubscribe(&self, filter: &str) -> bool {
        self.client.try_unsubscribe(filter).is_ok()
    }

    fn leave(&self) -> bool {
        self.client.try_disconnect().is_ok()
    }
}
