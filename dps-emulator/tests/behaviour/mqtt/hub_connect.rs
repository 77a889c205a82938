//! CONNECT to a hub: accepted and refused credentials.

use dps_emulator::{CertificateAuthority, DeviceCredentials};
use serde_json::{Value, json};

use crate::common::linked;
use crate::common::{
    Connect, Dps, FOREVER, KEY_1, KEY_2, NOT_AUTHORIZED, PINGREQ, PINGRESP, TestClock,
    certificate_enrollment, certificate_group, derive, hub_token, key_enrollment, with,
};

#[tokio::test]
async fn a_device_with_a_key_can_connect() {
    let dps = Dps::with_assigned(Value::Null).await;
    // MQTT 3.1.1, username and password, clean session 0, keep-alive 60.
    let username = "127.0.0.1/dev-1/?api-version=2019-10-01&DeviceClientType=py";
    let password = hub_token("127.0.0.1", "dev-1", KEY_1, FOREVER);
    let mut packet = b"\x10\xE0\x01\x00\x04MQTT\x04\xC0\x00\x3C\x00\x05dev-1\x00\x3B".to_vec();
    packet.extend(username.as_bytes());
    packet.extend([0, u8::try_from(password.len()).expect("short")]);
    packet.extend(password.as_bytes());
    let length = packet.len() - 3;
    packet[1] = u8::try_from(length % 128).expect("a digit") | 0x80;
    packet[2] = u8::try_from(length / 128).expect("a digit");
    let mut client = dps.mqtt().await;
    client.send(&packet).await;
    client.expect(b"\x20\x02\x00\x00").await;
    client.send(PINGREQ).await;
    client.expect(PINGRESP).await;
}

#[tokio::test]
async fn both_keys_are_accepted_on_both_transports() {
    let dps = Dps::with_assigned(Value::Null).await;
    for key in [KEY_1, KEY_2] {
        let connect = Connect::to_hub_with_key("127.0.0.1", "dev-1", key);
        dps.mqtt().await.connect(&connect).await;
        dps.websocket().await.connect(&connect).await;
        dps.mqtt_over_tls12().await.connect(&connect).await;
    }
}

#[tokio::test]
async fn the_hub_is_the_one_in_the_username() {
    let dps =
        Dps::start_with(|builder| builder.link_hub(linked("hub-a")).link_hub(linked("hub-b")))
            .await;
    let document = with(
        key_enrollment("dev-1", KEY_1, KEY_2),
        json!({ "allocationPolicy": "static" }),
    );
    let document = with(document, json!({ "iotHubs": ["hub-b"] }));
    dps.create("/enrollments/dev-1", &document).await;
    dps.still_serves().await;
    for (hub, answer) in [
        ("hub-b", b"\x20\x02\x00\x00"),
        ("HUB-B", b"\x20\x02\x00\x00"),
        ("hub-a", b"\x20\x02\x00\x05"),
        ("hub-c", b"\x20\x02\x00\x05"),
    ] {
        let mut client = dps.mqtt().await;
        client
            .send(&Connect::to_hub_with_key(hub, "dev-1", KEY_1).bytes())
            .await;
        client.expect(answer).await;
    }
}

#[tokio::test]
async fn a_device_of_a_group_signs_with_its_own_key() {
    let dps = Dps::start().await;
    let group = json!({
        "enrollmentGroupId": "g",
        "attestation": { "type": "symmetricKey", "symmetricKey": { "primaryKey": KEY_1, "secondaryKey": KEY_2 } },
    });
    dps.create("/enrollmentGroups/g", &group).await;
    let key = derive(KEY_1, "dev-2");
    let mut client = dps.mqtt().await;
    client.connect(&Connect::with_key("dev-2", &key)).await;
    client.subscribe().await;
    assert_eq!(client.provision().await["status"], "assigned");
    let connect = Connect::to_hub_with_key("127.0.0.1", "dev-2", &key);
    dps.mqtt().await.connect(&connect).await;
}

#[tokio::test]
async fn a_key_derived_from_the_lower_case_id_is_accepted() {
    let dps = Dps::start().await;
    let group = json!({
        "enrollmentGroupId": "g",
        "attestation": { "type": "symmetricKey", "symmetricKey": { "primaryKey": KEY_1, "secondaryKey": KEY_2 } },
    });
    dps.create("/enrollmentGroups/g", &group).await;
    let key = derive(KEY_2, "dev-x");
    let mut client = dps.mqtt().await;
    client.connect(&Connect::with_key("Dev-X", &key)).await;
    client.subscribe().await;
    assert_eq!(client.provision().await["status"], "assigned");
    let connect = Connect::to_hub_with_key("127.0.0.1", "Dev-X", &key);
    dps.mqtt().await.connect(&connect).await;
}

#[tokio::test]
async fn a_device_connects_with_the_certificate_that_it_registered_with() {
    let dps = Dps::start().await;
    let own = DeviceCredentials::self_signed("dev-1").expect("a certificate");
    let document = certificate_enrollment("dev-1", own.certificate_pem());
    dps.create("/enrollments/dev-1", &document).await;
    let ca = CertificateAuthority::new("Contoso Root").expect("a CA");
    let group = certificate_group("g", ca.certificate_pem());
    dps.create("/enrollmentGroups/g", &group).await;
    let signed = ca.issue("dev-2").expect("a certificate");
    for (id, credentials) in [("dev-1", &own), ("dev-2", &signed)] {
        let chain = credentials.certificate_chain_pem();
        let mut client = dps.mqtt_showing(&chain, credentials).await;
        client.connect(&Connect::of(id)).await;
        client.subscribe().await;
        assert_eq!(client.provision().await["status"], "assigned");

        let connect = Connect::to_hub("127.0.0.1", id);
        let mut client = dps.mqtt_showing(&chain, credentials).await;
        client.connect(&connect).await;
        let mut client = dps.websocket_showing(&chain, credentials).await;
        client.connect(&connect.password("")).await;
    }
    // Another certificate of the same CA and name: DPS accepts it, the hub does not before the device registers with it.
    let other = ca.issue("dev-2").expect("a certificate");
    let mut client = dps
        .mqtt_showing(&other.certificate_chain_pem(), &other)
        .await;
    client
        .send(&Connect::to_hub("127.0.0.1", "dev-2").bytes())
        .await;
    client.expect(NOT_AUTHORIZED).await;
}

