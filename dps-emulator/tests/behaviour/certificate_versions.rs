//! Device certificates of X.509 version 1, as `openssl x509 -req` makes them without an extension file.

use serde_json::json;

use crate::common::{Dps, certificate_enrollment, certificate_group};

const DEVICE: &str = include_str!("certificates/version-1-device.pem");
const KEY: &str = include_str!("certificates/version-1-key.pem");
const ROOT: &str = include_str!("certificates/version-1-root.pem");

#[tokio::test]
async fn a_version_1_certificate_is_enrolled_individually() {
    let dps = Dps::start().await;
    let shown = dps
        .create(
            "/enrollments/dev-1",
            &certificate_enrollment("dev-1", DEVICE),
        )
        .await;
    let certificates = &shown["attestation"]["x509"]["clientCertificates"];
    assert_eq!(certificates["primary"]["info"]["version"], 1);
    let state = dps.device("dev-1").identity(DEVICE, KEY).assigned().await;
    assert_eq!(state["x509"], json!({}));
}

#[tokio::test]
async fn a_version_1_certificate_belongs_to_the_group_of_its_issuer() {
    let dps = Dps::start().await;
    dps.create(
        "/enrollmentGroups/contoso",
        &certificate_group("contoso", ROOT),
    )
    .await;
    for chain in [DEVICE.to_owned(), [DEVICE, ROOT].concat()] {
        let device = dps.device("dev-1").identity(&chain, KEY);
        let state = device.assigned().await;
        assert_eq!(state["x509"], json!({ "enrollmentGroupId": "contoso" }));
    }
    let other = dps_emulator::CertificateAuthority::new("Contoso Root").expect("a CA");
    let dps = Dps::start().await;
    let group = certificate_group("contoso", other.certificate_pem());
    dps.create("/enrollmentGroups/contoso", &group).await;
    let answer = dps.device("dev-1").identity(DEVICE, KEY).register().await;
    answer.assert_error(401_002, "CA certificate not found.");
}

#[tokio::test]
async fn a_version_1_certificate_with_the_key_of_another_is_refused_in_the_handshake() {
    let dps = Dps::start().await;
    dps.create(
        "/enrollments/dev-1",
        &certificate_enrollment("dev-1", DEVICE),
    )
    .await;
    let other = dps_emulator::DeviceCredentials::self_signed("dev-1").expect("a certificate");
    let device = dps
        .device("dev-1")
        .identity(DEVICE, other.private_key_pem());
    let request = device.request("PUT", "/register").json(&json!({}));
    request.send().await.expect_err("the handshake fails");
}
