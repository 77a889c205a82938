//! Packets that are not MQTT 3.1.1 are refused, in both directions.

use std::error::Error as _;
use std::io;

use crate::common::{MAX, hex, read_all, written};
use dps_mqtt::{Connect, ConnectCode, ErrorKind, Packet, Packets, Publish, QoS};
use tokio::io::AsyncWriteExt;
use zeroize::Zeroizing;

const MALFORMED: &[(&str, &str)] = &[
    ("type 0", "00 00"),
    ("type 15", "F0 00"),
    (
        "CONNECT with flags",
        "11 0D 00 04 4D 51 54 54 04 02 00 3C 00 01 63",
    ),
    ("PUBREL without its flag", "60 02 00 0A"),
    ("SUBSCRIBE without its flag", "80 06 00 0A 00 01 61 00"),
    ("UNSUBSCRIBE without its flag", "A0 05 00 0A 00 01 61"),
    ("PUBACK with a flag", "42 02 00 0A"),
    ("PINGREQ with a flag", "C1 00"),
    ("PUBLISH of QoS 3", "36 05 00 01 74 00 0A"),
    ("PUBLISH of QoS 0 marked as a duplicate", "38 03 00 01 74"),
    ("a length of five bytes", "30 80 80 80 80 01"),
    ("CONNECT without a body", "10 00"),
    (
        "CONNECT of another protocol",
        "10 0D 00 04 4D 51 54 58 04 02 00 3C 00 01 63",
    ),
    (
        "CONNECT that stops before the level",
        "10 06 00 04 4D 51 54 54",
    ),
    (
        "CONNECT that stops before the flags",
        "10 07 00 04 4D 51 54 54 04",
    ),
    (
        "CONNECT with the reserved flag",
        "10 0D 00 04 4D 51 54 54 04 03 00 3C 00 01 63",
    ),
    (
        "CONNECT with a will's QoS and no will",
        "10 0D 00 04 4D 51 54 54 04 0A 00 3C 00 01 63",
    ),
    (
        "CONNECT with a will kept and no will",
        "10 0D 00 04 4D 51 54 54 04 22 00 3C 00 01 63",
    ),
    (
        "CONNECT with a will of QoS 3",
        "10 13 00 04 4D 51 54 54 04 1E 00 3C 00 01 63 00 01 77 00 01 FF",
    ),
    (
        "CONNECT with a will to a wildcard",
        "10 13 00 04 4D 51 54 54 04 06 00 3C 00 01 63 00 01 23 00 01 FF",
    ),
    (
        "CONNECT with a password only",
        "10 10 00 04 4D 51 54 54 04 42 00 3C 00 01 63 00 01 70",
    ),
    (
        "CONNECT with an empty password only",
        "10 0F 00 04 4D 51 54 54 04 42 00 3C 00 01 63 00 00",
    ),
    (
        "CONNECT without the username it announces",
        "10 0D 00 04 4D 51 54 54 04 82 00 3C 00 01 63",
    ),
    (
        "CONNECT without the password it announces",
        "10 10 00 04 4D 51 54 54 04 C2 00 3C 00 01 63 00 01 75",
    ),
    (
        "CONNECT with a password that is not UTF-8",
        "10 13 00 04 4D 51 54 54 04 C2 00 3C 00 01 63 00 01 75 00 01 FF",
    ),
    (
        "CONNECT with a client id that is not UTF-8",
        "10 0D 00 04 4D 51 54 54 04 02 00 3C 00 01 FF",
    ),
    (
        "CONNECT with U+0000 in the client id",
        "10 0D 00 04 4D 51 54 54 04 02 00 3C 00 01 00",
    ),
    (
        "CONNECT with U+0000 in the username",
        "10 10 00 04 4D 51 54 54 04 82 00 3C 00 01 63 00 01 00",
    ),
    (
        "CONNECT with a byte to spare",
        "10 0E 00 04 4D 51 54 54 04 02 00 3C 00 01 63 00",
    ),
    (
        "CONNECT with a client id longer than itself",
        "10 0D 00 04 4D 51 54 54 04 02 00 3C 00 02 63",
    ),
    ("CONNACK without a body", "20 00"),
    ("CONNACK of one byte", "20 01 00"),
    ("CONNACK of three bytes", "20 03 00 00 00"),
    ("CONNACK with a reserved flag", "20 02 02 00"),
    ("PUBLISH without a body", "30 00"),
    ("PUBLISH to an empty topic", "30 02 00 00"),
    ("PUBLISH to +", "30 05 00 03 61 2F 2B"),
    ("PUBLISH to #", "30 03 00 01 23"),
    ("PUBLISH to a topic with U+0000", "30 03 00 01 00"),
    ("PUBLISH to a topic that is not UTF-8", "30 03 00 01 FF"),
    (
        "PUBLISH to a topic with a surrogate",
        "30 05 00 03 ED A0 80",
    ),
    ("PUBLISH to a topic longer than itself", "30 03 00 02 74"),
    ("PUBLISH of QoS 1 without an identifier", "32 03 00 01 74"),
    (
        "PUBLISH of QoS 1 with half an identifier",
        "32 04 00 01 74 00",
    ),
    (
        "PUBLISH of QoS 1 with identifier zero",
        "32 05 00 01 74 00 00",
    ),
    ("PUBACK without a body", "40 00"),
    ("PUBACK of one byte", "40 01 0A"),
    ("PUBACK of three bytes", "40 03 00 0A 00"),
    ("PUBACK of four bytes, as in MQTT 5", "40 04 00 0A 00 00"),
    ("PUBACK with identifier zero", "40 02 00 00"),
    ("PUBREC with identifier zero", "50 02 00 00"),
    ("PUBREL with identifier zero", "62 02 00 00"),
    ("PUBCOMP with identifier zero", "70 02 00 00"),
    ("SUBSCRIBE without a filter", "82 02 00 0A"),
    ("SUBSCRIBE with identifier zero", "82 06 00 00 00 01 61 00"),
    ("SUBSCRIBE without a QoS", "82 05 00 0A 00 01 61"),
    ("SUBSCRIBE of QoS 3", "82 06 00 0A 00 01 61 03"),
    ("SUBSCRIBE with a reserved bit", "82 06 00 0A 00 01 61 05"),
    (
        "SUBSCRIBE with a reserved bit in its second filter",
        "82 0A 00 0A 00 01 61 01 00 01 62 81",
    ),
    ("SUBSCRIBE to an empty filter", "82 05 00 0A 00 00 00"),
    ("SUBSCRIBE to a#", "82 07 00 0A 00 02 61 23 00"),
    ("SUBSCRIBE to #/a", "82 08 00 0A 00 03 23 2F 61 00"),
    ("SUBSCRIBE to a+/b", "82 09 00 0A 00 04 61 2B 2F 62 00"),
    ("SUBSCRIBE to U+0000", "82 06 00 0A 00 01 00 00"),
    ("SUBACK without a code", "90 02 00 0A"),
    ("SUBACK with an unknown code", "90 03 00 0A 03"),
    ("SUBACK with identifier zero", "90 03 00 00 01"),
    ("UNSUBSCRIBE of one byte", "A2 01 0A"),
    ("UNSUBSCRIBE without a filter", "A2 02 00 0A"),
    ("UNSUBSCRIBE with half a length", "A2 03 00 0A 00"),
    ("UNSUBSCRIBE with identifier zero", "A2 05 00 00 00 01 61"),
    ("UNSUBSCRIBE from an empty filter", "A2 04 00 0A 00 00"),
    ("UNSUBACK of three bytes", "B0 03 00 0A 00"),
    ("UNSUBACK with identifier zero", "B0 02 00 00"),
    ("PINGREQ with a body", "C0 01 00"),
    ("PINGRESP with a body", "D0 01 00"),
    ("DISCONNECT with a body, as in MQTT 5", "E0 01 00"),
];

