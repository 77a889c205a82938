//! Twin operations of a device over MQTT: packets and topics.

use serde_json::{Value, json};

use crate::common::linked;
use crate::common::{
    Client, Connect, DESIRED, Dps, GET, KEY_1, KEY_2, REPORT, RESPONSES, Tls, key_enrollment,
    publish, publish_at_most_once, subscribe, unsubscribe, with,
};

#[tokio::test]
async fn the_twin_is_downloaded() {
    let initial = json!({ "tags": { "site": "k" }, "properties": { "desired": { "k": "v" } } });
    let dps = Dps::with_assigned(initial).await;
    let mut client = dps.mqtt().await;
    client
        .connect(&Connect::to_hub_with_key("127.0.0.1", "dev-1", KEY_1))
        .await;
    // SUBSCRIBE `$iothub/twin/res/#`, QoS 1, and its SUBACK.
    client
        .send(b"\x82\x17\x00\x01\x00\x12$iothub/twin/res/#\x01")
        .await;
    client.expect(b"\x90\x03\x00\x01\x01").await;
    // PUBLISH `$iothub/twin/GET/?$rid=7`, QoS 1, one space.
    client
        .send(b"\x32\x1D\x00\x18$iothub/twin/GET/?$rid=7\x00\x02 ")
        .await;
    client.expect(b"\x40\x02\x00\x02").await;
    let body = r#"{"desired":{"k":"v","$version":1},"reported":{"$version":1}}"#;
    let mut packet = b"\x32\x5A\x00\x1C$iothub/twin/res/200/?$rid=7\x00\x01".to_vec();
    packet.extend(body.as_bytes());
    packet[1] = u8::try_from(packet.len() - 2).expect("short");
    client.expect(&packet).await;
}

#[tokio::test]
async fn properties_are_reported() {
    let dps = Dps::with_assigned(Value::Null).await;
    let mut client = dps.at_hub().await;
    for (patch, version) in [
        (json!({ "t": { "inside": 21, "outside": 5 } }), 2),
        (json!({ "t": { "outside": null }, "on": true }), 3),
        (json!({ "list": [1, { "a": null }], "$version": 99 }), 4),
        (json!({}), 5),
    ] {
        let topic = client.report(&patch).await;
        assert_eq!(
            topic,
            format!("$iothub/twin/res/204/?$rid=r&$version={version}")
        );
    }
    assert_eq!(
        client.twin().await["reported"],
        json!({ "t": { "inside": 21 }, "on": true, "list": [1, { "a": null }], "$version": 5 })
    );
    let twin = dps.default_hub().twin("dev-1").await.expect("a twin");
    assert_eq!(twin["properties"]["reported"]["t"]["inside"], 21);
    assert_eq!(twin["connectionState"], "Connected");
}

#[tokio::test]
async fn a_patch_that_exceeds_a_limit_is_refused() {
    let dps = Dps::with_assigned(Value::Null).await;
    let mut client = dps.at_hub().await;
    client.report(&json!({ "kept": 1 })).await;
    let deep = (0..12).fold(json!(1), |inner, _| json!({ "x": inner }));
    let large: Value = (0..9)
        .map(|n| (format!("t{n}"), json!("x".repeat(4000))))
        .collect();
    for (patch, status) in [
        (deep, 400),
        (large, 413),
        (json!({ "a.b": 1 }), 400),
        (json!([1]), 400),
        (json!("text"), 400),
    ] {
        let topic = client.report(&patch).await;
        assert_eq!(
            topic,
            format!("$iothub/twin/res/{status}/?$rid=r"),
            "{patch}"
        );
    }
    let response = client.ask(&format!("{REPORT}r"), b"{").await;
    assert_eq!(response.topic, "$iothub/twin/res/400/?$rid=r");
    assert_eq!(
        client.twin().await["reported"],
        json!({ "kept": 1, "$version": 2 })
    );
}

#[tokio::test]
async fn the_request_id_is_returned_unchanged() {
    let dps = Dps::with_assigned(Value::Null).await;
    let mut client = dps.at_hub().await;
    for rid in ["", "4e1b-2f", "a%20b", "ü"] {
        let response = client.ask(&format!("{GET}{rid}"), b"").await;
        assert_eq!(response.topic, format!("$iothub/twin/res/200/?$rid={rid}"));
    }
}

/// Reads the next packet, which must be a change of desired properties.
async fn update(client: &mut Client<Tls>) -> (String, Value) {
    let response = client.response().await;
    (response.topic.clone(), response.json())
}

