//! Servers over MQTT. The packets are literals of MQTT 3.1.1.

use dps_benches::TransportKind;
use dps_device::ErrorKind;

use super::script::Act::{Answer, Drip, Endless, Read, Silence};
use super::script::{Act, Layer, Script, send};
use super::{Case, PROTOCOL, RETRIED, UNAUTHORIZED};

const CONNACK: &[u8] = b"\x20\x02\x00\x00";
/// The acknowledgement of the only subscription, whose packet identifier is that of the SUBSCRIBE.
const SUBACK: Act = Answer(suback);
const PUBACK: Act = Answer(puback);

pub(super) fn cases() -> Vec<Case> {
    let mut cases = connecting();
    cases.extend(subscribing());
    cases.extend(answering());
    cases
}

fn connecting() -> Vec<Case> {
    vec![
        mqtt("silent after TLS", vec![Silence], RETRIED),
        mqtt("closes after TLS", vec![], RETRIED),
        mqtt("silent after the CONNECT", vec![Read, Silence], RETRIED),
        mqtt("closes after the CONNECT", vec![Read], RETRIED),
        mqtt(
            "HTTP in place of MQTT",
            vec![Read, send("HTTP/1.1 400 Bad Request\r\n\r\n")],
            PROTOCOL,
        ),
        mqtt(
            "a CONNACK that is too short",
            vec![Read, send(b"\x20\x01\x00"), Silence],
            PROTOCOL,
        ),
        mqtt(
            "a CONNACK that is too long",
            vec![Read, send(b"\x20\x03\x00\x00\x00"), Silence],
            PROTOCOL,
        ),
        mqtt(
            "half of a CONNACK, then silent",
            vec![Read, send(b"\x20\x02\x00"), Silence],
            RETRIED,
        ),
        mqtt(
            "an unknown return code",
            vec![Read, send(b"\x20\x02\x00\x09"), Silence],
            PROTOCOL,
        ),
        mqtt(
            "a session in the answer to a clean session",
            vec![Read, send(b"\x20\x02\x01\x00"), Silence],
            &[ErrorKind::Protocol, ErrorKind::Deadline],
        ),
        mqtt(
            "refused as not authorized",
            vec![Read, send(b"\x20\x02\x00\x05")],
            UNAUTHORIZED,
        ),
        mqtt(
            "refused as unavailable",
            vec![Read, send(b"\x20\x02\x00\x03")],
            RETRIED,
        ),
        mqtt(
            "the reserved packet type 0",
            vec![Read, send(b"\x00\x00"), Silence],
            PROTOCOL,
        ),
        mqtt(
            "the reserved packet type 15",
            vec![Read, send(b"\xF0\x00"), Silence],
            PROTOCOL,
        ),
        mqtt(
            "a CONNECT from the server",
            vec![
                Read,
                send(b"\x10\x0C\x00\x04MQTT\x04\x02\x00\x3C\x00\x00"),
                Silence,
            ],
            PROTOCOL,
        ),
        mqtt(
            "a length of five bytes",
            vec![Read, send(b"\x20\xFF\xFF\xFF\xFF\x01"), Silence],
            PROTOCOL,
        ),
        mqtt(
            "a packet of 256 MiB",
            vec![Read, send(b"\x30\xFF\xFF\xFF\x7F"), Endless(vec![0])],
            PROTOCOL,
        ),
        mqtt(
            "a PUBLISH before the CONNACK",
            vec![Read, send(b"\x30\x05\x00\x01a{}"), Silence],
            PROTOCOL,
        ),
        mqtt(
            "a SUBACK in place of the CONNACK",
            vec![Read, send(b"\x90\x03\x00\x01\x01"), Silence],
            PROTOCOL,
        ),
        mqtt(
            "a PUBACK in place of the CONNACK",
            vec![Read, send(b"\x40\x02\x00\x02"), Silence],
            PROTOCOL,
        ),
        mqtt(
            "a PINGRESP in place of the CONNACK",
            vec![Read, send(b"\xD0\x00"), Silence],
            PROTOCOL,
        ),
        mqtt(
            "a slow packet",
            vec![Read, send(b"\x30\x7F"), Drip(vec![b'x'])],
            RETRIED,
        ),
    ]
}

