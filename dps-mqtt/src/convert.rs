//! Converts between our packets and rumqttc's. Only this module, `connect`, `frame` and `rules` use that crate.
//!
//! rumqttc's parsers are lenient, so lengths and reserved bits are checked here.

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::{self, FixedHeader, PacketType, v4};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::packet::{ConnectCode, Packet, Publish, QoS};
use crate::{connect, frame, rules};

/// Decodes a whole packet. Its bytes are wiped when the last reference is dropped, which may be a message's payload.
pub(crate) fn decode(header: FixedHeader, bytes: Zeroizing<Vec<u8>>) -> Result<Packet, Error> {
    let bytes = Bytes::from_owner(bytes);
    let packet = match header.packet_type().map_err(Error::malformed_packet)? {
        PacketType::Connect => Packet::Connect(connect::read(header, bytes)?),
        PacketType::ConnAck => read_connack(frame::body(&bytes))?,
        PacketType::Publish => Packet::Publish(publish_from(
            v4::Publish::read(header, bytes).map_err(Error::malformed_packet)?,
        )),
        PacketType::PubAck => Packet::PubAck {
            packet_id: read_id(frame::body(&bytes))?,
        },
        PacketType::PubRec => Packet::PubRec {
            packet_id: read_id(frame::body(&bytes))?,
        },
        PacketType::PubRel => Packet::PubRel {
            packet_id: read_id(frame::body(&bytes))?,
        },
        PacketType::PubComp => Packet::PubComp {
            packet_id: read_id(frame::body(&bytes))?,
        },
        PacketType::Subscribe => read_subscribe(header, bytes)?,
        PacketType::SubAck => {
            let read = v4::SubAck::read(header, bytes).map_err(Error::malformed_packet)?;
            Packet::SubAck {
                packet_id: read.pkid,
                granted: read.return_codes.into_iter().map(granted).collect(),
            }
        }
        PacketType::Unsubscribe => {
            let read = v4::Unsubscribe::read(header, bytes).map_err(Error::malformed_packet)?;
            Packet::Unsubscribe {
                packet_id: read.pkid,
                filters: read.topics,
            }
        }
        PacketType::UnsubAck => Packet::UnsubAck {
            packet_id: read_id(frame::body(&bytes))?,
        },
        PacketType::PingReq => read_nothing(frame::body(&bytes), Packet::PingReq)?,
        PacketType::PingResp => read_nothing(frame::body(&bytes), Packet::PingResp)?,
        PacketType::Disconnect => read_nothing(frame::body(&bytes), Packet::Disconnect)?,
    };
    rules::check(&packet)?;
    Ok(packet)
}

/// Encodes a packet, or refuses one that is not valid MQTT.
pub(crate) fn encode(packet: Packet) -> Result<Zeroizing<Vec<u8>>, Error> {
    rules::check(&packet)?;
    let packet = match packet {
        Packet::Connect(connect) => return connect::write(&connect),
        Packet::ConnAck {
            session_present,
            code,
        } => v4::Packet::ConnAck(v4::ConnAck::new(return_code(code)?, session_present)),
        Packet::Publish(publish) => v4::Packet::Publish(publish_to(publish)),
        Packet::PubAck { packet_id } => v4::Packet::PubAck(v4::PubAck::new(packet_id)),
        Packet::PubRec { packet_id } => v4::Packet::PubRec(v4::PubRec::new(packet_id)),
        Packet::PubRel { packet_id } => v4::Packet::PubRel(v4::PubRel::new(packet_id)),
        Packet::PubComp { packet_id } => v4::Packet::PubComp(v4::PubComp::new(packet_id)),
        Packet::Subscribe { packet_id, filters } => v4::Packet::Subscribe(v4::Subscribe {
            pkid: packet_id,
            filters: filters
                .into_iter()
                .map(|(path, qos)| v4::SubscribeFilter::new(path, qos_to(qos)))
                .collect(),
        }),
        Packet::SubAck { packet_id, granted } => v4::Packet::SubAck(v4::SubAck::new(
            packet_id,
            granted.into_iter().map(reason_code).collect(),
        )),
        Packet::Unsubscribe { packet_id, filters } => v4::Packet::Unsubscribe(v4::Unsubscribe {
            pkid: packet_id,
            topics: filters,
        }),
        Packet::UnsubAck { packet_id } => v4::Packet::UnsubAck(v4::UnsubAck::new(packet_id)),
        Packet::PingReq => v4::Packet::PingReq,
        Packet::PingResp => v4::Packet::PingResp,
        Packet::Disconnect => v4::Packet::Disconnect,
    };
    let mut bytes = BytesMut::with_capacity(packet.size());
    packet
        .write(&mut bytes, usize::MAX)
        .map_err(|error| Error::too_large().with_source(error))?;
    Ok(Zeroizing::new(bytes.into()))
}

