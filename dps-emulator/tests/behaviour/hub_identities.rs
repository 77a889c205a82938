//! The identity that an assignment creates in a hub: credentials, capabilities, initial twin, and its removal.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dps_emulator::{CertificateAuthority, DeviceCredentials, ErrorKind};
use dps_hardware::SoftwareTpm;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::common::linked;
use crate::common::{
    Dps, Hook, KEY_1, KEY_2, TpmDevice, certificate_enrollment, certificate_group, derive,
    key_enrollment, key_group, tpm_enrollment, with,
};

async fn two_hubs() -> Dps {
    Dps::start_with(|builder| builder.link_hub(linked("hub-a")).link_hub(linked("hub-b"))).await
}

fn at(hub: &str) -> Value {
    json!({ "allocationPolicy": "static", "iotHubs": [hub] })
}

async fn authentication(dps: &Dps, hub: &str, id: &str) -> Value {
    let answer = dps.hub_api(hub).get(&format!("/devices/{id}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["authentication"].take()
}

/// SHA-256 of the DER in upper-case hex.
fn thumbprint(credentials: &DeviceCredentials) -> String {
    let der = CertificateDer::from_pem_slice(credentials.certificate_pem().as_bytes());
    let digest = Sha256::digest(der.expect("a certificate"));
    digest.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[tokio::test]
async fn a_device_has_the_keys_of_its_enrollment_at_its_hub() {
    let dps = Dps::start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    dps.create("/enrollmentGroups/g", &key_group("g", KEY_2, KEY_1))
        .await;
    dps.device("dev-1").key(KEY_1).assigned().await;
    dps.device("dev-2")
        .key(&derive(KEY_1, "dev-2"))
        .assigned()
        .await;
    let keys = |primary: &str, secondary: &str| {
        json!({
            "symmetricKey": { "primaryKey": primary, "secondaryKey": secondary },
            "x509Thumbprint": { "primaryThumbprint": null, "secondaryThumbprint": null },
            "type": "sas",
        })
    };
    assert_eq!(
        authentication(&dps, "127.0.0.1", "dev-1").await,
        keys(KEY_1, KEY_2)
    );
    assert_eq!(
        authentication(&dps, "127.0.0.1", "dev-2").await,
        keys(&derive(KEY_2, "dev-2"), &derive(KEY_1, "dev-2"))
    );
}

#[tokio::test]
async fn replaced_keys_are_valid_at_the_hub_after_the_next_registration() {
    let dps = Dps::start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    dps.device("dev-1").key(KEY_1).assigned().await;
    let rolled = key_enrollment("dev-1", KEY_2, KEY_1);
    dps.put_if("/enrollments/dev-1", "*", &rolled).await;
    let primary = async || {
        authentication(&dps, "127.0.0.1", "dev-1").await["symmetricKey"]["primaryKey"].take()
    };
    assert_eq!(primary().await, KEY_1);
    dps.device("dev-1").key(KEY_1).assigned().await;
    assert_eq!(primary().await, KEY_2);
}

#[tokio::test]
async fn both_thumbprints_are_that_of_the_certificate_that_registered() {
    let dps = Dps::start().await;
    let [old, new] =
        [(), ()].map(|()| DeviceCredentials::self_signed("dev-1").expect("a certificate"));
    let thumbprints = |thumbprint: &str| {
        json!({
            "symmetricKey": { "primaryKey": null, "secondaryKey": null },
            "x509Thumbprint": { "primaryThumbprint": thumbprint, "secondaryThumbprint": thumbprint },
            "type": "selfSigned",
        })
    };
    let with_secondary = |first: &DeviceCredentials, second: Option<&DeviceCredentials>| {
        let mut document = certificate_enrollment("dev-1", first.certificate_pem());
        if let Some(second) = second {
            document["attestation"]["x509"]["clientCertificates"]["secondary"] =
                json!({ "certificate": second.certificate_pem() });
        }
        document
    };
    let (one, two) = (thumbprint(&old), thumbprint(&new));

    dps.create("/enrollments/dev-1", &with_secondary(&old, None))
        .await;
    let before = dps.device("dev-1").certificate(&old).assigned().await;
    assert_eq!(
        authentication(&dps, "127.0.0.1", "dev-1").await,
        thumbprints(&one)
    );
    dps.put_if("/enrollments/dev-1", "*", &with_secondary(&old, Some(&new)))
        .await;
    let after = dps.device("dev-1").certificate(&new).assigned().await;
    assert_eq!(after["assignedHub"], before["assignedHub"]);
    assert_eq!(
        authentication(&dps, "127.0.0.1", "dev-1").await,
        thumbprints(&two)
    );
    dps.device("dev-1").certificate(&old).assigned().await;
    assert_eq!(
        authentication(&dps, "127.0.0.1", "dev-1").await,
        thumbprints(&one)
    );
    dps.put_if("/enrollments/dev-1", "*", &with_secondary(&new, None))
        .await;
    dps.device("dev-1").certificate(&new).assigned().await;
    assert_eq!(
        authentication(&dps, "127.0.0.1", "dev-1").await,
        thumbprints(&two)
    );
}

#[tokio::test]
async fn a_device_of_a_certificate_group_has_the_thumbprint_of_its_own_certificate() {
    let dps = Dps::start().await;
    let ca = CertificateAuthority::new("Contoso Root").expect("a CA");
    let group = certificate_group("g", ca.certificate_pem());
    dps.create("/enrollmentGroups/g", &group).await;
    for _ in 0..2 {
        let credentials = ca.issue("dev-1").expect("a certificate");
        dps.device("dev-1")
            .certificate(&credentials)
            .assigned()
            .await;
        assert_eq!(
            authentication(&dps, "127.0.0.1", "dev-1").await["x509Thumbprint"],
            json!({
                "primaryThumbprint": thumbprint(&credentials),
                "secondaryThumbprint": thumbprint(&credentials),
            })
        );
    }
}

#[tokio::test]
async fn a_tpm_has_its_hub_key_at_the_hub() {
    let dps = Dps::start().await;
    let device = TpmDevice::new(&dps, "dev-1", SoftwareTpm::number(1));
    dps.create("/enrollments/dev-1", &tpm_enrollment("dev-1", &device.tpm))
        .await;
    let state = device.assigned().await;
    let given = device.hub_key(&state).await;
    let authentication = authentication(&dps, "127.0.0.1", "dev-1").await;
    assert_eq!(authentication["type"], "sas");
    assert_eq!(
        authentication["symmetricKey"]["primaryKey"],
        STANDARD.encode(given)
    );
}

#[tokio::test]
async fn an_edge_device_has_the_edge_capability_at_its_hub() {
    let dps = Dps::start().await;
    let edge = json!({ "capabilities": { "iotEdge": true } });
    let document = with(key_enrollment("dev-1", KEY_1, KEY_2), edge);
    dps.create("/enrollments/dev-1", &document).await;
    dps.device("dev-1").key(KEY_1).assigned().await;
    let device = dps.hub("127.0.0.1").device("dev-1").await.expect("read");
    assert!(device.expect("registered").is_iot_edge());
    assert_eq!(
        dps.hub_api("127.0.0.1").twin("dev-1").await["capabilities"],
        json!({ "iotEdge": true })
    );
}

#[tokio::test]
async fn a_hub_keeps_a_device_whose_registration_is_deleted() {
    let dps = two_hubs().await;
    let enrollment = |hub: &str| with(key_enrollment("dev-1", KEY_1, KEY_2), at(hub));
    dps.create("/enrollments/dev-1", &enrollment("hub-a")).await;
    let device = dps.device("dev-1").key(KEY_1);
    device.assigned().await;
    dps.delete("/registrations/dev-1").await;
    dps.put_if("/enrollments/dev-1", "*", &enrollment("hub-b"))
        .await;
    assert_eq!(device.assigned().await["substatus"], "initialAssignment");
    for hub in ["hub-a", "hub-b"] {
        let found = dps.hub(hub).device("dev-1").await.expect("read");
        assert!(found.is_some(), "{hub}");
    }
}

#[tokio::test]
async fn a_device_that_exists_in_the_hub_keeps_its_twin() {
    let dps = Dps::start().await;
    let initial = json!({ "initialTwin": { "tags": { "from": "enrollment" } } });
    let document = with(key_enrollment("dev-1", KEY_1, KEY_2), initial);
    dps.create("/enrollments/dev-1", &document).await;
    let device = dps.device("dev-1").key(KEY_1);
    device.assigned().await;
    let hub = dps.hub("127.0.0.1");
    let patched = hub
        .update_twin("dev-1", json!({ "tags": { "from": "operator" } }))
        .await;
    patched.expect("patched");
    dps.delete("/registrations/dev-1").await;
    assert_eq!(device.assigned().await["substatus"], "initialAssignment");
    let found = hub
        .device("dev-1")
        .await
        .expect("read")
        .expect("registered");
    assert_eq!(json!(found.tags()), json!({ "from": "operator" }));
}

#[tokio::test]
async fn a_new_device_id_creates_a_second_identity() {
    let dps = Dps::start().await;
    let named = |name: &str| {
        with(
            key_enrollment("dev-1", KEY_1, KEY_2),
            json!({ "deviceId": name }),
        )
    };
    dps.create("/enrollments/dev-1", &named("toaster")).await;
    let device = dps.device("dev-1").key(KEY_1);
    device.assigned().await;
    dps.put_if("/enrollments/dev-1", "*", &named("oven")).await;
    device.assigned().await;
    let devices = dps.hub("127.0.0.1").devices().await.expect("read");
    let names: Vec<&str> = devices.iter().map(|it| it.device_id().as_str()).collect();
    assert_eq!(names, ["oven", "toaster"]);
}

#[tokio::test]
async fn a_device_that_was_removed_from_its_hub_gets_its_initial_twin_again() {
    let dps = Dps::start().await;
    let initial = json!({ "initialTwin": { "properties": { "desired": { "x": 1 } } } });
    let document = with(key_enrollment("dev-1", KEY_1, KEY_2), initial);
    dps.create("/enrollments/dev-1", &document).await;
    let device = dps.device("dev-1").key(KEY_1);
    device.assigned().await;
    let hub = dps.hub("127.0.0.1");
    hub.update_desired("dev-1", json!({ "x": 2 }))
        .await
        .expect("patched");
    hub.remove("dev-1").await.expect("removed");
    assert!(hub.device("dev-1").await.expect("read").is_none());
    let state = device.assigned().await;
    assert_eq!(state["substatus"], "reprovisionedToInitialAssignment");
    let found = hub
        .device("dev-1")
        .await
        .expect("read")
        .expect("registered");
    assert_eq!(json!(found.desired()), json!({ "x": 1 }));
}

#[tokio::test]
async fn a_disabled_device_stays_disabled_when_it_registers_again() {
    let dps = Dps::start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    let device = dps.device("dev-1").key(KEY_1);
    device.assigned().await;
    let hub = dps.hub("127.0.0.1");
    hub.set_enabled("dev-1", false).await.expect("disabled");
    device.assigned().await;
    let found = hub
        .device("dev-1")
        .await
        .expect("read")
        .expect("registered");
    assert!(!found.is_enabled());
}

#[tokio::test]
async fn the_initial_twin_of_a_webhook_replaces_that_of_the_enrollment() {
    let dps = Dps::start().await;
    for (answer, tags) in [
        (json!({}), json!({ "from": "enrollment" })),
        (
            json!({ "initialTwin": null }),
            json!({ "from": "enrollment" }),
        ),
        (json!({ "initialTwin": {} }), json!({})),
        (
            json!({ "initialTwin": { "tags": { "by": "webhook" } } }),
            json!({ "by": "webhook" }),
        ),
    ] {
        let answer = with(answer, json!({ "iotHubHostName": "127.0.0.1" }));
        let hook = Hook::saying(200, &answer.to_string()).await;
        let fields = json!({
            "allocationPolicy": "custom",
            "customAllocationDefinition": { "webhookUrl": hook.url, "apiVersion": "2021-10-01" },
            "initialTwin": { "tags": { "from": "enrollment" } },
        });
        let document = with(key_enrollment("dev-1", KEY_1, KEY_2), fields);
        dps.create("/enrollments/dev-1", &document).await;
        dps.device("dev-1").key(KEY_1).assigned().await;
        let hub = dps.hub("127.0.0.1");
        let found = hub
            .device("dev-1")
            .await
            .expect("read")
            .expect("registered");
        assert_eq!(json!(found.tags()), tags, "{answer}");
        hub.remove("dev-1").await.expect("removed");
        for path in ["/registrations/dev-1", "/enrollments/dev-1"] {
            dps.delete(path).await;
        }
    }
}

#[tokio::test]
async fn an_initial_twin_that_exceeds_the_limits_fails_the_registration() {
    let dps = Dps::start().await;
    let deep = (0..12).fold(json!(1), |inner, _| json!({ "x": inner }));
    for (twin, message) in [
        (
            json!({ "properties": { "desired": deep } }),
            "The initial twin is not valid: objects are nested more than 10 levels deep.",
        ),
        (
            json!({ "tags": { "a.b": 1 } }),
            "The initial twin is not valid: a name contains '$', '.', a space or a control character: \"a.b\".",
        ),
    ] {
        let twin = with(
            key_enrollment("dev-1", KEY_1, KEY_2),
            json!({ "initialTwin": twin }),
        );
        dps.delete("/enrollments/dev-1").await;
        dps.create("/enrollments/dev-1", &twin).await;
        let failed = dps.device("dev-1").key(KEY_1).failed().await;
        assert_eq!(failed, (400_004, message.to_owned()));
    }
    assert!(
        dps.hub("127.0.0.1")
            .devices()
            .await
            .expect("read")
            .is_empty()
    );
}

/// Registration ids are case-insensitive, device ids are not.
#[tokio::test]
async fn a_device_that_changes_the_case_of_its_id_keeps_one_identity() {
    let dps = two_hubs().await;
    let group = |hub: &str| with(key_group("g", KEY_1, KEY_2), at(hub));
    dps.create("/enrollmentGroups/g", &group("hub-a")).await;
    let register = async |id: &str| {
        let key = derive(KEY_1, id);
        let state = dps.device(id).key(&key).assigned().await;
        assert_eq!(state["deviceId"], "Toaster-1", "{id}");
    };
    let devices = async |hub: &str| {
        let devices = dps.hub(hub).devices().await.expect("read");
        let ids = devices.iter().map(|device| device.device_id().to_string());
        ids.collect::<Vec<_>>()
    };
    for id in ["Toaster-1", "toaster-1", "TOASTER-1"] {
        register(id).await;
        assert_eq!(devices("hub-a").await, ["Toaster-1"]);
    }
    dps.put_if("/enrollmentGroups/g", "*", &group("hub-b"))
        .await;
    register("toaster-1").await;
    assert!(devices("hub-a").await.is_empty());
    assert_eq!(devices("hub-b").await, ["Toaster-1"]);
}

#[tokio::test]
async fn an_unknown_device_is_not_found() {
    let dps = Dps::start().await;
    assert!(dps.emulator.hub("elsewhere").is_none());
    let hub = dps.hub("127.0.0.1");
    assert_eq!(hub.hostname().as_str(), "127.0.0.1");
    for id in ["dev-1", "no id"] {
        assert!(hub.device(id).await.expect("read").is_none());
        let error = hub.remove(id).await.expect_err("no such device");
        assert_eq!(error.kind(), ErrorKind::DeviceNotFound);
    }
}
