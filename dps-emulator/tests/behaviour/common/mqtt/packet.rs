//! Packets of MQTT 3.1.1 as a client sends them, built by hand.

use crate::common::token;

/// CONNECT, chapter 3.1.
#[derive(Clone)]
pub(crate) struct Connect {
    pub(crate) level: u8,
    pub(crate) clean_session: bool,
    pub(crate) keep_alive: u16,
    pub(crate) client_id: String,
    /// The topic and the message of a will with QoS 0.
    pub(crate) will: Option<(String, Vec<u8>)>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
}

impl Connect {
    /// As most SDKs connect, without a password.
    pub(crate) fn of(id: &str) -> Self {
        Self {
            level: 4,
            clean_session: true,
            keep_alive: 60,
            client_id: id.to_owned(),
            will: None,
            username: Some(format!(
                "0ne00000001/registrations/{id}/api-version=2019-03-31"
            )),
            password: None,
        }
    }

    /// With a token that this key signed.
    pub(crate) fn with_key(id: &str, key: &str) -> Self {
        Self::of(id).password(&token(id, key))
    }

    pub(crate) fn password(self, password: &str) -> Self {
        Self {
            password: Some(password.to_owned()),
            ..self
        }
    }

    pub(crate) fn username(self, username: &str) -> Self {
        Self {
            username: Some(username.to_owned()),
            ..self
        }
    }

    pub(crate) fn client_id(self, client_id: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            ..self
        }
    }

    pub(crate) fn keep_alive(self, keep_alive: u16) -> Self {
        Self { keep_alive, ..self }
    }

    pub(crate) fn will(self, topic: &str, message: &[u8]) -> Self {
        Self {
            will: Some((topic.to_owned(), message.to_owned())),
            ..self
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut body = b"\x00\x04MQTT".to_vec();
        let flags = [
            (self.username.is_some(), 0x80),
            (self.password.is_some(), 0x40),
            (self.will.is_some(), 0x04),
            (self.clean_session, 0x02),
        ];
        let flags = flags.iter().filter(|(on, _)| *on).map(|(_, flag)| flag);
        body.extend([self.level, flags.sum()]);
        body.extend(self.keep_alive.to_be_bytes());
        body.extend(text(&self.client_id));
        if let Some((topic, message)) = &self.will {
            body.extend(text(topic));
            let length = u16::try_from(message.len()).expect("a short message");
            body.extend(length.to_be_bytes());
            body.extend(message);
        }
        for field in [&self.username, &self.password].into_iter().flatten() {
            body.extend(text(field));
        }
        packet(0x10, &body)
    }
}

/// PUBLISH with QoS 1, chapter 3.3.
pub(crate) fn publish(packet_id: u16, topic: &str, payload: &[u8]) -> Vec<u8> {
    let body = [&text(topic), &packet_id.to_be_bytes()[..], payload].concat();
    packet(0x32, &body)
}

/// PUBLISH with QoS 0.
pub(crate) fn publish_at_most_once(topic: &str, payload: &[u8]) -> Vec<u8> {
    packet(0x30, &[&text(topic), payload].concat())
}

/// SUBSCRIBE, chapter 3.8.
pub(crate) fn subscribe(packet_id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    for (filter, qos) in filters {
        body.extend(text(filter));
        body.push(*qos);
    }
    packet(0x82, &body)
}

/// UNSUBSCRIBE, chapter 3.10.
pub(crate) fn unsubscribe(packet_id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    body.extend(filters.iter().flat_map(|filter| text(filter)));
    packet(0xA2, &body)
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut rest = body.len();
    loop {
        let digit = u8::try_from(rest % 128).expect("below 128");
        rest /= 128;
        bytes.push(if rest > 0 { digit | 0x80 } else { digit });
        if rest == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text");
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}