fn subscribing() -> Vec<Case> {
    let subscribed = |act: Act| vec![Read, send(CONNACK), Read, act, Silence];
    vec![
        mqtt("no SUBACK", subscribed(send(b"")), RETRIED),
        mqtt(
            "closes after the SUBSCRIBE",
            vec![Read, send(CONNACK), Read],
            RETRIED,
        ),
        mqtt(
            "a SUBACK of a failure",
            subscribed(Answer(|read| acknowledged(0x90, read, &[0x80]))),
            &[
                ErrorKind::Protocol,
                ErrorKind::Rejected,
                ErrorKind::Unauthorized,
            ],
        ),
        mqtt(
            "a SUBACK of another packet",
            subscribed(send(b"\x90\x03\x7F\x7F\x01")),
            PROTOCOL,
        ),
        mqtt(
            "a SUBACK without a result",
            subscribed(Answer(|read| acknowledged(0x90, read, &[]))),
            PROTOCOL,
        ),
        mqtt(
            "a SUBACK with an invalid result",
            subscribed(Answer(|read| acknowledged(0x90, read, &[0x03]))),
            PROTOCOL,
        ),
        mqtt("a second CONNACK", subscribed(send(CONNACK)), PROTOCOL),
        mqtt(
            "a PUBACK in place of the SUBACK",
            subscribed(send(b"\x40\x02\x00\x01")),
            PROTOCOL,
        ),
        mqtt(
            "an UNSUBACK in place of the SUBACK",
            subscribed(send(b"\xB0\x02\x00\x01")),
            PROTOCOL,
        ),
        mqtt(
            "a PINGRESP without a ping",
            subscribed(send(b"\xD0\x00")),
            PROTOCOL,
        ),
        mqtt(
            "a DISCONNECT of the server",
            subscribed(send(b"\xE0\x00")),
            PROTOCOL,
        ),
        mqtt(
            "PINGRESP without end",
            vec![Read, send(CONNACK), Read, Endless(b"\xD0\x00".to_vec())],
            PROTOCOL,
        ),
        mqtt(
            "PUBLISH without end in place of the SUBACK",
            vec![
                Read,
                send(CONNACK),
                Read,
                Endless(b"\x30\x05\x00\x01a{}".to_vec()),
            ],
            &[ErrorKind::Protocol, ErrorKind::Deadline],
        ),
    ]
}

fn answering() -> Vec<Case> {
    let asked = |acts: Vec<Act>| {
        let before = vec![Read, send(CONNACK), Read, SUBACK, Read];
        before.into_iter().chain(acts).collect::<Vec<_>>()
    };
    vec![
        mqtt("no answer", asked(vec![PUBACK, Silence]), RETRIED),
        mqtt("no PUBACK and no answer", asked(vec![Silence]), RETRIED),
        mqtt("closes after the request", asked(vec![]), RETRIED),
        mqtt(
            "a PUBACK of another packet",
            asked(vec![send(b"\x40\x02\x7F\x7F"), Silence]),
            PROTOCOL,
        ),
        mqtt(
            "a second PUBACK",
            asked(vec![PUBACK, PUBACK, Silence]),
            PROTOCOL,
        ),
        mqtt(
            "a CONNACK after the request",
            asked(vec![send(CONNACK), Silence]),
            PROTOCOL,
        ),
        mqtt(
            "a SUBACK after the request",
            asked(vec![send(b"\x90\x03\x00\x01\x01"), Silence]),
            PROTOCOL,
        ),
        mqtt(
            "a PINGRESP after the request",
            asked(vec![PUBACK, send(b"\xD0\x00"), Silence]),
            PROTOCOL,
        ),
        mqtt(
            "a PINGREQ of the server",
            asked(vec![send(b"\xC0\x00"), Silence]),
            PROTOCOL,
        ),
        mqtt(
            "a PUBREC in place of the PUBACK",
            asked(vec![send(b"\x50\x02\x00\x02"), Silence]),
            PROTOCOL,
        ),
        mqtt(
            "a DISCONNECT after the request",
            asked(vec![PUBACK, send(b"\xE0\x00"), Silence]),
            PROTOCOL,
        ),
        mqtt(
            "a message with QoS 2",
            asked(vec![send(b"\x34\x07\x00\x01a\x00\x01{}"), Silence]),
            PROTOCOL,
        ),
        mqtt(
            "answers to another request without end",
            asked(vec![
                PUBACK,
                Endless(publish("$dps/registrations/res/200/?$rid=other", "{}")),
            ]),
            RETRIED,
        ),
        mqtt(
            "other topics without end",
            asked(vec![PUBACK, Endless(publish("some/topic", "{}"))]),
            &[ErrorKind::Protocol, ErrorKind::Deadline],
        ),
        mqtt(
            "a PUBLISH with QoS 3",
            asked(vec![send(b"\x36\x07\x00\x01a\x00\x01{}"), Silence]),
            PROTOCOL,
        ),
        mqtt(
            "a topic that is not UTF-8",
            asked(vec![send(b"\x30\x04\x00\x01\xFFx"), Silence]),
            PROTOCOL,
        ),
        mqtt(
            "a topic that is longer than its packet",
            asked(vec![send(b"\x30\x03\x00\x10a"), Silence]),
            PROTOCOL,
        ),
        mqtt(
            "a null character in a topic",
            asked(vec![send(b"\x30\x04\x00\x01\x00x"), Silence]),
            PROTOCOL,
        ),
        mqtt(
            "a status that is not a number",
            asked(vec![Answer(|read| answer(read, "abc", "", "{}")), Silence]),
            &[ErrorKind::Protocol, ErrorKind::Deadline],
        ),
        mqtt(
            "the status 999",
            asked(vec![Answer(|read| answer(read, "999", "", "{}")), Silence]),
            PROTOCOL,
        ),
        mqtt(
            "an empty body",
            asked(vec![Answer(|read| answer(read, "200", "", "")), Silence]),
            PROTOCOL,
        ),
        mqtt(
            "a body that is not JSON",
            asked(vec![
                Answer(|read| answer(read, "200", "", "<html>")),
                Silence,
            ]),
            PROTOCOL,
        ),
        mqtt(
            "JSON that is too deep",
            asked(vec![
                Answer(|read| answer(read, "200", "", &"[".repeat(20_000))),
                Silence,
            ]),
            PROTOCOL,
        ),
        mqtt(
            "a huge retry-after",
            asked(vec![
                Answer(|read| answer(read, "429", "&retry-after=999999999999999999", "{}")),
                Silence,
            ]),
            RETRIED,
        ),
        mqtt(
            "a retry-after that is not a number",
            asked(vec![
                Answer(|read| answer(read, "429", "&retry-after=soon", "{}")),
                Silence,
            ]),
            RETRIED,
        ),
        mqtt(
            "401 after the CONNACK",
            asked(vec![Answer(|read| answer(read, "401", "", "{")), Silence]),
            UNAUTHORIZED,
        ),
    ]
}

