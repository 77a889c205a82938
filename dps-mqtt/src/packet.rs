//! The packets of MQTT 3.1.1, typed.

use std::fmt;

use bytes::Bytes;
use zeroize::Zeroizing;

/// A control packet. A `packet_id` is never zero on the wire (MQTT-2.3.1-1).
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A client's first packet.
    Connect(Connect),
    /// The answer to CONNECT.
    ConnAck {
        /// True if the server kept a session of this client.
        session_present: bool,
        /// The answer of the server: accepted, or the reason of a refusal.
        code: ConnectCode,
    },
    /// A message, in either direction.
    Publish(Publish),
    /// A message of [`QoS::AtLeastOnce`] arrived.
    PubAck {
        /// The message's.
        packet_id: u16,
    },
    /// A message of [`QoS::ExactlyOnce`] arrived: step one of three.
    PubRec {
        /// The message's.
        packet_id: u16,
    },
    /// Step two of [`QoS::ExactlyOnce`].
    PubRel {
        /// The message's.
        packet_id: u16,
    },
    /// Step three of [`QoS::ExactlyOnce`].
    PubComp {
        /// The message's.
        packet_id: u16,
    },
    /// A client subscribes.
    Subscribe {
        /// Comes back in the SUBACK.
        packet_id: u16,
        /// Topic filters and the QoS asked for; at least one.
        filters: Vec<(String, QoS)>,
    },
    /// The answer to SUBSCRIBE.
    SubAck {
        /// The SUBSCRIBE's.
        packet_id: u16,
        /// For each filter, in order, the QoS granted, or `None` for a refusal (0x80); at least one.
        granted: Vec<Option<QoS>>,
    },
    /// A client unsubscribes.
    Unsubscribe {
        /// Comes back in the UNSUBACK.
        packet_id: u16,
        /// Topic filters; at least one.
        filters: Vec<String>,
    },
    /// The answer to UNSUBSCRIBE.
    UnsubAck {
        /// The UNSUBSCRIBE's.
        packet_id: u16,
    },
    /// A keep-alive ping of the client.
    PingReq,
    /// The response of the server.
    PingResp,
    /// A client disconnects.
    Disconnect,
}

/// A CONNECT. Its `Debug` does not show the password.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// The client id. It may be empty, if the server allows that (MQTT-3.1.3-6).
    pub client_id: String,
    /// The username, which may be empty; `None` if the packet has no username.
    pub username: Option<String>,
    /// The password, which may be empty; only together with a username (MQTT-3.1.2-22). MQTT allows any bytes; a
    /// password that is not UTF-8 is refused here as malformed.
    pub password: Option<Zeroizing<String>>,
    /// The longest time between two packets of the client, in seconds. 0 disables it.
    pub keep_alive: u16,
    /// True if the server discards an earlier session of this client.
    pub clean_session: bool,
    /// True if there is a will, a message that the server publishes when the client is lost. Its content is not kept when it is
    /// read, and a CONNECT with a will cannot be written.
    pub has_will: bool,
}

impl Connect {
    /// A clean session without username, password, keep-alive or will.
    pub fn new(client_id: impl Into<String>) -> Self {
        Self {
            client_id: client_id.into(),
            username: None,
            password: None,
            keep_alive: 0,
            clean_session: true,
            has_will: false,
        }
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| ..))
            .field("keep_alive", &self.keep_alive)
            .field("clean_session", &self.clean_session)
            .field("has_will", &self.has_will)
            .finish()
    }
}

/// A PUBLISH. Its `Debug` shows the length of the payload, not its content.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq)]
pub struct Publish {
    /// The topic name: not empty, no wildcards.
    pub topic: String,
    /// The message, which may be empty.
    pub payload: Bytes,
    /// The quality of service.
    pub qos: QoS,
    /// `None` for [`QoS::AtMostOnce`], and only then.
    pub packet_id: Option<u16>,
    /// True if it may have been sent before; never for [`QoS::AtMostOnce`].
    pub duplicate: bool,
    /// Kept by the server for later subscribers.
    pub retain: bool,
}

impl Publish {
    /// A message sent for the first time, not to be retained.
    pub fn new(
        topic: impl Into<String>,
        payload: impl Into<Bytes>,
        qos: QoS,
        packet_id: Option<u16>,
    ) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos,
            packet_id,
            duplicate: false,
            retain: false,
        }
    }
}

impl fmt::Debug for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish")
            .field("topic", &self.topic)
            .field("payload_bytes", &self.payload.len())
            .field("qos", &self.qos)
            .field("packet_id", &self.packet_id)
            .field("duplicate", &self.duplicate)
            .field("retain", &self.retain)
            .finish()
    }
}

/// Quality of service: the guarantee that a message is delivered.
#[expect(
    clippy::exhaustive_enums,
    reason = "two bits, the fourth value is forbidden"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QoS {
    /// 0: sent once, without acknowledgement.
    AtMostOnce,
    /// 1: sent until acknowledged.
    AtLeastOnce,
    /// 2: in three steps. DPS and IoT Hub do not offer it.
    ExactlyOnce,
}

/// The return code of a CONNACK.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectCode {
    /// 0: the client is accepted.
    Accepted,
    /// 1: the server does not support the client's version of MQTT.
    UnacceptableProtocolVersion,
    /// 2: the client id is not accepted.
    IdentifierRejected,
    /// 3: the server is unavailable.
    ServerUnavailable,
    /// 4: the username or the password is malformed.
    BadUsernameOrPassword,
    /// 5: the client may not connect.
    NotAuthorized,
    /// A code that MQTT 3.1.1 does not define. It can be read, not written.
    Unknown(u8),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show() {
        let mut connect = Connect::new("device-1");
        connect.username = Some("scope/registrations/device-1".into());
        connect.password = Some(Zeroizing::new("SharedAccessSignature".into()));
        let publish = Publish::new("t", &b"primaryKey"[..], QoS::AtMostOnce, None);

        assert_eq!(
            format!("{:?}", Packet::Connect(connect)),
            r#"Connect(Connect { client_id: "device-1", username: Some("scope/registrations/device-1"), password: Some(..), keep_alive: 0, clean_session: true, has_will: false })"#
        );
        assert_eq!(
            format!("{publish:?}"),
            r#"Publish { topic: "t", payload_bytes: 10, qos: AtMostOnce, packet_id: None, duplicate: false, retain: false }"#
        );
    }
}