#[tokio::test]
async fn malformed_packets() {
    for (name, bytes) in MALFORMED {
        match read_all(&hex(bytes)).await {
            Ok(read) => panic!("{name}: {read:?}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Malformed, "{name}: {error}"),
        }
    }
}

#[tokio::test]
async fn other_versions_of_mqtt_are_distinguished() {
    for bytes in [
        // MQTT 3.1, MQTT 5 with its properties, and a level of 0x84 (a bridge of Mosquitto).
        "10 0F 00 06 4D 51 49 73 64 70 03 02 00 3C 00 01 63",
        "10 0E 00 04 4D 51 54 54 05 02 00 3C 00 00 01 63",
        "10 0D 00 04 4D 51 54 54 84 02 00 3C 00 01 63",
    ] {
        let error = read_all(&hex(bytes)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ProtocolVersion, "{bytes}");
    }
}

#[tokio::test]
async fn another_protocol_is_refused_at_its_first_byte() {
    for first in [b"G", &[0x16][..], b"{"] {
        let (mut peer, ours) = tokio::io::duplex(64);
        peer.write_all(first).await.unwrap();
        // The peer stays connected and sends nothing more.
        let error = Packets::new(ours, MAX).read().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
    }
}

#[tokio::test]
async fn a_packet_is_refused_as_soon_as_its_length_is_too_large() {
    // 3 bytes of header and 98 of body are one too many; 97 are not.
    let largest = 100;
    for (header, refused) in [("30 61", false), ("30 63", true), ("30 FF FF FF 7F", true)] {
        let (mut peer, ours) = tokio::io::duplex(64);
        peer.write_all(&hex(header)).await.unwrap();
        let mut packets = Packets::new(ours, largest);
        let read = std::pin::pin!(packets.read());
        let now = futures_now(read);
        match now {
            Some(Err(error)) => assert!(refused && error.kind() == ErrorKind::TooLarge, "{header}"),
            Some(Ok(packet)) => panic!("{header}: {packet:?}"),
            None => assert!(!refused, "{header}"),
        }
    }
}

#[tokio::test]
async fn the_limit_is_on_the_whole_packet() {
    // Ten bytes in all, also when they arrive together with others.
    let bytes = hex("30 08 00 01 74 31 32 33 34 35 C0 00");
    let mut packets = Packets::new(&bytes[..], 10);
    assert!(matches!(packets.read().await, Ok(Some(Packet::Publish(_)))));
    assert_eq!(packets.read().await.unwrap(), Some(Packet::PingReq));
    assert_eq!(packets.read().await.unwrap(), None);

    let error = Packets::new(&bytes[..], 9).read().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[tokio::test]
async fn an_end_inside_a_packet_is_an_error() {
    for bytes in ["30", "30 80", "32 09 00 03 61 2F 62 00 0A 68"] {
        let bytes = hex(bytes);
        let mut packets = Packets::new(&bytes[..], MAX);
        // It stays one: nothing waits on a stream that has ended.
        for _ in 0..2 {
            let error = packets.read().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io);
            let source = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
            assert_eq!(source.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}

#[tokio::test]
async fn errors_hold_nothing_of_the_packet() {
    // A password that is cut off, and a topic that is not UTF-8 after "SECRET".
    for bytes in [
        "10 18 00 04 4D 51 54 54 04 C2 00 3C 00 01 63 00 01 75 00 0A 53 45 43 52 45 54",
        "30 09 00 07 53 45 43 52 45 54 FF",
    ] {
        let error = read_all(&hex(bytes)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
        assert!(!format!("{error:?}").contains("SECRET"), "{error:?}");
        assert!(!format!("{error:?}").contains("83, 69"), "{error:?}");
    }
}

#[tokio::test]
async fn packets_that_are_not_valid_mqtt_are_not_written() {
    let long = "x".repeat(65_536);
    let mut will = Connect::new("c");
    will.has_will = true;
    let mut password_only = Connect::new("c");
    password_only.password = Some(Zeroizing::new("p".into()));
    let mut long_password = Connect::new("c");
    long_password.username = Some("u".into());
    long_password.password = Some(Zeroizing::new(long.clone()));
    let mut duplicate = Publish::new("t", "", QoS::AtMostOnce, None);
    duplicate.duplicate = true;
    let publish = |topic: &str, qos, id| Packet::Publish(Publish::new(topic, "", qos, id));
    let subscribe = |id, filter: &str| Packet::Subscribe {
        packet_id: id,
        filters: vec![(filter.into(), QoS::AtMostOnce)],
    };
    let unknown = Packet::ConnAck {
        session_present: false,
        code: ConnectCode::Unknown(6),
    };

    for packet in [
        Packet::Connect(will),
        Packet::Connect(password_only),
        Packet::Connect(long_password),
        Packet::Connect(Connect::new(long.clone())),
        Packet::Connect(Connect::new("\0")),
        unknown,
        publish("", QoS::AtMostOnce, None),
        publish("a/+", QoS::AtMostOnce, None),
        publish(&long, QoS::AtMostOnce, None),
        publish("t", QoS::AtMostOnce, Some(1)),
        publish("t", QoS::AtLeastOnce, None),
        publish("t", QoS::AtLeastOnce, Some(0)),
        Packet::Publish(duplicate),
        Packet::PubAck { packet_id: 0 },
        subscribe(0, "a"),
        subscribe(1, "a#"),
        Packet::Subscribe {
            packet_id: 1,
            filters: vec![],
        },
        Packet::SubAck {
            packet_id: 1,
            granted: vec![],
        },
        Packet::Unsubscribe {
            packet_id: 1,
            filters: vec![],
        },
        Packet::Unsubscribe {
            packet_id: 1,
            filters: vec![String::new()],
        },
    ] {
        let mut packets = Packets::new(Vec::new(), MAX);
        let error = packets.write(packet.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed, "{packet:?}");
        assert!(packets.into_inner().is_empty());
    }
}

#[tokio::test]
async fn packets_over_the_limits_of_mqtt_are_not_written() {
    // The largest length is 268,435,455; topic and its length take three bytes.
    let payload = vec![0; 268_435_453];
    let packet = Packet::Publish(Publish::new("t", payload, QoS::AtMostOnce, None));
    assert_eq!(
        written(packet).await.unwrap_err().kind(),
        ErrorKind::TooLarge
    );
}

/// Returns the output of a future that is ready.
fn futures_now<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match future.poll(&mut cx) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}
