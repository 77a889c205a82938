//! Limits for clients that have not proven their identity: connections, and the size of what they send first.

use dps_emulator::Limits;
use tokio::net::TcpStream;

use crate::common::{Connect, Dps, KEY_1, KEY_2, NOT_AUTHORIZED, REGISTER, publish};

const KIB: usize = 1024;

/// An emulator with the device `dev-1`, and with these limits.
async fn limited(change: impl FnOnce(&mut Limits)) -> Dps {
    let mut limits = Limits::default();
    change(&mut limits);
    let dps = Dps::start_with(|builder| builder.limits(limits)).await;
    dps.enroll("dev-1").await;
    dps
}

/// The first bytes of a CONNECT packet whose body has this length.
fn connect_header(body: usize) -> Vec<u8> {
    let digit = |value: usize| u8::try_from(value).expect("a digit");
    let length = [
        digit((body % 128) | 128),
        digit((body / 128 % 128) | 128),
        digit(body / 16_384),
    ];
    [&[0x10][..], &length, b"\x00\x04MQTT\x04\xC2\x00\x3C"].concat()
}

/// A CONNECT packet of this size, padded with a property of the username.
fn padded_connect(size: usize, key: &str) -> Vec<u8> {
    let connect = |padding: usize| {
        let username = "0ne00000001/registrations/dev-1/api-version=2019-03-31&ClientVersion=";
        let username = format!("{username}{}", "x".repeat(padding));
        Connect::with_key("dev-1", key).username(&username).bytes()
    };
    // The length has one more digit from 16 KiB on, and two digits below.
    let padding = size - connect(1000).len() + 1000;
    let padding = padding - (connect(padding).len() - size);
    let bytes = connect(padding);
    assert_eq!(bytes.len(), size);
    bytes
}

#[tokio::test]
async fn a_connect_packet_has_at_most_16_kib() {
    let dps = Dps::with_device().await;
    let mut client = dps.mqtt().await;
    client.send(&padded_connect(16 * KIB, KEY_2)).await;
    client.expect(b"\x20\x02\x00\x00").await;

    let mut client = dps.mqtt().await;
    client.send(&padded_connect(16 * KIB, "AAAA")).await;
    client.expect(NOT_AUTHORIZED).await;

    // The announced length is enough: the emulator does not wait for the body.
    let mut client = dps.mqtt().await;
    client.send(&connect_header(16 * KIB + 1)).await;
    client.closed().await;
    dps.still_serves().await;
}

#[tokio::test]
async fn a_first_websocket_message_has_at_most_16_kib() {
    let dps = Dps::with_device().await;
    let mut client = dps.websocket().await;
    client.send(&padded_connect(16 * KIB, KEY_1)).await;
    client.expect(b"\x20\x02\x00\x00").await;
    // From now on a message may be larger.
    client.subscribe().await;
    let body = format!(r#"{{"payload":"{}"}}"#, "x".repeat(64 * KIB));
    let packet = publish(2, &format!("{REGISTER}1"), body.as_bytes());
    client.send(&packet).await;
    client.expect(b"\x40\x02\x00\x02").await;

    // A binary frame of a client that announces one byte more.
    let mut client = dps.websocket().await;
    let frame = b"\x82\xFE\x40\x01\x00\x00\x00\x00";
    client.transport.raw(frame).await;
    let (first, reason) = client.transport.next().await.expect("a close frame");
    assert_eq!((first, &reason[..2]), (0x88, &1009_u16.to_be_bytes()[..]));
    dps.still_serves().await;
}

#[tokio::test]
async fn further_connections_wait_until_an_unproven_one_proves_itself_or_ends() {
    let dps = limited(|limits| limits.unproven_connections = 1).await;
    let port = dps.emulator.mqtt_port();
    for proves in [true, false] {
        let mut first = dps.mqtt().await;
        let second = dps.mqtt_device("dev-1");
        tokio::pin!(second);
        {
            // Requests to another port take their time. The second connection is not served meanwhile.
            let meanwhile = async {
                for _ in 0..5 {
                    let refused = dps.device("dev-2").register().await;
                    assert!(refused.status >= 400, "{refused:?}");
                }
            };
            tokio::select! {
                biased;
                _ = &mut second => panic!("the second connection was served"),
                () = meanwhile => {}
            }
        }
        match proves {
            true => first.connect(&Connect::with_key("dev-1", KEY_1)).await,
            false => drop(first),
        }
        second.await.provision().await;
    }
    // A connection without a TLS handshake counts as well, and proven ones do not.
    let mut proven = Vec::new();
    for _ in 0..5 {
        proven.push(dps.mqtt_device("dev-1").await);
    }
    let silent = TcpStream::connect(("127.0.0.1", port)).await;
    drop(silent.expect("connected"));
    proven.push(dps.mqtt_device("dev-1").await);
    for client in &mut proven {
        client.provision().await;
    }
}
