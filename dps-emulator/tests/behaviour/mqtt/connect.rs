//! CONNECT in every form that clients use.

use serde_json::json;

use crate::common::{ACCEPTED, Connect, Dps, KEY_1, KEY_2, PINGREQ, PINGRESP, derive};

/// Asserts that the server accepts the client and provisions it.
async fn assert_provisioned(dps: &Dps, connect: &Connect) {
    let mut client = dps.mqtt().await;
    client.connect(connect).await;
    client.subscribe().await;
    let document = client.provision().await;
    assert_eq!(document["status"], "assigned", "{document}");
    assert_eq!(document["registrationState"]["registrationId"], "dev-1");
}

#[tokio::test]
async fn usernames_with_and_without_a_question_mark() {
    let dps = Dps::with_device().await;
    for parameters in [
        "api-version=2019-03-31",
        "?api-version=2019-03-31",
        "api-version=2021-06-01&ClientVersion=1.15.0",
        "api-version=2019-03-31&ClientVersion=azure-iot-provisioning-device%2F1.9.1",
        "api-version=2019-03-31&ClientVersion=azure-iot-device-provisioning-py%2F2.14.0%28%203.11.2%3BLinux%3Bx86_64%29",
        "?ClientVersion=1.0&api-version=2018-11-01",
        "api-version=2025-07-01-preview",
    ] {
        let username = format!("0ne00000001/registrations/dev-1/{parameters}");
        let connect = Connect::with_key("dev-1", KEY_1).username(&username);
        let mut client = dps.mqtt().await;
        client.send(&connect.bytes()).await;
        client.expect(ACCEPTED).await;
    }
}

#[tokio::test]
async fn either_key_is_accepted() {
    let dps = Dps::with_device().await;
    for key in [KEY_1, KEY_2] {
        assert_provisioned(&dps, &Connect::with_key("dev-1", key)).await;
    }
}

/// The C# client fails if CONNACK reports a present session.
#[tokio::test]
async fn a_session_is_never_present() {
    let dps = Dps::with_device().await;
    let kept = Connect {
        clean_session: false,
        ..Connect::with_key("dev-1", KEY_1)
    };
    for connect in [&kept, &kept, &Connect::with_key("dev-1", KEY_1)] {
        assert_provisioned(&dps, connect).await;
    }
}

#[tokio::test]
async fn a_keep_alive_of_zero_and_the_longest() {
    let dps = Dps::with_device().await;
    for seconds in [0, u16::MAX] {
        let connect = Connect::with_key("dev-1", KEY_1).keep_alive(seconds);
        assert_provisioned(&dps, &connect).await;
    }
}

#[tokio::test]
async fn tls_1_2() {
    let dps = Dps::with_device().await;
    let mut client = dps.mqtt_over_tls12().await;
    client.connect(&Connect::with_key("dev-1", KEY_1)).await;
    client.subscribe().await;
    let document = client.provision().await;
    assert_eq!(document["status"], "assigned", "{document}");
}

#[tokio::test]
async fn the_client_id_in_another_case() {
    let dps = Dps::with_device().await;
    let connect = Connect::with_key("dev-1", KEY_1).client_id("DEV-1");
    assert_provisioned(&dps, &connect).await;
}

#[tokio::test]
async fn an_id_with_every_character_that_an_id_may_have() {
    let dps = Dps::start().await;
    let id = "mac:aa.bb_cc-7";
    dps.enroll(id).await;
    let document = dps.mqtt_device(id).await.provision().await;
    assert_eq!(document["registrationState"]["registrationId"], id);
}

/// Both are served: DPS has no rule that a second connection ends the first.
#[tokio::test]
async fn two_connections_of_one_device() {
    let dps = Dps::with_device().await;
    let mut one = dps.mqtt_device("dev-1").await;
    let mut other = dps.mqtt_device("dev-1").await;
    assert_eq!(other.provision().await["status"], "assigned");
    assert_eq!(one.provision().await["status"], "assigned");
    one.send(PINGREQ).await;
    one.expect(PINGRESP).await;
}

#[tokio::test]
async fn a_will_is_accepted() {
    let dps = Dps::with_device().await;
    let token = crate::common::token("dev-1", KEY_1);
    let mut body = b"\x00\x04MQTT\x04\xC6\x00\x3C\x00\x05dev-1\
        \x00\x04will\x00\x04gone\
        \x00\x360ne00000001/registrations/dev-1/api-version=2019-03-31\x00\x92"
        .to_vec();
    body.extend(token.as_bytes());
    assert_eq!(body.len(), 233);
    let mut client = dps.mqtt().await;
    client.send(&[b"\x10\xE9\x01", &body[..]].concat()).await;
    client.expect(ACCEPTED).await;
}

#[tokio::test]
async fn a_device_of_a_group() {
    let dps = Dps::start().await;
    let keys = json!({ "primaryKey": KEY_1, "secondaryKey": KEY_2 });
    let attestation = json!({ "type": "symmetricKey", "symmetricKey": keys });
    let group = json!({ "enrollmentGroupId": "toasters", "attestation": attestation });
    dps.create("/enrollmentGroups/toasters", &group).await;

    let mut client = dps.mqtt().await;
    let key = derive(KEY_1, "toaster-7");
    client.connect(&Connect::with_key("toaster-7", &key)).await;
    client.subscribe().await;
    let document = client.provision().await;
    assert_eq!(
        document["registrationState"]["symmetricKey"],
        json!({ "enrollmentGroupId": "toasters" })
    );
}
