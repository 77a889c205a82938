//! Peers that send invalid data or nothing: their connection ends, and the emulator continues to serve.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::common::{Connect, Dps, KEY_1, PINGREQ, PINGRESP, REGISTER, publish_at_most_once};

#[tokio::test]
async fn bytes_that_are_not_mqtt() {
    let dps = Dps::with_device().await;
    for junk in [
        &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"AMQP\x00\x01\x00\x00",
        b"\x00\x00",
        b"\xF0\x00",
        b"\x10\xFF\xFF\xFF\xFF\x7F",
        b"\x10\x80\x80\x80\x80\x01",
        b"\x11\x0C\x00\x04MQTT\x04\x02\x00\x3C\x00\x00",
        b"\x10\x00",
        b"\x10\x02\x00\x04",
        &[0xFF; 10_000],
    ] {
        let mut client = dps.mqtt().await;
        client.send(junk).await;
        client.closed().await;
    }
    dps.still_serves().await;
}

/// MQTT-3.1.2-1, -3, -11, -14, -22 and MQTT-1.5.3-2.
#[tokio::test]
async fn connects_that_are_not_mqtt() {
    let dps = Dps::with_device().await;
    for packet in [
        &b"\x10\x0C\x00\x04AMQP\x04\x02\x00\x3C\x00\x00"[..],
        b"\x10\x0C\x00\x04MQTT\x04\x03\x00\x3C\x00\x00",
        b"\x10\x0C\x00\x04MQTT\x04\x42\x00\x3C\x00\x00",
        b"\x10\x0E\x00\x04MQTT\x04\x42\x00\x3C\x00\x00\x00\x00",
        b"\x10\x0C\x00\x04MQTT\x04\x0A\x00\x3C\x00\x00",
        b"\x10\x0C\x00\x04MQTT\x04\x82\x00\x3C\x00\x00",
        b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x3C\x00\x01\x00",
        b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x3C\x00\x00\x00",
        b"\x10\x0E\x00\x04MQTT\x04\x02\x00\x3C\x00\x02\xC3\x28",
        b"\x10\x0A\x00\x04MQTT\x04\x02\x00\x3C",
    ] {
        let mut client = dps.mqtt().await;
        client.send(packet).await;
        client.closed().await;
    }
    dps.still_serves().await;
}

#[tokio::test]
async fn packets_that_only_a_server_sends() {
    let dps = Dps::with_device().await;
    for packet in [
        &b"\x20\x02\x00\x00"[..],
        b"\x90\x03\x00\x01\x01",
        b"\xB0\x02\x00\x01",
        b"\xD0\x00",
        b"\x50\x02\x00\x01",
        b"\x62\x02\x00\x01",
        b"\x70\x02\x00\x01",
    ] {
        let mut client = dps.mqtt_device("dev-1").await;
        client.send(packet).await;
        client.closed().await;
    }
}

#[tokio::test]
async fn an_acknowledgement_of_no_packet_is_ignored() {
    let dps = Dps::with_device().await;
    let mut client = dps.mqtt_device("dev-1").await;
    client.send(b"\x40\x02\x12\x34").await;
    client.send(PINGREQ).await;
    client.expect(PINGRESP).await;
}

/// Refused by its announced length: not a byte of the body is needed.
#[tokio::test]
async fn a_packet_that_is_too_large() {
    let dps = Dps::with_device().await;
    let mut before = dps.mqtt().await;
    before.send(b"\x10\xFF\xFF\xFF\x7F").await;
    before.closed().await;

    let mut client = dps.mqtt_device("dev-1").await;
    client.send(b"\x32\xFF\xFF\xFF\x7F").await;
    client.closed().await;

    let mut client = dps.mqtt_device("dev-1").await;
    let body = vec![b' '; 256 * 1024];
    client
        .send(&publish_at_most_once(&format!("{REGISTER}1"), &body))
        .await;
    client.closed().await;
    dps.still_serves().await;
}

#[tokio::test]
async fn connections_that_stop_in_the_middle() {
    let dps = Dps::with_device().await;
    let mut open = Vec::new();
    for length in [0, 1, 2, 20, 200] {
        let connect = Connect::with_key("dev-1", KEY_1).bytes();
        let mut client = dps.mqtt().await;
        client.send(&connect[..length]).await;
        open.push(client);
        let mut gone = dps.mqtt().await;
        gone.send(&connect[..length]).await;
        gone.transport.shutdown().await.expect("no more to come");
        gone.closed().await;
    }
    dps.still_serves().await;
}

#[tokio::test]
async fn a_client_that_goes_before_its_answer() {
    let dps = Dps::with_device().await;
    for _ in 0..20 {
        let mut client = dps.mqtt_device("dev-1").await;
        client
            .send(&publish_at_most_once(&format!("{REGISTER}1"), b"{}"))
            .await;
    }
    dps.still_serves().await;
}

#[tokio::test]
async fn mqtt_without_tls() {
    let dps = Dps::with_device().await;
    let address = ("127.0.0.1", dps.emulator.mqtt_port());
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let connect = Connect::with_key("dev-1", KEY_1).bytes();
    stream.write_all(&connect).await.expect("sent");
    let mut answer = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer);
    let _ = tokio::time::timeout(crate::common::TIMEOUT, read)
        .await
        .expect("closed");
    assert_ne!(answer.first(), Some(&0x20), "{answer:02x?}");
    dps.still_serves().await;
}