#[tokio::test]
async fn the_other_enrolled_certificate_is_refused_until_the_device_registers_with_it() {
    let dps = Dps::start().await;
    let [first, second] =
        [(), ()].map(|()| DeviceCredentials::self_signed("dev-1").expect("a certificate"));
    let mut document = certificate_enrollment("dev-1", first.certificate_pem());
    document["attestation"]["x509"]["clientCertificates"]["secondary"] =
        json!({ "certificate": second.certificate_pem() });
    dps.create("/enrollments/dev-1", &document).await;
    for (registered, other) in [(&first, &second), (&second, &first)] {
        let chain = registered.certificate_chain_pem();
        let mut client = dps.mqtt_showing(&chain, registered).await;
        client.connect(&Connect::of("dev-1")).await;
        client.subscribe().await;
        assert_eq!(client.provision().await["status"], "assigned");

        let connect = Connect::to_hub("127.0.0.1", "dev-1");
        let mut client = dps.mqtt_showing(&chain, registered).await;
        client.connect(&connect).await;
        let chain = other.certificate_chain_pem();
        let mut client = dps.mqtt_showing(&chain, other).await;
        client.send(&connect.bytes()).await;
        client.expect(NOT_AUTHORIZED).await;
    }
}

#[tokio::test]
async fn a_device_without_valid_credentials_is_refused() {
    let dps = Dps::with_assigned(Value::Null).await;
    let connect = |id: &str| Connect::to_hub_with_key("127.0.0.1", id, KEY_1);
    let token = |hub: &str, id: &str, key: &str| hub_token(hub, id, key, FOREVER);
    for (refused, why) in [
        (connect("dev-2"), "unknown"),
        (connect("DEV-1"), "ids differ by case"),
        (Connect::to_hub("127.0.0.1", "dev-1"), "no password"),
        (connect("dev-1").password("rubbish"), "no token"),
        (
            connect("dev-1").password(&token("127.0.0.1", "dev-1", &derive(KEY_1, "x"))),
            "another key",
        ),
        (
            connect("dev-1").password(&token("127.0.0.1", "dev-2", KEY_1)),
            "another device's",
        ),
        (
            connect("dev-1").password(&token("elsewhere", "dev-1", KEY_1)),
            "another hub's",
        ),
        (
            connect("dev-1").password(&hub_token("127.0.0.1", "dev-1", KEY_1, 1_700_000_000)),
            "expired",
        ),
        (
            connect("dev-1").password(&format!(
                "{}&skn=device",
                token("127.0.0.1", "dev-1", KEY_1)
            )),
            "a policy",
        ),
        (connect("dev-1").client_id("dev-2"), "another client id"),
        (
            connect("dev-1").username("127.0.0.1/dev-1/"),
            "no api-version",
        ),
        (
            connect("dev-1").username("127.0.0.1/dev-1/?api-version=new"),
            "no api-version",
        ),
        (
            connect("dev-1").username("127.0.0.1/dev-1/m/?api-version=2021-04-12"),
            "a module",
        ),
    ] {
        let mut client = dps.mqtt().await;
        client.send(&refused.bytes()).await;
        client.expect(NOT_AUTHORIZED).await;
        client.closed().await;
        assert!(!dps.default_hub().is_connected("dev-1"), "{why}");
    }
    dps.at_hub().await;
}

#[tokio::test]
async fn a_disabled_device_is_refused() {
    let dps = Dps::with_assigned(Value::Null).await;
    let connect = Connect::to_hub_with_key("127.0.0.1", "dev-1", KEY_1);
    for enabled in [false, true] {
        dps.default_hub()
            .set_enabled("dev-1", enabled)
            .await
            .expect("set");
        let mut client = dps.mqtt().await;
        client.send(&connect.bytes()).await;
        client
            .expect(if enabled {
                b"\x20\x02\x00\x00"
            } else {
                NOT_AUTHORIZED
            })
            .await;
    }
}

#[tokio::test]
async fn deleting_the_enrollment_does_not_change_the_hub() {
    let dps = Dps::with_assigned(Value::Null).await;
    let deleted = dps.delete("/enrollments/dev-1").await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
    dps.at_hub().await.twin().await;
}

#[tokio::test]
async fn tokens_expire_by_the_emulators_clock() {
    let clock = TestClock::now();
    let dps = Dps::start_with(|builder| builder.clock(std::sync::Arc::new(clock.clone()))).await;
    dps.enroll("dev-1").await;
    dps.still_serves().await;
    let soon = clock.unix() + 600;
    let connect = Connect::to_hub("127.0.0.1", "dev-1").password(&hub_token(
        "127.0.0.1",
        "dev-1",
        KEY_1,
        soon,
    ));
    dps.mqtt().await.connect(&connect).await;
    clock.advance(std::time::Duration::from_secs(600));
    let mut client = dps.mqtt().await;
    client.send(&connect.bytes()).await;
    client.expect(NOT_AUTHORIZED).await;
}
