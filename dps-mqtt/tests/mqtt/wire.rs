//! The bytes of MQTT 3.1.1, typed from the standard's tables: each is read as its packet and written as its bytes.

use crate::common::{hex, read_all, written};
use dps_mqtt::{Connect, ConnectCode, Packet, Publish, QoS};
use zeroize::Zeroizing;

fn connect() -> Connect {
    let mut connect = Connect::new("device-1");
    connect.keep_alive = 60;
    connect
}

fn with_login(username: &str, password: Option<&str>) -> Packet {
    let mut connect = connect();
    connect.username = Some(username.into());
    connect.password = password.map(|text| Zeroizing::new(text.into()));
    Packet::Connect(connect)
}

fn publish(qos: QoS, packet_id: Option<u16>) -> Publish {
    Publish::new("a/b", &b"hi"[..], qos, packet_id)
}

/// 3.1 to 3.14, in the order of the standard.
fn table() -> Vec<(&'static str, Packet)> {
    let mut resent = publish(QoS::ExactlyOnce, Some(10));
    resent.duplicate = true;
    resent.retain = true;
    let mut stays = Connect::new("");
    stays.clean_session = false;
    stays.keep_alive = 0x1234;
    vec![
        (
            "10 14 00 04 4D 51 54 54 04 02 00 3C 00 08 64 65 76 69 63 65 2D 31",
            Packet::Connect(connect()),
        ),
        (
            "10 0C 00 04 4D 51 54 54 04 00 12 34 00 00",
            Packet::Connect(stays),
        ),
        (
            "10 1A 00 04 4D 51 54 54 04 C2 00 3C 00 08 64 65 76 69 63 65 2D 31 00 01 75 00 01 70",
            with_login("u", Some("p")),
        ),
        (
            "10 17 00 04 4D 51 54 54 04 82 00 3C 00 08 64 65 76 69 63 65 2D 31 00 01 75",
            with_login("u", None),
        ),
        (
            "10 19 00 04 4D 51 54 54 04 C2 00 3C 00 08 64 65 76 69 63 65 2D 31 00 01 75 00 00",
            with_login("u", Some("")),
        ),
        (
            "10 16 00 04 4D 51 54 54 04 82 00 3C 00 08 64 65 76 69 63 65 2D 31 00 00",
            with_login("", None),
        ),
        ("20 02 00 00", connack(false, ConnectCode::Accepted)),
        ("20 02 01 00", connack(true, ConnectCode::Accepted)),
        (
            "20 02 00 01",
            connack(false, ConnectCode::UnacceptableProtocolVersion),
        ),
        (
            "20 02 00 02",
            connack(false, ConnectCode::IdentifierRejected),
        ),
        (
            "20 02 00 03",
            connack(false, ConnectCode::ServerUnavailable),
        ),
        (
            "20 02 00 04",
            connack(false, ConnectCode::BadUsernameOrPassword),
        ),
        ("20 02 00 05", connack(false, ConnectCode::NotAuthorized)),
        (
            "30 07 00 03 61 2F 62 68 69",
            Packet::Publish(publish(QoS::AtMostOnce, None)),
        ),
        (
            "32 09 00 03 61 2F 62 00 0A 68 69",
            Packet::Publish(publish(QoS::AtLeastOnce, Some(10))),
        ),
        ("3D 09 00 03 61 2F 62 00 0A 68 69", Packet::Publish(resent)),
        (
            "30 05 00 03 61 2F 62",
            Packet::Publish(Publish::new("a/b", "", QoS::AtMostOnce, None)),
        ),
        ("40 02 12 34", Packet::PubAck { packet_id: 0x1234 }),
        ("50 02 12 34", Packet::PubRec { packet_id: 0x1234 }),
        ("62 02 12 34", Packet::PubRel { packet_id: 0x1234 }),
        ("70 02 12 34", Packet::PubComp { packet_id: 0x1234 }),
        (
            "82 0E 00 0A 00 03 61 2F 62 01 00 03 63 2F 64 02",
            Packet::Subscribe {
                packet_id: 10,
                filters: vec![
                    ("a/b".into(), QoS::AtLeastOnce),
                    ("c/d".into(), QoS::ExactlyOnce),
                ],
            },
        ),
        (
            "90 06 00 0A 00 01 02 80",
            Packet::SubAck {
                packet_id: 10,
                granted: vec![
                    Some(QoS::AtMostOnce),
                    Some(QoS::AtLeastOnce),
                    Some(QoS::ExactlyOnce),
                    None,
                ],
            },
        ),
        (
            "A2 0C 00 0A 00 03 61 2F 62 00 03 63 2F 23",
            Packet::Unsubscribe {
                packet_id: 10,
                filters: vec!["a/b".into(), "c/#".into()],
            },
        ),
        ("B0 02 FF FF", Packet::UnsubAck { packet_id: 0xFFFF }),
        ("C0 00", Packet::PingReq),
        ("D0 00", Packet::PingResp),
        ("E0 00", Packet::Disconnect),
    ]
}

