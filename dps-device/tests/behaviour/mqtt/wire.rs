//! The packets that a device sends, typed from MQTT 3.1.1 and from the documentation of DPS.

use dps_device::{ProvisioningClient, SymmetricKey};
use dps_types::protocol::ApiVersion;
use serde_json::json;

use super::server::{CONNACK, SUBACK, SUBSCRIBE, Server, packet, string};
use super::{MQTT_KINDS, ManualClock, MqttKind, Running, client, set_up, set_up_as};
use crate::pki::Pki;
use crate::script::{ASSIGNING, assigned_as};

#[tokio::test]
async fn a_symmetric_key_registers_as_documented() {
    for kind in MQTT_KINDS {
        let (client, server) = set_up_as(*kind, "my-symkey-device").await;
        let client = client.with_clock(ManualClock::to(1_663_952_627 - 3600));
        let register = client
            .register()
            .payload(json!({"model": "Grüner Toaster"}));
        let running = Running(tokio::spawn(register.into_future()));

        let mut peer = server.accept().await;
        // Clean session, username, password; 180 s; nothing else.
        let connect = [
            b"\x00\x04MQTT\x04\xc2\x00\xb4".as_slice(),
            b"\x00\x10my-symkey-device",
            &string(concat!("0ne00111111/registrations/my-symkey-device/api-version=2021-06-01&ClientVersion=dps-device%2F", env!("CARGO_PKG_VERSION"))),
            b"\x00\x9bSharedAccessSignature sr=0ne00111111%2Fregistrations%2Fmy-symkey-device&sig=8VPprb8BiTkuVE0hBqHm%2FSVrzVpdD8VZcXugntdbhuU%3D&se=1663952627&skn=registration",
        ];
        assert_eq!(peer.packet().await, packet(0x10, &connect.concat()));
        peer.send(CONNACK).await;
        assert_eq!(peer.packet().await, SUBSCRIBE);
        peer.send(SUBACK).await;

        let packet = peer.packet().await;
        let (start, rest) = packet.split_at(50);
        assert_eq!(
            start,
            b"\x32\x9c\x01\x00\x4d$dps/registrations/PUT/iotdps-register/?$rid="
        );
        let (rid, rest) = rest.split_at(32);
        let rid = std::str::from_utf8(rid).unwrap().to_owned();
        assert_eq!(
            rest,
            "\0\u{2}{\"registrationId\":\"my-symkey-device\",\"payload\":{\"model\":\"Grüner Toaster\"}}".as_bytes()
        );
        peer.send(b"\x40\x02\x00\x02").await;
        let topic = format!("$dps/registrations/res/202/?$rid={rid}&retry-after=0");
        let answer = super::server::publish(0x30, &topic, b"", ASSIGNING.as_bytes());
        peer.send(&answer).await;

        let packet = peer.packet().await;
        let (start, rest) = packet.split_at(61);
        assert_eq!(
            start,
            b"\x32\xa0\x01\x00\x9c$dps/registrations/GET/iotdps-get-operationstatus/?$rid="
        );
        let (second, rest) = rest.split_at(32);
        assert_ne!(
            second,
            rid.as_bytes(),
            "every request has its own request id"
        );
        assert_eq!(
            rest,
            b"&operationId=5.316aac5bdc130deb.b1e02da8-c3a0-4ff2-a121-7ea7a6b7f550\x00\x03"
        );
        let topic = format!(
            "$dps/registrations/res/200/?$rid={}",
            std::str::from_utf8(second).unwrap()
        );
        let answer = super::server::publish(
            0x32,
            &topic,
            b"\x12\x34",
            assigned_as("my-symkey-device").as_bytes(),
        );
        peer.send(&answer).await;
        assert_eq!(peer.packet().await, b"\x40\x02\x12\x34");
        assert_eq!(
            running.outcome().await.unwrap().hub().as_str(),
            "hub.azure-devices.net"
        );
        assert_eq!(peer.packet().await, b"\xe0\x00");
        peer.closed().await;
    }
}