/// Not by rumqttc, which refuses unknown codes: the caller should see them.
fn read_connack(body: &[u8]) -> Result<Packet, Error> {
    let &[flags @ (0 | 1), code] = body else {
        return Err(Error::malformed(
            "a CONNACK has a wrong length or reserved bits set",
        ));
    };
    let code = match code {
        0 => ConnectCode::Accepted,
        1 => ConnectCode::UnacceptableProtocolVersion,
        2 => ConnectCode::IdentifierRejected,
        3 => ConnectCode::ServerUnavailable,
        4 => ConnectCode::BadUsernameOrPassword,
        5 => ConnectCode::NotAuthorized,
        code => ConnectCode::Unknown(code),
    };
    Ok(Packet::ConnAck {
        session_present: flags == 1,
        code,
    })
}

/// Not by rumqttc, which accepts some acknowledgements with additional bytes.
fn read_id(body: &[u8]) -> Result<u16, Error> {
    let id = body
        .try_into()
        .map_err(|_| Error::malformed("an acknowledgement is not two bytes long"))?;
    Ok(u16::from_be_bytes(id))
}

fn read_nothing(body: &[u8], packet: Packet) -> Result<Packet, Error> {
    if body.is_empty() {
        Ok(packet)
    } else {
        Err(Error::malformed(
            "a packet has a body, and its type does not allow one",
        ))
    }
}

/// rumqttc ignores the reserved bits next to a QoS (MQTT-3-8.3-4).
fn read_subscribe(header: FixedHeader, bytes: Bytes) -> Result<Packet, Error> {
    let read = v4::Subscribe::read(header, bytes.clone()).map_err(Error::malformed_packet)?;
    let body = frame::body(&bytes);
    let mut at = 2;
    for filter in &read.filters {
        at += 2 + filter.path.len();
        if body.get(at).is_none_or(|options| *options > 2) {
            return Err(Error::malformed("a SUBSCRIBE has a reserved bit set"));
        }
        at += 1;
    }
    Ok(Packet::Subscribe {
        packet_id: read.pkid,
        filters: read
            .filters
            .into_iter()
            .map(|filter| (filter.path, qos_from(filter.qos)))
            .collect(),
    })
}

fn return_code(code: ConnectCode) -> Result<v4::ConnectReturnCode, Error> {
    Ok(match code {
        ConnectCode::Accepted => v4::ConnectReturnCode::Success,
        ConnectCode::UnacceptableProtocolVersion => v4::ConnectReturnCode::RefusedProtocolVersion,
        ConnectCode::IdentifierRejected => v4::ConnectReturnCode::BadClientId,
        ConnectCode::ServerUnavailable => v4::ConnectReturnCode::ServiceUnavailable,
        ConnectCode::BadUsernameOrPassword => v4::ConnectReturnCode::BadUserNamePassword,
        ConnectCode::NotAuthorized => v4::ConnectReturnCode::NotAuthorized,
        ConnectCode::Unknown(_) => {
            return Err(Error::malformed(
                "writing an unknown CONNACK code is not supported",
            ));
        }
    })
}

fn granted(code: v4::SubscribeReasonCode) -> Option<QoS> {
    match code {
        v4::SubscribeReasonCode::Success(qos) => Some(qos_from(qos)),
        v4::SubscribeReasonCode::Failure => None,
    }
}

fn reason_code(granted: Option<QoS>) -> v4::SubscribeReasonCode {
    granted.map_or(v4::SubscribeReasonCode::Failure, |qos| {
        v4::SubscribeReasonCode::Success(qos_to(qos))
    })
}

// Functions, not `From`: an implementation would be public, and rumqttc with it.
fn publish_from(read: v4::Publish) -> Publish {
    Publish {
        topic: read.topic,
        payload: read.payload,
        qos: qos_from(read.qos),
        packet_id: (read.qos != mqttbytes::QoS::AtMostOnce).then_some(read.pkid),
        duplicate: read.dup,
        retain: read.retain,
    }
}

fn publish_to(publish: Publish) -> v4::Publish {
    v4::Publish {
        dup: publish.duplicate,
        qos: qos_to(publish.qos),
        retain: publish.retain,
        topic: publish.topic,
        pkid: publish.packet_id.unwrap_or_default(),
        payload: publish.payload,
    }
}

fn qos_from(qos: mqttbytes::QoS) -> QoS {
    match qos {
        mqttbytes::QoS::AtMostOnce => QoS::AtMostOnce,
        mqttbytes::QoS::AtLeastOnce => QoS::AtLeastOnce,
        mqttbytes::QoS::ExactlyOnce => QoS::ExactlyOnce,
    }
}

fn qos_to(qos: QoS) -> mqttbytes::QoS {
    match qos {
        QoS::AtMostOnce => mqttbytes::QoS::AtMostOnce,
        QoS::AtLeastOnce => mqttbytes::QoS::AtLeastOnce,
        QoS::ExactlyOnce => mqttbytes::QoS::ExactlyOnce,
    }
}
