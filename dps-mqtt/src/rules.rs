//! The rules for packets that their types do not express. They apply to reading and to writing.

use rumqttc::mqttbytes::{valid_filter, valid_topic};

use crate::error::Error;
use crate::packet::{Connect, Packet, Publish, QoS};

pub(crate) fn check(packet: &Packet) -> Result<(), Error> {
    match packet {
        Packet::Connect(connect) => check_connect(connect),
        Packet::Publish(publish) => check_publish(publish),
        Packet::PubAck { packet_id }
        | Packet::PubRec { packet_id }
        | Packet::PubRel { packet_id }
        | Packet::PubComp { packet_id }
        | Packet::UnsubAck { packet_id } => check_id(*packet_id),
        Packet::Subscribe { packet_id, filters } => {
            check_id(*packet_id)?;
            check_some(filters)?;
            filters
                .iter()
                .try_for_each(|(filter, _)| check_filter(filter))
        }
        Packet::SubAck { packet_id, granted } => {
            check_id(*packet_id)?;
            check_some(granted)
        }
        Packet::Unsubscribe { packet_id, filters } => {
            check_id(*packet_id)?;
            check_some(filters)?;
            filters.iter().try_for_each(|filter| check_filter(filter))
        }
        Packet::ConnAck { .. } | Packet::PingReq | Packet::PingResp | Packet::Disconnect => Ok(()),
    }
}

/// A topic name (MQTT-4.7.3-1, MQTT-3.3.2-2).
pub(crate) fn check_topic(topic: &str) -> Result<(), Error> {
    check_text(topic)?;
    holds(
        !topic.is_empty() && valid_topic(topic),
        "a topic name is empty or has a wildcard",
    )
}

fn check_connect(connect: &Connect) -> Result<(), Error> {
    check_text(&connect.client_id)?;
    connect.username.as_deref().map_or(Ok(()), check_text)?;
    let Some(password) = &connect.password else {
        return Ok(());
    };
    holds(connect.username.is_some(), "a password without a username")?;
    check_length(password)
}

fn check_publish(publish: &Publish) -> Result<(), Error> {
    check_topic(&publish.topic)?;
    match (publish.qos, publish.packet_id) {
        (QoS::AtMostOnce, None) => holds(
            !publish.duplicate,
            "a message of QoS 0 is marked as a duplicate",
        ),
        (QoS::AtMostOnce, Some(_)) => Err(Error::malformed(
            "a message of QoS 0 has a packet identifier",
        )),
        (_, None) => Err(Error::malformed(
            "a message of QoS 1 or 2 has no packet identifier",
        )),
        (_, Some(id)) => check_id(id),
    }
}

fn check_id(id: u16) -> Result<(), Error> {
    holds(id != 0, "a packet identifier is zero")
}

/// MQTT-3.8.3-3, MQTT-3.10.3-2.
fn check_some<T>(list: &[T]) -> Result<(), Error> {
    holds(
        !list.is_empty(),
        "a list of topic filters or return codes is empty",
    )
}

fn check_filter(filter: &str) -> Result<(), Error> {
    check_text(filter)?;
    holds(
        valid_filter(filter),
        "a topic filter is empty or has a wildcard in the wrong place",
    )
}

/// MQTT-1.5.3-2. Rust's strings ensure the rest of MQTT-1.5.3.
fn check_text(text: &str) -> Result<(), Error> {
    check_length(text)?;
    holds(
        !text.contains('\0'),
        "a string contains the character U+0000",
    )
}

/// The length of a string has two bytes; rumqttc would truncate a longer one.
fn check_length(text: &str) -> Result<(), Error> {
    holds(
        text.len() <= usize::from(u16::MAX),
        "a string is longer than 65,535 bytes",
    )
}

fn holds(rule: bool, otherwise: &'static str) -> Result<(), Error> {
    if rule {
        Ok(())
    } else {
        Err(Error::malformed(otherwise))
    }
}
