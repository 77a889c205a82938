//! A device at its hub over HTTPS: credentials of others.

use dps_emulator::{CertificateAuthority, DeviceCredentials};
use serde_json::json;

use super::hub_service::{HUB, with_two_devices};
use crate::common::{
    Answer, KEY_1, KEY_3, Sas, certificate_enrollment, hub_token, token, unix_now,
};

/// A device sends telemetry and starts uploads over HTTPS, for itself only.
#[tokio::test]
async fn no_device_acts_as_another_over_https() {
    let dps = with_two_devices().await;
    let root = CertificateAuthority::new("Contoso Root").expect("a CA");
    let certificate = root.issue("dev-3").expect("a certificate");
    let mut document = certificate_enrollment("dev-3", certificate.certificate_pem());
    document["iotHubs"] = json!([HUB]);
    document["allocationPolicy"] = json!("static");
    dps.create("/enrollments/dev-3", &document).await;
    dps.device("dev-3")
        .certificate(&certificate)
        .assigned()
        .await;
    let sas = |resource: &str, key: &str| Sas::at_hub(resource).sign(key);
    let tokens = [
        (
            "the key of another device",
            sas("127.0.0.1/devices/dev-1", KEY_3),
        ),
        (
            "the token of another device",
            sas("127.0.0.1/devices/dev-2", KEY_3),
        ),
        (
            "the resource of another device",
            sas("127.0.0.1/devices/dev-2", KEY_1),
        ),
        (
            "the device in another case",
            sas("127.0.0.1/devices/DEV-1", KEY_3),
        ),
        ("a longer id", sas("127.0.0.1/devices/dev-10", KEY_1)),
        (
            "another hub of the instance",
            sas("hub-b/devices/dev-1", KEY_1),
        ),
        ("an unknown hub", sas("hub-c/devices/dev-1", KEY_1)),
        ("a module", sas("127.0.0.1/devices/dev-1/modules/m", KEY_1)),
        (
            "a policy",
            format!("{}&skn=device", sas("127.0.0.1/devices/dev-1", KEY_1)),
        ),
        ("expired", hub_token(HUB, "dev-1", KEY_1, unix_now() - 1)),
        ("a registration token", token("dev-1", KEY_1)),
        (
            "the key of the hub",
            sas("127.0.0.1/devices/dev-1", &dps.hub_api(HUB).key),
        ),
        ("the key", KEY_1.to_owned()),
        ("nothing", String::new()),
    ];
    for (name, token) in &tokens {
        for path in [
            "/devices/dev-1/messages/events",
            "/devices/dev-1/files",
            "/devices/dev-1/files/notifications",
        ] {
            let api = dps.hub_api(HUB);
            let body = json!({ "blobName": "a", "correlationId": "b", "isSuccess": true });
            let answer = Answer::to(api.request_with("POST", path, token).json(&body)).await;
            assert_eq!(answer.status, 401, "{name}: {path}: {answer:?}");
        }
    }
    let events = "/devices/dev-3/messages/events?api-version=2021-04-12";
    let other = root.issue("dev-3").expect("a certificate");
    let neighbour = DeviceCredentials::self_signed("dev-1").expect("a certificate");
    for (name, shown) in [
        ("another certificate", &other),
        ("another device", &neighbour),
    ] {
        let wire = dps.showing(&shown.certificate_chain_pem(), shown);
        let answer = Answer::to(wire.request("POST", events).body("x")).await;
        assert_eq!(answer.status, 401, "{name}: {answer:?}");
    }
    let wire = dps.showing(certificate.certificate_pem(), &certificate);
    for id in ["dev-1", "dev-2", "DEV-3"] {
        let path = events.replace("dev-3", id);
        let answer = Answer::to(wire.request("POST", &path).body("x")).await;
        assert_eq!(answer.status, 401, "{id}: {answer:?}");
        assert_eq!(dps.hub(HUB).telemetry_count(id), 0);
    }
    let answer = Answer::to(wire.request("POST", events).body("x")).await;
    assert_eq!(answer.status, 204, "{answer:?}");
}