#[tokio::test]
async fn a_certificate_registers_without_a_password() {
    for kind in MQTT_KINDS {
        let pki = Pki::new();
        let server = Server::start(*kind, pki.server(true)).await;
        let client = client(pki.device("my-device"), *kind, &pki, server.port());
        let running = Running::start(&client);

        let mut peer = server.accept().await;
        let connect = [
            b"\x00\x04MQTT\x04\x82\x00\xb4".as_slice(),
            b"\x00\x09my-device",
            &string(concat!(
                "0ne00111111/registrations/my-device/api-version=2021-06-01&ClientVersion=dps-device%2F",
                env!("CARGO_PKG_VERSION")
            )),
        ];
        assert_eq!(peer.packet().await, packet(0x10, &connect.concat()));
        assert_eq!(peer.certificates, 2, "leaf and intermediate");
        peer.send(CONNACK).await;
        assert_eq!(peer.packet().await, SUBSCRIBE);
        peer.send(SUBACK).await;
        let request = peer.registration().await;
        assert_eq!(request.body, r#"{"registrationId":"my-device"}"#);
        peer.assign(&request).await;
        running.outcome().await.unwrap();
    }
}

#[tokio::test]
async fn the_client_offers_no_application_protocol() {
    let pki = Pki::new();
    let mut config = (*pki.server(false)).clone();
    config.alpn_protocols = vec![b"mqtt".to_vec(), b"http/1.1".to_vec()];
    let server = Server::start(MqttKind::Mqtt, config.into()).await;
    let client = client(super::key("my-device"), MqttKind::Mqtt, &pki, server.port());
    let running = Running::start(&client);
    assert_eq!(server.accept().await.alpn, None);
    running.cancel();
}

async fn username(client: &ProvisioningClient, server: &Server) -> String {
    let running = Running::start(client);
    let connect = server.accept().await.packet().await;
    running.cancel();
    let text = String::from_utf8_lossy(&connect).into_owned();
    let start = text.find("0ne00111111/").unwrap();
    let end = text.find("&ClientVersion").unwrap();
    text[start..end].to_owned()
}

#[tokio::test]
async fn ids_are_written_as_they_are() {
    let (client, server) = set_up_as(MqttKind::Mqtt, "Dev:1.X_y-z").await;
    assert_eq!(
        username(&client, &server).await,
        "0ne00111111/registrations/Dev:1.X_y-z/api-version=2021-06-01"
    );
}

#[tokio::test]
async fn the_api_version_can_be_chosen() {
    let (client, server) = set_up(MqttKind::Mqtt).await;
    let client = client.with_api_version(ApiVersion::V2019_03_31);
    assert_eq!(
        username(&client, &server).await,
        "0ne00111111/registrations/my-device/api-version=2019-03-31"
    );
}

#[tokio::test]
async fn every_connection_has_a_clean_session() {
    let (client, server) = set_up(MqttKind::Mqtt).await;
    let running = Running::start(&client);
    for _ in 0..2 {
        let connect = server.accept().await.packet().await;
        assert_eq!(connect[10] & 0x02, 0x02, "{connect:x?}");
    }
    running.cancel();
}

#[tokio::test]
async fn no_two_requests_have_the_same_request_id() {
    let (client, server) = set_up(MqttKind::Mqtt).await;
    let mut marks = std::collections::HashSet::new();
    for _ in 0..2 {
        let running = Running::start(&client);
        let mut peer = server.session().await;
        let request = peer.registration().await;
        peer.answer(&request, "202", "", ASSIGNING).await;
        assert!(marks.insert(request.rid));
        for _ in 0..3 {
            let request = peer.poll().await;
            peer.answer(&request, "202", "", ASSIGNING).await;
            assert!(marks.insert(request.rid));
        }
        running.cancel();
        peer.closed().await;
    }
}

#[tokio::test]
async fn a_refused_primary_key_is_followed_by_the_secondary() {
    // A refused connection, and a refusal in the topic: DPS has been seen to do either.
    for in_topic in [false, true] {
        let pki = Pki::new();
        let server = Server::start(MqttKind::Mqtt, pki.server(false)).await;
        let second = SymmetricKey::from_bytes(vec![7; 64]).unwrap();
        let who = super::key("my-device").with_secondary(second);
        let running = Running::start(&client(who, MqttKind::Mqtt, &pki, server.port()));

        let mut peer = server.accept().await;
        let first = peer.packet().await;
        if in_topic {
            peer.send(CONNACK).await;
            peer.packet().await;
            peer.send(SUBACK).await;
            let request = peer.registration().await;
            peer.answer(&request, "401", "", r#"{"errorCode":401002}"#)
                .await;
        } else {
            peer.send(b"\x20\x02\x00\x05").await;
        }
        peer.closed().await;

        let mut peer = server.accept().await;
        assert_ne!(peer.packet().await, first, "another key, another password");
        peer.send(CONNACK).await;
        peer.packet().await;
        peer.send(SUBACK).await;
        let request = peer.registration().await;
        peer.assign(&request).await;
        running.outcome().await.unwrap();
    }
}
