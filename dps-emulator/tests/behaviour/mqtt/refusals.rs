//! Clients that the server refuses, and the return code that they receive.

use std::time::Duration;

use dps_emulator::CertificateAuthority;

use crate::common::{
    ACCEPTED, Connect, DISCONNECT, Dps, FILTER, KEY_1, KEY_2, NOT_AUTHORIZED, PINGREQ, TestClock,
    publish, subscribe, token, token_until,
};

/// Asserts return code 5, and that the connection is closed.
async fn assert_refused(dps: &Dps, connect: &Connect) {
    let mut client = dps.mqtt().await;
    client.send(&connect.bytes()).await;
    client.expect(NOT_AUTHORIZED).await;
    client.closed().await;
}

#[tokio::test]
async fn a_wrong_key() {
    let dps = Dps::with_device().await;
    let key = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVpBQkNERUY=";
    assert_refused(&dps, &Connect::with_key("dev-1", key)).await;
    dps.still_serves().await;
}

#[tokio::test]
async fn a_token_that_has_expired() {
    let clock = TestClock::now();
    let dps = Dps::start_with(|builder| builder.clock(std::sync::Arc::new(clock.clone()))).await;
    dps.enroll("dev-1").await;
    let token = token_until("dev-1", KEY_1, clock.unix() + 60);
    let connect = Connect::of("dev-1").password(&token);
    dps.mqtt().await.connect(&connect).await;
    clock.advance(Duration::from_secs(24 * 60 * 60));
    assert_refused(&dps, &connect).await;
}

#[tokio::test]
async fn a_token_of_another_device() {
    let dps = Dps::with_device().await;
    dps.enroll("dev-2").await;
    let connect = Connect::of("dev-1").password(&token("dev-2", KEY_1));
    assert_refused(&dps, &connect).await;
}

#[tokio::test]
async fn an_unknown_device() {
    let dps = Dps::with_device().await;
    assert_refused(&dps, &Connect::with_key("dev-2", KEY_1)).await;
}

#[tokio::test]
async fn another_id_scope() {
    let dps = Dps::with_device().await;
    let connect = Connect::with_key("dev-1", KEY_1)
        .username("0ne00000002/registrations/dev-1/api-version=2019-03-31");
    assert_refused(&dps, &connect).await;
}

#[tokio::test]
async fn malformed_usernames() {
    let dps = Dps::with_device().await;
    for username in [
        "",
        "dev-1",
        "0ne00000001/registrations/dev-1",
        "0ne00000001/registrations/dev-1/",
        "0ne00000001/registrations/dev-1/ClientVersion=1.0",
        "0ne00000001/registrations//api-version=2019-03-31",
        "/registrations/dev-1/api-version=2019-03-31",
        "0ne00000001/devices/dev-1/api-version=2019-03-31",
        "0ne00000001/registrations/dev 1/api-version=2019-03-31",
        "127.0.0.1/dev-1/?api-version=2021-04-12",
    ] {
        let connect = Connect::with_key("dev-1", KEY_1).username(username);
        assert_refused(&dps, &connect).await;
    }
}

#[tokio::test]
async fn api_versions_that_do_not_exist() {
    let dps = Dps::with_device().await;
    for version in [
        "2022-02-30",
        "2033-01-01",
        "2019-03-31-preview",
        "latest",
        "",
    ] {
        let username = format!("0ne00000001/registrations/dev-1/api-version={version}");
        let connect = Connect::with_key("dev-1", KEY_1).username(&username);
        assert_refused(&dps, &connect).await;
    }
}

#[tokio::test]
async fn a_client_id_that_is_not_the_registration_id() {
    let dps = Dps::with_device().await;
    for id in ["dev-2", "dev-1 ", "0ne00000001/dev-1", ""] {
        let connect = Connect::with_key("dev-1", KEY_1).client_id(id);
        assert_refused(&dps, &connect).await;
    }
}

#[tokio::test]
async fn a_connect_without_credentials() {
    let dps = Dps::with_device().await;
    assert_refused(&dps, &Connect::of("dev-1")).await;
    assert_refused(&dps, &Connect::of("dev-1").password("")).await;
    assert_refused(&dps, &Connect::of("dev-1").password(KEY_1)).await;
    let bare = Connect {
        username: None,
        ..Connect::of("dev-1")
    };
    assert_refused(&dps, &bare).await;
}

#[tokio::test]
async fn a_certificate_that_is_not_enrolled() {
    let dps = Dps::with_device().await;
    let stranger = CertificateAuthority::new("Stranger").expect("a CA");
    let device = stranger.issue("dev-1").expect("a certificate");
    let chain = device.certificate_chain_pem();
    let mut client = dps.mqtt_showing(&chain, &device).await;
    client.send(&Connect::of("dev-1").bytes()).await;
    client.expect(NOT_AUTHORIZED).await;
    client.closed().await;
}

/// The answer is read even by a client that did not wait for it.
#[tokio::test]
async fn a_client_that_does_not_wait_receives_the_reason() {
    let dps = Dps::with_device().await;
    let mut client = dps.mqtt().await;
    let connect = Connect::of("dev-1").password(&token("dev-1", KEY_2).replace("sig=", "sig=A"));
    let register = publish(2, "$dps/registrations/PUT/iotdps-register/?$rid=1", b"{}");
    let all = [
        connect.bytes(),
        subscribe(1, &[(FILTER, 1)]),
        register,
        DISCONNECT.to_vec(),
    ];
    client.send(&all.concat()).await;
    client.expect(NOT_AUTHORIZED).await;
    client.closed().await;
}

/// CONNACK 1: unacceptable protocol version (MQTT-3.1.2-2).
#[tokio::test]
async fn mqtt_3_1_and_5() {
    let dps = Dps::with_device().await;
    let token = token("dev-1", KEY_1);
    for level in [3, 5, 6, 0] {
        let connect = Connect {
            level,
            ..Connect::of("dev-1").password(&token)
        };
        let mut client = dps.mqtt().await;
        client.send(&connect.bytes()).await;
        client.expect(b"\x20\x02\x00\x01").await;
        client.closed().await;
    }
    // MQTT 3.1 has a name of its own.
    let mut client = dps.mqtt().await;
    client
        .send(b"\x10\x13\x00\x06MQIsdp\x03\x02\x00\x3C\x00\x05dev-1")
        .await;
    client.expect(b"\x20\x02\x00\x01").await;
    client.closed().await;
}

/// MQTT-3.1.0-1
#[tokio::test]
async fn anything_before_connect() {
    let dps = Dps::with_device().await;
    let register = publish(2, "$dps/registrations/PUT/iotdps-register/?$rid=1", b"{}");
    for packet in [
        PINGREQ,
        DISCONNECT,
        ACCEPTED,
        &subscribe(1, &[(FILTER, 1)]),
        &register,
    ] {
        let mut client = dps.mqtt().await;
        client.send(packet).await;
        client.closed().await;
    }
    dps.still_serves().await;
}

/// MQTT-3.1.0-2
#[tokio::test]
async fn a_second_connect() {
    let dps = Dps::with_device().await;
    let mut client = dps.mqtt_device("dev-1").await;
    client
        .send(&Connect::with_key("dev-1", KEY_1).bytes())
        .await;
    client.closed().await;
}