#[tokio::test]
async fn changes_of_desired_properties_arrive_in_order() {
    let dps = Dps::with_assigned(Value::Null).await;
    let mut client = dps.at_hub().await;
    client.listen(DESIRED).await;
    let hub = dps.default_hub();
    for patch in [json!({ "a": 1 }), json!({ "a": null, "b": {} })] {
        hub.update_desired("dev-1", patch).await.expect("patched");
    }
    hub.update_twin("dev-1", json!({ "tags": { "t": 1 } }))
        .await
        .expect("patched");
    hub.update_desired("dev-1", json!({ "c": 3 }))
        .await
        .expect("patched");
    for (version, body) in [
        (2, json!({ "a": 1, "$version": 2 })),
        (3, json!({ "a": null, "b": {}, "$version": 3 })),
        (4, json!({ "c": 3, "$version": 4 })),
    ] {
        let topic = format!("$iothub/twin/PATCH/properties/desired/?$version={version}");
        assert_eq!(update(&mut client).await, (topic, body));
    }
    assert_eq!(
        client.twin().await["desired"],
        json!({ "b": {}, "c": 3, "$version": 4 })
    );
}

#[tokio::test]
async fn a_device_without_a_subscription_receives_nothing() {
    let dps = Dps::with_assigned(Value::Null).await;
    let mut client = dps.at_hub().await;
    let hub = dps.default_hub();
    hub.update_desired("dev-1", json!({ "a": 1 }))
        .await
        .expect("patched");
    assert_eq!(client.twin().await["desired"]["a"], 1);
    client.listen(DESIRED).await;
    client.send(&unsubscribe(3, &[DESIRED])).await;
    client.expect(b"\xB0\x02\x00\x03").await;
    hub.update_desired("dev-1", json!({ "a": 2 }))
        .await
        .expect("patched");
    assert_eq!(client.twin().await["desired"]["a"], 2);
    // Without a subscription the device receives no answer, but the patch is applied.
    client.send(&unsubscribe(4, &[RESPONSES])).await;
    client.expect(b"\xB0\x02\x00\x04").await;
    client
        .send(&publish(5, &format!("{REPORT}1"), b"{\"r\":1}"))
        .await;
    client.expect(b"\x40\x02\x00\x05").await;
    client.listen(RESPONSES).await;
    assert_eq!(client.twin().await["reported"]["r"], 1);
}

#[tokio::test]
async fn answers_come_with_the_qos_of_the_subscription() {
    let dps = Dps::with_assigned(Value::Null).await;
    let mut client = dps.mqtt().await;
    client
        .connect(&Connect::to_hub_with_key("127.0.0.1", "dev-1", KEY_1))
        .await;
    client
        .send(&subscribe(1, &[(RESPONSES, 0), (DESIRED, 2)]))
        .await;
    client.expect(b"\x90\x04\x00\x01\x00\x01").await;
    client
        .send(&publish_at_most_once(&format!("{GET}1"), b""))
        .await;
    let response = client.response().await;
    assert_eq!((response.first, response.packet_id), (0x30, None));
    dps.default_hub()
        .update_desired("dev-1", json!({}))
        .await
        .expect("patched");
    let response = client.response().await;
    assert_eq!((response.first, response.packet_id), (0x32, Some(1)));
}

#[tokio::test]
async fn reported_properties_are_migrated_or_reset() {
    for (migrate, substatus, reported) in [
        (
            true,
            "deviceDataMigrated",
            json!({ "t": 21, "$version": 2 }),
        ),
        (false, "deviceDataReset", json!({ "$version": 1 })),
    ] {
        let dps =
            Dps::start_with(|builder| builder.link_hub(linked("hub-a")).link_hub(linked("hub-b")))
                .await;
        let enrollment = |hub: &str| {
            let reprovision = json!({ "updateHubAssignment": true, "migrateDeviceData": migrate });
            let document = key_enrollment("dev-1", KEY_1, KEY_2);
            let document = with(document, json!({ "allocationPolicy": "static" }));
            let document = with(document, json!({ "iotHubs": [hub] }));
            with(document, json!({ "reprovisionPolicy": reprovision }))
        };
        dps.create("/enrollments/dev-1", &enrollment("hub-a")).await;
        dps.still_serves().await;
        let mut old = dps.mqtt().await;
        old.connect(&Connect::to_hub_with_key("hub-a", "dev-1", KEY_1))
            .await;
        old.listen(RESPONSES).await;
        old.report(&json!({ "t": 21 })).await;

        let deleted = dps.delete("/enrollments/dev-1").await;
        assert_eq!(deleted.status, 204, "{deleted:?}");
        dps.create("/enrollments/dev-1", &enrollment("hub-b")).await;
        let state = dps.mqtt_device("dev-1").await.provision().await;
        assert_eq!(state["registrationState"]["substatus"], substatus);
        old.closed().await;
        let mut new = dps.mqtt().await;
        new.connect(&Connect::to_hub_with_key("hub-b", "dev-1", KEY_1))
            .await;
        new.listen(RESPONSES).await;
        assert_eq!(new.twin().await["reported"], reported);
    }
}