fn connack(session_present: bool, code: ConnectCode) -> Packet {
    Packet::ConnAck {
        session_present,
        code,
    }
}

#[tokio::test]
async fn each_is_read() {
    for (bytes, packet) in table() {
        assert_eq!(read_all(&hex(bytes)).await.unwrap(), [packet], "{bytes}");
    }
}

#[tokio::test]
async fn each_is_written() {
    for (bytes, packet) in table() {
        assert_eq!(written(packet).await.unwrap(), hex(bytes), "{bytes}");
    }
}

#[tokio::test]
async fn all_are_read_one_after_the_other() {
    let (bytes, packets): (Vec<_>, Vec<_>) = table().into_iter().unzip();
    assert_eq!(read_all(&hex(&bytes.join(" "))).await.unwrap(), packets);
}

#[tokio::test]
async fn a_will_is_reported() {
    // Will of QoS 1, retained: topic "w", message FF.
    let bytes = hex("10 13 00 04 4D 51 54 54 04 2E 00 3C 00 01 63 00 01 77 00 01 FF");
    let Packet::Connect(read) = read_all(&bytes).await.unwrap().remove(0) else {
        panic!("not a CONNECT");
    };
    assert!(read.has_will);
    assert_eq!(read.client_id, "c");
}

#[tokio::test]
async fn an_unknown_refusal_is_reported() {
    let read = read_all(&hex("20 02 00 06")).await.unwrap();
    assert_eq!(read, [connack(false, ConnectCode::Unknown(6))]);
}

#[tokio::test]
async fn a_length_takes_one_to_four_bytes() {
    // The limits of table 2.4. The topic and its length take three bytes.
    for (length, header) in [
        (127, "30 7F"),
        (128, "30 80 01"),
        (16_383, "30 FF 7F"),
        (16_384, "30 80 80 01"),
        (2_097_151, "30 FF FF 7F"),
        (2_097_152, "30 80 80 80 01"),
    ] {
        let packet = Packet::Publish(Publish::new(
            "t",
            vec![7; length - 3],
            QoS::AtMostOnce,
            None,
        ));
        let mut bytes = hex(header);
        bytes.extend([0, 1, b't']);
        bytes.resize(bytes.len() + length - 3, 7);

        assert!(written(packet.clone()).await.unwrap() == bytes, "{header}");
        let mut packets = dps_mqtt::Packets::new(&bytes[..], bytes.len());
        assert!(packets.read().await.unwrap() == Some(packet), "{header}");
        assert_eq!(packets.read().await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_long_password_has_a_long_length() {
    // 20 bytes as in the table, 3 for the username, 2 and 300 for the password: 325, which is 2 * 128 + 69.
    let mut bytes =
        hex("10 C5 02 00 04 4D 51 54 54 04 C2 00 3C 00 08 64 65 76 69 63 65 2D 31 00 01 75 01 2C");
    bytes.resize(bytes.len() + 300, b'p');
    let packet = with_login("u", Some(&"p".repeat(300)));

    assert_eq!(written(packet.clone()).await.unwrap(), bytes);
    assert_eq!(read_all(&bytes).await.unwrap(), [packet]);
}

#[tokio::test]
async fn a_length_may_have_more_bytes_than_necessary() {
    let read = read_all(&hex("40 82 80 00 12 34 D0 00")).await.unwrap();
    assert_eq!(
        read,
        [Packet::PubAck { packet_id: 0x1234 }, Packet::PingResp]
    );
}
