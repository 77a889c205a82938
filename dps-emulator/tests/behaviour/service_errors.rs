//! Requests that the service API refuses, with their messages.

use dps_emulator::CertificateAuthority;
use serde_json::{Value, json};

use crate::common::linked;
use crate::common::{
    Answer, Dps, KEY_1, KEY_2, certificate_group, key_enrollment, key_group, with,
};

async fn refused(dps: &Dps, path: &str, document: Value, message: &str) {
    let answer = dps.put(path, &document).await;
    assert_eq!(answer.status, 400, "{document}: {answer:?}");
    answer.assert_error(400_004, message);
    assert_eq!(answer.header("x-ms-error-code"), Some("400004"));
    assert_eq!(dps.get(path).await.status, 404, "nothing is kept");
}

#[tokio::test]
async fn an_allocation_that_cannot_work() {
    let dps =
        Dps::start_with(|builder| builder.link_hub(linked("hub-a")).link_hub(linked("hub-b")))
            .await;
    let webhook = |url: &str| {
        json!({
            "allocationPolicy": "custom",
            "customAllocationDefinition": { "webhookUrl": url, "apiVersion": "2021-10-01" },
        })
    };
    for (fields, message) in [
        (
            json!({ "iotHubs": ["hub-a"] }),
            "Enrollment allocationPolicy must be specified when iotHubs are specified.",
        ),
        (
            json!({ "allocationPolicy": "custom" }),
            "A CustomAllocationDefinition is required when the allocation policy is set to 'Custom'",
        ),
        (
            json!({ "allocationPolicy": "hashed", "iotHubs": ["hub-a", "hub-c"] }),
            "The IoT hub 'hub-c' is not linked to this instance.",
        ),
        (
            json!({ "iotHubHostName": "hub-c" }),
            "The IoT hub 'hub-c' is not linked to this instance.",
        ),
        (
            json!({ "allocationPolicy": "static", "iotHubs": ["hub-a", "hub-b"] }),
            "The allocation policy 'Static' requires one hub in iotHubs.",
        ),
        (
            json!({ "allocationPolicy": "roundRobin" }),
            "'roundRobin' is not a valid allocationPolicy; use hashed, geoLatency, static or custom.",
        ),
        (
            webhook("http://contoso.example/api?code=s3cret"),
            "The webhookUrl is not valid: http://contoso.example/api?**** must be https: http is allowed only on localhost.",
        ),
        (
            json!({ "provisioningStatus": "asleep" }),
            "'asleep' is not a valid provisioningStatus; use enabled or disabled.",
        ),
        (
            webhook("s3cret"),
            "The webhookUrl is not valid: the webhook URL is not a valid URL such as https://host/path?code=key.",
        ),
    ] {
        let document = with(key_enrollment("e", KEY_1, KEY_2), fields.clone());
        refused(&dps, "/enrollments/e", document, message).await;
        let document = with(key_group("e", KEY_1, KEY_2), fields);
        refused(&dps, "/enrollmentGroups/e", document, message).await;
    }
}

/// An endorsement key on P-256 with the template L-2 of the TCG: its TPM2B_PUBLIC in base64.
const ELLIPTIC: &str = "AHoAIwALAAMAsgAgg3GXZ0SEs/gakMyNRqXXJP1S124GUgtk8qHaGzMUaaoABgCAAEMAEAADABAAIGsX0fLhLEJH+Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWACBP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==";

#[tokio::test]
async fn an_attestation_that_proves_nothing() {
    let dps = Dps::start().await;
    let required = "TPM or X509 attestation is required.";
    let invalid = "Endorsement key is invalid, or does not match the Enrollment.";
    let endorsement = |key: &str| json!({ "type": "tpm", "tpm": { "endorsementKey": key } });
    let one_of = "X509 attestation requires exactly one of clientCertificates, signingCertificates and caReferences.";
    let root = CertificateAuthority::new("Contoso Root").expect("a CA");
    let root = json!({ "primary": { "certificate": root.certificate_pem() } });
    for (attestation, message) in [
        (Value::Null, required),
        (json!({ "type": "none" }), required),
        (json!({ "type": "tpm" }), required),
        (
            json!({ "type": "tpm", "tpm": { "endorsementKey": "" } }),
            required,
        ),
        (endorsement("AToA"), invalid),
        (endorsement("no base64"), invalid),
        (endorsement(ELLIPTIC), invalid),
        (json!({ "type": "x509" }), required),
        (json!({ "type": "x509", "x509": {} }), one_of),
        (
            json!({ "type": "x509", "x509": { "clientCertificates": root, "signingCertificates": root } }),
            one_of,
        ),
        (
            json!({ "type": "x509", "x509": { "clientCertificates": {} } }),
            "A primary or secondary client certificate is required.",
        ),
        (
            json!({ "type": "x509", "x509": { "clientCertificates": { "primary": {} } } }),
            "The primary client certificate has no content: its certificate is missing, and its thumbprint is not that of a certificate of the enrollment.",
        ),
        (
            json!({ "type": "x509", "x509": { "caReferences": { "secondary": "" } } }),
            "A primary or secondary CA reference is required.",
        ),
        (
            json!({ "type": "palm" }),
            "The attestation type 'palm' is not known.",
        ),
    ] {
        let document = json!({ "registrationId": "e", "attestation": attestation });
        refused(&dps, "/enrollments/e", document, message).await;
    }
    let nothing = json!({ "registrationId": "e" });
    refused(&dps, "/enrollments/e", nothing, required).await;
    let nothing = json!({ "enrollmentGroupId": "e" });
    refused(&dps, "/enrollmentGroups/e", nothing, required).await;
}

