//! MQTT in WebSocket messages: RFC 6455, section 5; MQTT 3.1.1, chapter 6.

use crate::common::{
    ACCEPTED, Client, Connect, Dps, FILTER, KEY_1, NOT_AUTHORIZED, PINGREQ, PINGRESP, REGISTER, Ws,
    publish, subscribe, token,
};

const FIN: u8 = 0x80;
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// Asserts that the server sends a close frame with this code, and ends the stream.
async fn assert_closed(websocket: &mut Ws, code: u16) {
    let (first, payload) = websocket.next().await.expect("a close frame");
    assert_eq!(first, FIN | CLOSE, "{payload:02x?}");
    assert_eq!(payload.get(..2), Some(&code.to_be_bytes()[..]));
    assert_eq!(websocket.next().await, None);
}

#[tokio::test]
async fn a_registration() {
    let dps = Dps::with_device().await;
    let document = dps.connected_websocket("dev-1").await.provision().await;
    assert_eq!(document["status"], "assigned", "{document}");
}

#[tokio::test]
async fn packets_that_share_a_message() {
    let dps = Dps::with_device().await;
    let mut client = dps.websocket().await;
    let all = [
        Connect::with_key("dev-1", KEY_1).bytes(),
        subscribe(1, &[(FILTER, 1)]),
        PINGREQ.to_vec(),
        publish(2, &format!("{REGISTER}1"), b"{}"),
    ];
    client.send(&all.concat()).await;
    client.expect(ACCEPTED).await;
    client.expect(b"\x90\x03\x00\x01\x01").await;
    client.expect(PINGRESP).await;
    client.expect(b"\x40\x02\x00\x02").await;
    client.response().await;
}

#[tokio::test]
async fn every_byte_in_a_message_of_its_own() {
    let dps = Dps::with_device().await;
    let mut client = dps.websocket().await;
    let all = [
        Connect::with_key("dev-1", KEY_1).bytes(),
        subscribe(1, &[(FILTER, 1)]),
        publish(2, &format!("{REGISTER}1"), b"{}"),
    ];
    for byte in all.concat() {
        client.send(&[byte]).await;
    }
    client.expect(ACCEPTED).await;
    client.expect(b"\x90\x03\x00\x01\x01").await;
    client.expect(b"\x40\x02\x00\x02").await;
    client.response().await;
}

#[tokio::test]
async fn a_message_in_fragments_with_a_ping_between() {
    let dps = Dps::with_device().await;
    let mut client = dps.websocket().await;
    let connect = Connect::with_key("dev-1", KEY_1).bytes();
    let (head, tail) = connect.split_at(100);
    client.transport.frame(BINARY, head).await;
    client.transport.frame(FIN | PING, b"still there?").await;
    client.transport.frame(CONTINUATION, &[]).await;
    client.transport.frame(FIN | CONTINUATION, tail).await;
    let pong = client.transport.next().await;
    assert_eq!(pong, Some((FIN | PONG, b"still there?".to_vec())));
    client.expect(ACCEPTED).await;
}

#[tokio::test]
async fn a_frame_in_pieces() {
    let dps = Dps::with_device().await;
    let mut client = dps.websocket().await;
    client.connect(&Connect::with_key("dev-1", KEY_1)).await;
    // PINGREQ in a binary frame under the mask of RFC 6455, section 5.7.
    for byte in b"\x82\x82\x37\xFA\x21\x3D\xF7\xFA" {
        client.transport.raw(&[*byte]).await;
    }
    client.expect(PINGRESP).await;
}

#[tokio::test]
async fn empty_messages_and_pongs_without_a_ping_are_accepted() {
    let dps = Dps::with_device().await;
    let mut client = dps.websocket().await;
    client.transport.frame(FIN | BINARY, &[]).await;
    client.transport.frame(FIN | PONG, b"x").await;
    client.connect(&Connect::with_key("dev-1", KEY_1)).await;
}

#[tokio::test]
async fn a_pong_repeats_the_payload_of_the_ping() {
    let dps = Dps::with_device().await;
    let mut client = dps.connected_websocket("dev-1").await;
    let longest = [7; 125];
    for payload in [&b"Hello"[..], b"", &longest] {
        client.transport.frame(FIN | PING, payload).await;
        let pong = client.transport.next().await;
        assert_eq!(pong, Some((FIN | PONG, payload.to_vec())));
    }
}