fn mqtt(name: &'static str, acts: Vec<Act>, expected: &'static [ErrorKind]) -> Case {
    Case {
        name,
        transport: TransportKind::Mqtt,
        layer: Layer::Tls,
        script: Script(acts),
        expected,
    }
}

fn suback(read: &[u8]) -> Vec<u8> {
    acknowledged(0x90, read, &[1])
}

fn puback(read: &[u8]) -> Vec<u8> {
    let (_, id) = request(read);
    vec![0x40, 2, id[0], id[1]]
}

/// An acknowledgement of a SUBSCRIBE, whose packet identifier follows the fixed header of two bytes.
fn acknowledged(first: u8, read: &[u8], results: &[u8]) -> Vec<u8> {
    let id = [read.get(2).copied(), read.get(3).copied()].map(Option::unwrap_or_default);
    packet(first, &[&id, results].concat())
}

/// The request id in the topic of a PUBLISH with QoS 1, and its packet identifier.
fn request(read: &[u8]) -> (String, [u8; 2]) {
    let header = 2 + read[1..].iter().take_while(|byte| **byte > 127).count();
    let rest = read.get(header..).unwrap_or_default();
    let length = rest
        .first_chunk::<2>()
        .map_or(0, |length| u16::from_be_bytes(*length));
    let end = 2 + usize::from(length);
    let topic = String::from_utf8_lossy(rest.get(2..end).unwrap_or_default()).into_owned();
    let id = rest.get(end..).and_then(|rest| rest.first_chunk().copied());
    let rid = topic.split("$rid=").nth(1).unwrap_or_default();
    (rid.to_owned(), id.unwrap_or_default())
}

/// An answer to the request that was read.
fn answer(read: &[u8], status: &str, more: &str, body: &str) -> Vec<u8> {
    let (rid, _) = request(read);
    let topic = format!("$dps/registrations/res/{status}/?$rid={rid}{more}");
    [puback(read), publish(&topic, body)].concat()
}

/// A PUBLISH with QoS 0.
fn publish(topic: &str, body: &str) -> Vec<u8> {
    let length = u16::try_from(topic.len()).unwrap_or_default().to_be_bytes();
    packet(0x30, &[&length, topic.as_bytes(), body.as_bytes()].concat())
}

fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = rest.len();
    while length > 127 {
        packet.push((length % 128) as u8 | 0x80);
        length /= 128;
    }
    packet.push(length as u8);
    packet.extend_from_slice(rest);
    packet
}
