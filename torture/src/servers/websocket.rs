//! Servers over WebSocket: the upgrade, and the frames of RFC 6455.

use dps_benches::TransportKind;
use dps_device::ErrorKind;

use super::script::Act::{Drip, Endless, Read, Silence};
use super::script::{Act, Layer, Script, send};
use super::{Case, PROTOCOL, RETRIED};

/// The transports and their subprotocols.
const TRANSPORTS: [(TransportKind, &str); 2] = [
    (TransportKind::WebSocket, "mqtt"),
    (TransportKind::AmqpWebSocket, "AMQPWSB10"),
];

pub(super) fn cases() -> Vec<Case> {
    let both = TRANSPORTS.into_iter();
    both.flat_map(|(transport, subprotocol)| {
        let upgrades = upgrades().into_iter();
        let frames = frames().into_iter();
        let upgrades = upgrades.map(|it| (Layer::Tls, it));
        upgrades
            .chain(frames.map(|it| (Layer::WebSocket(subprotocol), it)))
            .map(move |(layer, (name, acts, expected))| Case {
                name,
                transport,
                layer,
                script: Script(acts),
                expected,
            })
    })
    .collect()
}

type Parts = (&'static str, Vec<Act>, &'static [ErrorKind]);

fn upgrades() -> Vec<Parts> {
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    let answer = |text: String| vec![Read, Act::Send(text.into_bytes()), Silence];
    vec![
        (
            "silent after the request for an upgrade",
            vec![Read, Silence],
            RETRIED,
        ),
        (
            "closes after the request for an upgrade",
            vec![Read],
            RETRIED,
        ),
        ("101 without a key", answer(format!("{head}\r\n")), PROTOCOL),
        (
            "101 with a wrong key",
            answer(format!(
                "{head}Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"
            )),
            PROTOCOL,
        ),
        (
            "101 that is not a WebSocket",
            answer(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"
                    .into(),
            ),
            PROTOCOL,
        ),
        (
            "a page",
            answer(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
                    .into(),
            ),
            PROTOCOL,
        ),
        (
            "a redirect",
            answer("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".into()),
            PROTOCOL,
        ),
        (
            "404",
            answer("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into()),
            &[ErrorKind::Protocol, ErrorKind::NotFound],
        ),
        (
            "503",
            answer("HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n".into()),
            RETRIED,
        ),
        ("not HTTP", answer("nonsense\r\n\r\n".into()), PROTOCOL),
        (
            "headers of the upgrade without end",
            vec![
                Read,
                Act::Send(head.into()),
                Endless(b"X-Filler: xxxxxxxxxxxx\r\n".to_vec()),
            ],
            &[ErrorKind::Protocol, ErrorKind::Deadline],
        ),
        (
            "a slow upgrade",
            vec![Read, Drip(b"x".to_vec())],
            &[ErrorKind::Protocol, ErrorKind::Deadline],
        ),
    ]
}

fn frames() -> Vec<Parts> {
    let frame = |bytes: &[u8]| vec![Read, send(bytes), Silence];
    let either: &[ErrorKind] = &[ErrorKind::Protocol, ErrorKind::Deadline];
    let ping = [&[0x89, 125][..], &[b'x'; 125]].concat();
    vec![
        ("silent after the upgrade", vec![Silence], RETRIED),
        ("closes after the upgrade", vec![], RETRIED),
        (
            "a frame of 2^63 bytes",
            frame(b"\x82\x7F\x80\x00\x00\x00\x00\x00\x00\x00"),
            PROTOCOL,
        ),
        (
            "a frame of 4 GiB",
            vec![
                Read,
                send(b"\x82\x7F\x00\x00\x00\x01\x00\x00\x00\x00"),
                Endless(vec![0]),
            ],
            either,
        ),
        (
            "a masked frame",
            frame(b"\x82\x81\x00\x00\x00\x00\x20"),
            PROTOCOL,
        ),
        ("reserved bits", frame(b"\xF2\x01\x20"), PROTOCOL),
        ("an unknown opcode", frame(b"\x83\x00"), PROTOCOL),
        ("an unknown control frame", frame(b"\x8F\x00"), PROTOCOL),
        ("text", frame(b"\x81\x02{}"), PROTOCOL),
        (
            "a control frame that is too long",
            frame(b"\x89\x7E\x00\x80"),
            PROTOCOL,
        ),
        ("a control frame in fragments", frame(b"\x09\x00"), PROTOCOL),
        (
            "a continuation of nothing",
            frame(b"\x80\x01\x20"),
            PROTOCOL,
        ),
        (
            "fragments without end",
            vec![
                Read,
                send(b"\x02\x01\x20"),
                Endless(b"\x00\x01\x00".to_vec()),
            ],
            either,
        ),
        (
            "empty fragments without end",
            vec![Read, send(b"\x02\x00"), Endless(b"\x00\x00".to_vec())],
            either,
        ),
        ("pings without end", vec![Read, Endless(ping)], either),
        (
            "pongs without end",
            vec![Read, Endless(b"\x8A\x00".to_vec())],
            either,
        ),
        ("a close frame", frame(b"\x88\x02\x03\xE8"), RETRIED),
        (
            "a close frame with half a code",
            frame(b"\x88\x01\x03"),
            either,
        ),
        (
            "a length of 64 KiB that is not minimal",
            frame(b"\x82\x7F\x00\x00\x00\x00\x00\x00\x00\x01\x20"),
            either,
        ),
    ]
}
