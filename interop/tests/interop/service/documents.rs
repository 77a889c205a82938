//! Documents that were written are read again: keys and certificates have the documented form.

use std::fs;

use crate::{CertificateAuthority, Emulator, HEATPUMPS, HTTPS_PORT, Kind, ServiceSdk, TOASTERS};
use serde_json::{Value, json};

use super::{enrollment, group};

const KEY_1: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const KEY_2: &str = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY=";
const ENDORSEMENT_KEY: &str = "AToAAQALAAMAsgAgg3GXZ0SEs/gakMyNRqXXJP1S124GUgtk8qHaGzMUaaoABgCAAEMAEAgAAAAAAAEAibym9HQP9vxCGF5dVc1QQsAGe021aUGJzNol1/gycBx3jFsTpwmWbISRwnFvflWd0w2Mc44FAAZNaJOAAxwZvG8GvyLlHh6fGKdh+mSBL4iLH2bZ4Ry22cB3CJVjXmdGoz9Y/j3/NwLndBxQC+baNvzvyVQZ4/A2YL7vzIIj2ik4y+ve9ir7U0GbNdnxskqK1KFIITVVtkTIYyyFTIR0BySjPrRIDj7r7Mh5uF9HBppGKQCBoVSVV8dI91lNazmSdpGWyqCkO7iM4VvUMv2HT/ym53aYlUrau+Qq87Tu+uQipWYgRdF11KDfcpMHqqzBQQ1NpOJVhrsTrhyJzO7KNw==";

/// Generated with `openssl ca`; the expected values are its output.
const DEVICE_PEM: &str = include_str!("../../../fixtures/thermostat-1.pem");
const ROOT_PEM: &str = include_str!("../../../fixtures/contoso-root.pem");

fn device_info() -> Value {
    json!({
        "subjectName": "CN=thermostat-1",
        "sha1Thumbprint": "D2846CC7A77D86D392D642172562B314196C23F5",
        "sha256Thumbprint": "4BA4586110A22DFBE62990A90A681F480E2EB766380C340496DFDEFF102F8986",
        "issuerName": "CN=thermostat-1",
        "notBeforeUtc": "2025-01-02T03:04:05Z",
        "notAfterUtc": "2125-01-02T03:04:05Z",
        "serialNumber": "1234ABCD",
        "version": 3,
    })
}

fn root_info() -> Value {
    json!({
        "subjectName": "CN=Contoso Root",
        "sha1Thumbprint": "5EC58A973090A1B79887FCE26F0FA0078A86F489",
        "sha256Thumbprint": "47488C8877E6C7CF270E5A03484BB57AF5C5B1F67F84816C54385FD4D3328B55",
        "issuerName": "CN=Contoso Root",
        "notBeforeUtc": "2025-01-02T03:04:05Z",
        "notAfterUtc": "2125-01-02T03:04:05Z",
        "serialNumber": "5A5A",
        "version": 3,
    })
}

pub(crate) async fn an_individual_key(sdk: ServiceSdk) {
    keys(sdk, Kind::Enrollments, enrollment).await;
}

pub(crate) async fn a_group_key(sdk: ServiceSdk) {
    keys(sdk, Kind::EnrollmentGroups, group).await;
}

async fn keys(sdk: ServiceSdk, kind: Kind, document: fn(&str, &Value) -> Value) {
    let emulator = Emulator::start().await;
    let mut operator = sdk.owner(&emulator);

    let made = operator
        .put(kind, &document("made", &json!({})), None)
        .await
        .unwrap();
    let attestation = &made["attestation"];
    let [first, second] = ["primaryKey", "secondaryKey"].map(|name| {
        let key = &attestation["symmetricKey"][name];
        key.as_str().unwrap_or_else(|| panic!("{name}: {made}"))
    });
    assert!(first != second, "each key is its own");
    assert_eq!((first.len(), second.len()), (88, 88), "64 bytes in base64");
    assert_eq!(
        operator.attestation(kind, "made").await.unwrap(),
        *attestation
    );

    let given = json!({
        "type": "symmetricKey",
        "symmetricKey": { "primaryKey": KEY_1, "secondaryKey": KEY_2 },
    });
    let wanted = document("given", &json!({ "attestation": given }));
    let put = operator.put(kind, &wanted, None).await.unwrap();
    assert_eq!(put["attestation"], given);
    assert_eq!(operator.attestation(kind, "given").await.unwrap(), given);

    // A reader does not receive keys.
    let hidden = json!({ "type": "symmetricKey" });
    assert_eq!(
        operator.get(kind, "given").await.unwrap()["attestation"],
        hidden
    );
    let all = operator
        .query(kind, json!({ "query": "SELECT *" }))
        .await
        .unwrap();
    for found in &all.pages[0] {
        assert_eq!(found["attestation"], hidden);
    }
    emulator.stop().await;
}

pub(crate) async fn an_individual_certificate(sdk: ServiceSdk) {
    let primary = json!({ "certificate": DEVICE_PEM });
    let attestation =
        json!({ "type": "x509", "x509": { "clientCertificates": { "primary": primary } } });
    let device = enrollment("thermostat-1", &json!({ "attestation": attestation }));
    let info = json!({ "info": device_info() });
    let shown = json!({ "clientCertificates": { "primary": info } });
    shows(
        sdk,
        Kind::Enrollments,
        &device,
        &json!({ "type": "x509", "x509": shown }),
    )
    .await;
}