#[tokio::test]
async fn an_attestation_that_is_not_for_groups() {
    let dps = Dps::start().await;
    let root = CertificateAuthority::new("Contoso Root").expect("a CA");
    let root = json!({ "primary": { "certificate": root.certificate_pem() } });
    for (attestation, message) in [
        (
            json!({ "type": "tpm", "tpm": { "endorsementKey": "AToA" } }),
            "An enrollment group cannot use TPM attestation.",
        ),
        (
            json!({ "type": "x509", "x509": { "clientCertificates": root } }),
            "An enrollment group cannot use client certificates.",
        ),
    ] {
        let document = json!({ "enrollmentGroupId": "e", "attestation": attestation });
        refused(&dps, "/enrollmentGroups/e", document, message).await;
    }
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read() {
    let dps = Dps::start().await;
    for text in [
        "nonsense",
        "AAAA",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let answer = dps
            .put("/enrollmentGroups/e", &certificate_group("e", text))
            .await;
        assert_eq!(answer.status, 400, "{text}: {answer:?}");
        assert_eq!(answer.json()["errorCode"], 400_004);
        let message = answer.json()["message"].to_string();
        assert!(
            message.contains("The primary signing certificate cannot be read: ")
                && !message.contains(".."),
            "{text}: {message}"
        );
        assert!(message.ends_with(".\""), "{message}");
    }
}

#[tokio::test]
async fn a_malformed_key() {
    let dps = Dps::start().await;
    let short = "c2hvcnQ=";
    let long = "A".repeat(88);
    for key in [short, &long, "not base64!"] {
        for (primary, secondary) in [(key, KEY_2), (KEY_1, key)] {
            let answer = dps
                .put("/enrollments/e", &key_enrollment("e", primary, secondary))
                .await;
            assert_eq!(answer.status, 400, "{key}: {answer:?}");
            assert_eq!(answer.json()["errorCode"], 400_004, "{key}");
            assert!(!answer.text.contains(key), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_document_that_is_not_about_the_path() {
    let dps = Dps::start().await;
    refused(
        &dps,
        "/enrollments/e",
        key_enrollment("f", KEY_1, KEY_2),
        "The registrationId in the body is not the one in the path.",
    )
    .await;
    refused(
        &dps,
        "/enrollmentGroups/e",
        key_group("f", KEY_1, KEY_2),
        "The enrollmentGroupId in the body is not the one in the path.",
    )
    .await;
    dps.create("/enrollments/e", &key_enrollment("E", KEY_1, KEY_2))
        .await;
}

#[tokio::test]
async fn a_document_of_another_shape() {
    let dps = Dps::start().await;
    for document in [
        json!([]),
        json!({}),
        json!({ "registrationId": "e" }),
        json!({ "registrationId": "not an id", "attestation": { "type": "symmetricKey" } }),
        json!({ "registrationId": "e", "attestation": "symmetricKey" }),
        with(
            key_enrollment("e", KEY_1, KEY_2),
            json!({ "capabilities": { "iotEdge": "yes" } }),
        ),
        with(
            key_enrollment("e", KEY_1, KEY_2),
            json!({ "deviceId": "a/b" }),
        ),
        with(
            key_enrollment("e", KEY_1, KEY_2),
            json!({ "iotHubs": "127.0.0.1" }),
        ),
    ] {
        let answer = dps.put("/enrollments/e", &document).await;
        assert_eq!(answer.status, 400, "{document}: {answer:?}");
        assert_eq!(answer.json()["errorCode"], 400_004, "{document}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_json() {
    let dps = Dps::start().await;
    let put = || dps.service("PUT", "/enrollments/e");
    let json = || put().header("Content-Type", "application/json");
    let answer = Answer::to(json().body("{")).await;
    assert_eq!(
        (answer.status, &answer.json()["errorCode"]),
        (400, &json!(400_006))
    );
    let answer = Answer::to(put().body("{}")).await;
    assert_eq!(answer.status, 415, "{answer:?}");
    let answer = Answer::to(json().body(format!("\"{}\"", "x".repeat(1024 * 1024)))).await;
    assert_eq!(answer.status, 413, "{answer:?}");
}

#[tokio::test]
async fn an_error_of_the_service_api_has_the_same_shape() {
    let dps = Dps::start().await;
    let answer = dps.get("/enrollments/e").await;
    let body = answer.json();
    assert_eq!(
        crate::common::names(&body),
        ["errorCode", "trackingId", "message", "timestampUtc"]
    );
    assert_eq!(
        body["trackingId"].as_str(),
        answer.header("x-ms-request-id")
    );
    assert_eq!(answer.header("x-ms-error-code"), Some("404201"));
}

#[tokio::test]
async fn an_api_version_is_needed() {
    let dps = Dps::start().await;
    let token = dps.service_sas().sign(&dps.service_key);
    for query in ["", "?api-version=2022-02-02"] {
        let request = dps.request("GET", &format!("/enrollments/e{query}"));
        let answer = Answer::to(request.header("Authorization", &token)).await;
        assert_eq!(
            (answer.status, &answer.json()["errorCode"]),
            (400, &json!(400_001))
        );
    }
}

#[tokio::test]
async fn a_wrong_method_or_path() {
    let dps = Dps::start().await;
    for (method, path, status) in [
        ("POST", "/enrollments/e", 405),
        ("PATCH", "/enrollmentGroups/e", 405),
        ("PUT", "/registrations/e", 405),
        ("GET", "/enrollments/e/attestationmechanism", 405),
        ("GET", "/enrollments", 405),
        ("GET", "/registrations", 404),
        ("GET", "/enrollments/e/f", 404),
    ] {
        let answer = Answer::to(dps.service(method, path).json(&json!({}))).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    }
}