#[tokio::test]
async fn a_large_message() {
    let dps = Dps::with_device().await;
    let mut client = dps.connected_websocket("dev-1").await;
    let body = format!(r#"{{"payload":"{}"}}"#, "x".repeat(96 * 1024 - 14));
    let operation = client.register(body.as_bytes()).await;
    assert_eq!(client.finish(&operation).await["status"], "assigned");
}

/// MQTT-6.0.0-1. Code 1003: cannot accept the type of data.
#[tokio::test]
async fn text_ends_the_connection() {
    let dps = Dps::with_device().await;
    let mut client = dps.connected_websocket("dev-1").await;
    client.transport.frame(FIN | TEXT, b"\xC0\x00").await;
    // Not UTF-8, so the frame itself is wrong: code 1007 or 1002 would do as well.
    assert!(matches!(
        client.transport.next().await,
        Some((0x88, _)) | None
    ));

    let mut websocket = dps.websocket().await.transport;
    websocket.frame(FIN | TEXT, b"hello").await;
    assert_closed(&mut websocket, 1003).await;
    dps.still_serves().await;
}

/// Code 1009: too big.
#[tokio::test]
async fn a_message_that_is_too_large() {
    let dps = Dps::with_device().await;
    let mut websocket = dps.websocket().await.transport;
    websocket
        .raw(b"\x82\xFF\x00\x00\x00\x00\x7F\xFF\xFF\xFF\x01\x02\x03\x04")
        .await;
    assert_closed(&mut websocket, 1009).await;
    dps.still_serves().await;
}

/// Code 1002: protocol error.
#[tokio::test]
async fn frames_that_are_not_websocket() {
    let dps = Dps::with_device().await;
    for frame in [
        // Not masked, a reserved bit, an unknown opcode, a fragmented ping, nothing to continue.
        &b"\x82\x02\xC0\x00"[..],
        b"\xC2\x80\x00\x00\x00\x00",
        b"\x83\x80\x00\x00\x00\x00",
        b"\x09\x80\x00\x00\x00\x00",
        b"\x80\x80\x00\x00\x00\x00",
    ] {
        let mut websocket = dps.websocket().await.transport;
        websocket.raw(frame).await;
        assert_closed(&mut websocket, 1002).await;
    }
    dps.still_serves().await;
}

#[tokio::test]
async fn the_closing_handshake() {
    let dps = Dps::with_device().await;
    let mut client = dps.connected_websocket("dev-1").await;
    client.transport.frame(FIN | CLOSE, b"\x03\xE8").await;
    assert_closed(&mut client.transport, 1000).await;

    // A close frame need not give a reason.
    let mut websocket = dps.websocket().await.transport;
    websocket.frame(FIN | CLOSE, &[]).await;
    let close = websocket.next().await.expect("a close frame");
    assert_eq!(close.0, FIN | CLOSE);
    assert_eq!(websocket.next().await, None);
}

#[tokio::test]
async fn a_stream_that_ends_without_closing() {
    let dps = Dps::with_device().await;
    let mut client = dps.connected_websocket("dev-1").await;
    client.transport.shutdown().await;
    client.closed().await;
    dps.still_serves().await;
}

/// The WebSocket is closed with a close frame, both when the client and when the server ends MQTT.
#[tokio::test]
async fn the_end_of_mqtt_is_a_close_frame() {
    let dps = Dps::with_device().await;
    let mut client = dps.websocket().await;
    let token = token("dev-1", KEY_1).replace("sig=", "sig=A");
    client
        .send(&Connect::of("dev-1").password(&token).bytes())
        .await;
    client.expect(NOT_AUTHORIZED).await;
    assert_closed_by_frame(&mut client).await;

    let mut client = dps.connected_websocket("dev-1").await;
    client.send(b"\xE0\x00").await;
    assert_closed_by_frame(&mut client).await;

    let mut client = dps.connected_websocket("dev-1").await;
    client.send(b"\xF0\x00").await;
    assert_closed_by_frame(&mut client).await;
}

async fn assert_closed_by_frame(client: &mut Client<Ws>) {
    let (first, payload) = client.transport.next().await.expect("a close frame");
    assert_eq!(first, FIN | CLOSE, "{payload:02x?}");
    assert_eq!(client.transport.next().await, None);
}