pub(crate) async fn a_group_certificate(sdk: ServiceSdk) {
    let primary = json!({ "certificate": ROOT_PEM });
    let attestation =
        json!({ "type": "x509", "x509": { "signingCertificates": { "primary": primary } } });
    let thermostats = group("thermostats", &json!({ "attestation": attestation }));
    let info = json!({ "info": root_info() });
    // The service returns a single signing certificate twice.
    let shown = json!({ "signingCertificates": { "primary": info, "secondary": info } });
    shows(
        sdk,
        Kind::EnrollmentGroups,
        &thermostats,
        &json!({ "type": "x509", "x509": shown }),
    )
    .await;
}

pub(crate) async fn an_individual_tpm(sdk: ServiceSdk) {
    let attestation = json!({ "type": "tpm", "tpm": { "endorsementKey": ENDORSEMENT_KEY } });
    let device = enrollment("boiler", &json!({ "attestation": attestation }));
    shows(sdk, Kind::Enrollments, &device, &attestation).await;
}

/// The service returns this attestation in every answer that has one.
async fn shows(sdk: ServiceSdk, kind: Kind, document: &Value, attestation: &Value) {
    let emulator = Emulator::start().await;
    let mut operator = sdk.owner(&emulator);
    let put = operator.put(kind, document, None).await.unwrap();
    assert_eq!(put["attestation"], *attestation);
    let id = ["registrationId", "enrollmentGroupId"]
        .iter()
        .find_map(|name| document[name].as_str());
    let id = id.expect("an id");
    assert_eq!(
        operator.get(kind, id).await.unwrap()["attestation"],
        *attestation
    );
    assert_eq!(operator.attestation(kind, id).await.unwrap(), *attestation);
    let all = operator
        .query(kind, json!({ "query": "SELECT *" }))
        .await
        .unwrap();
    assert_eq!(all.pages[0][0]["attestation"], *attestation);
    emulator.stop().await;
}

pub(crate) async fn a_group_with_a_ca_reference(sdk: ServiceSdk) {
    let root = CertificateAuthority::root("Thermostats Root CA");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("root.pem");
    fs::write(&file, root.pem()).unwrap();
    let verified = format!("factory-root={}", file.display());
    let emulator = Emulator::start_with(HTTPS_PORT, &["--verified-ca", &verified]).await;
    let mut operator = sdk.owner(&emulator);

    let by =
        |name: &str| json!({ "type": "x509", "x509": { "caReferences": { "primary": name } } });
    let thermostats = group("thermostats", &json!({ "attestation": by("factory-root") }));
    let put = operator
        .put(Kind::EnrollmentGroups, &thermostats, None)
        .await
        .unwrap();
    assert_eq!(put["attestation"], by("factory-root"));
    let read = operator
        .get(Kind::EnrollmentGroups, "thermostats")
        .await
        .unwrap();
    assert_eq!(read["attestation"], by("factory-root"));
    emulator.stop().await;
}

pub(crate) async fn every_field_of_an_enrollment(sdk: ServiceSdk) {
    let emulator = Emulator::start().await;
    let mut operator = sdk.owner(&emulator);
    let wanted = json!({
        "deviceId": "kitchen",
        "optionalDeviceInformation": { "serial": "00:1b", "row": 7 },
        "capabilities": { "iotEdge": true },
        "initialTwin": {
            "tags": { "site": "Jūrmala", "floor": { "number": -1 } },
            "properties": { "desired": { "intervalSeconds": 0.5, "modes": ["eco", "boost"], "off": null } },
        },
        "provisioningStatus": "enabled",
        "reprovisionPolicy": { "updateHubAssignment": true, "migrateDeviceData": false },
        "allocationPolicy": "custom",
        "iotHubs": [TOASTERS, HEATPUMPS],
        "customAllocationDefinition": {
            "webhookUrl": "https://contoso.example/allocate?code=1",
            "apiVersion": "2021-10-01",
        },
    });
    let put = operator
        .put(Kind::Enrollments, &enrollment("toaster", &wanted), None)
        .await
        .unwrap();
    let read = operator.get(Kind::Enrollments, "toaster").await.unwrap();
    for (name, value) in wanted.as_object().unwrap() {
        assert_eq!(put[name], *value, "{name}");
        assert_eq!(read[name], *value, "{name}");
    }
    let state = json!({ "registrationId": "toaster", "status": "unassigned" });
    assert_eq!(read["registrationState"], state);
    assert!(put.get("registrationState").is_none(), "{put}");
    emulator.stop().await;
}

pub(crate) async fn a_document_that_the_service_refuses(sdk: ServiceSdk) {
    let emulator = Emulator::start().await;
    let mut operator = sdk.owner(&emulator);
    for (fields, message) in [
        (
            json!({ "iotHubs": [TOASTERS] }),
            "Enrollment allocationPolicy must be specified when iotHubs are specified.",
        ),
        (
            json!({ "allocationPolicy": "custom" }),
            "A CustomAllocationDefinition is required when the allocation policy is set to 'Custom'",
        ),
    ] {
        let put = operator
            .put(Kind::Enrollments, &enrollment("toaster", &fields), None)
            .await;
        operator.assert_refused(put, 400_004, message);
    }
    let left = operator.get(Kind::Enrollments, "toaster").await;
    operator.assert_refused(left, 404_201, "Enrollment not found.");
    emulator.stop().await;
}
