//! Individual enrollments with X.509: the enrolled certificate itself counts, and its issuer does not.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dps_emulator::{CertificateAuthority, DeviceCredentials};
use serde_json::json;

use crate::common::{Dps, KEY_1, TestClock, certificate_enrollment, key_enrollment, with};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn self_signed(id: &str) -> DeviceCredentials {
    DeviceCredentials::self_signed(id).expect("a certificate")
}

#[tokio::test]
async fn both_certificates_of_an_enrollment_are_accepted() {
    let dps = Dps::start().await;
    let (old, new) = (self_signed("dev-1"), self_signed("Dev-1"));
    let enrollment = json!({
        "registrationId": "dev-1",
        "attestation": { "type": "x509", "x509": { "clientCertificates": {
            "primary": { "certificate": old.certificate_pem() },
            "secondary": { "certificate": new.certificate_pem() },
        } } },
    });
    dps.create("/enrollments/dev-1", &enrollment).await;
    for credentials in [&old, &new] {
        let device = dps.device("dev-1").certificate(credentials);
        assert_eq!(device.assigned().await["x509"], json!({}));
    }
}

#[tokio::test]
async fn another_certificate_of_the_same_name_is_refused() {
    let dps = Dps::start().await;
    let enrolled = self_signed("dev-1");
    let enrollment = certificate_enrollment("dev-1", enrolled.certificate_pem());
    dps.create("/enrollments/dev-1", &enrollment).await;
    let answer = dps
        .device("dev-1")
        .certificate(&self_signed("dev-1"))
        .register()
        .await;
    answer.assert_error(401_002, "Invalid certificate.");
}

#[tokio::test]
async fn a_request_without_token_and_certificate_is_refused() {
    let dps = Dps::start().await;
    let enrolled = self_signed("dev-1");
    let enrollment = certificate_enrollment("dev-1", enrolled.certificate_pem());
    dps.create("/enrollments/dev-1", &enrollment).await;
    for id in ["dev-1", "unknown"] {
        let answer = dps.device(id).register().await;
        answer.assert_error(401_002, "Invalid certificate.");
    }
}

#[tokio::test]
async fn a_token_is_refused_where_a_certificate_is_enrolled() {
    let dps = Dps::start().await;
    let enrolled = self_signed("dev-1");
    let enrollment = certificate_enrollment("dev-1", enrolled.certificate_pem());
    dps.create("/enrollments/dev-1", &enrollment).await;
    let answer = dps.device("dev-1").key(KEY_1).register().await;
    answer.assert_error(401_002, "Unauthorized");
}

#[tokio::test]
async fn a_certificate_is_refused_where_a_key_is_enrolled() {
    let dps = Dps::start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_1))
        .await;
    let device = dps.device("dev-1").certificate(&self_signed("dev-1"));
    let answer = device.register().await;
    answer.assert_error(401_002, "Invalid certificate.");
    assert_eq!(
        device.key(KEY_1).register().await.status,
        202,
        "both are shown"
    );
}

#[tokio::test]
async fn the_common_name_must_be_the_registration_id() {
    let dps = Dps::start().await;
    let credentials = self_signed("dev-2");
    let enrollment = certificate_enrollment("dev-1", credentials.certificate_pem());
    dps.create("/enrollments/dev-1", &enrollment).await;
    let answer = dps
        .device("dev-1")
        .certificate(&credentials)
        .register()
        .await;
    answer.assert_error(401_002, "Invalid certificate.");
}

#[tokio::test]
async fn an_expired_or_early_certificate_is_refused() {
    let dps = Dps::start().await;
    let root = CertificateAuthority::new("Contoso Root").expect("a CA");
    let now = SystemTime::now();
    for (validity, status) in [
        (now - DAY..now + DAY, 202),
        (now - 2 * DAY..now - DAY, 401),
        (now + DAY..now + 2 * DAY, 401),
    ] {
        let credentials = root
            .issue_with_validity("dev-1", validity)
            .expect("a certificate");
        let enrollment = certificate_enrollment("dev-1", credentials.certificate_pem());
        dps.delete("/enrollments/dev-1").await;
        dps.create("/enrollments/dev-1", &enrollment).await;
        let device = dps.device("dev-1").certificate(&credentials);
        let answer = device.register().await;
        assert_eq!(answer.status, status, "{answer:?}");
        if status == 401 {
            answer.assert_error(401_002, "Invalid certificate.");
        }
    }
}

#[tokio::test]
async fn validity_is_checked_with_the_emulators_clock() {
    let clock = TestClock::now();
    let dps = Dps::start_with(|builder| builder.clock(Arc::new(clock.clone()))).await;
    let credentials = self_signed("dev-1");
    let enrollment = certificate_enrollment("dev-1", credentials.certificate_pem());
    dps.create("/enrollments/dev-1", &enrollment).await;
    let device = dps.device("dev-1").certificate(&credentials);
    device.assigned().await;
    clock.advance(11 * 365 * DAY);
    let answer = device.register().await;
    answer.assert_error(401_002, "Invalid certificate.");
}

#[tokio::test]
async fn a_poll_requires_the_certificate() {
    let dps = Dps::start().await;
    let credentials = self_signed("dev-1");
    let enrollment = certificate_enrollment("dev-1", credentials.certificate_pem());
    dps.create("/enrollments/dev-1", &enrollment).await;
    let device = dps.device("dev-1").certificate(&credentials);
    let operation = device.register().await.json()["operationId"].clone();
    let operation = operation.as_str().expect("text");
    device.finish(operation).await;
    for stranger in [
        dps.device("dev-1"),
        dps.device("dev-1").certificate(&self_signed("dev-1")),
    ] {
        assert_eq!(stranger.poll(operation).await.status, 401);
        assert_eq!(stranger.lookup().await.status, 401);
    }
}

#[tokio::test]
async fn an_individual_enrollment_may_name_the_signer() {
    let dps = Dps::start().await;
    let root = CertificateAuthority::new("Contoso Root").expect("a CA");
    let enrollment = json!({
        "registrationId": "dev-1",
        "attestation": { "type": "x509", "x509": { "signingCertificates": {
            "primary": { "certificate": root.certificate_pem() },
        } } },
    });
    dps.create("/enrollments/dev-1", &enrollment).await;
    let credentials = root.issue("dev-1").expect("a certificate");
    let state = dps
        .device("dev-1")
        .certificate(&credentials)
        .assigned()
        .await;
    assert_eq!(state["x509"], json!({}));
    let other = root.issue("dev-2").expect("a certificate");
    let answer = dps.device("dev-1").certificate(&other).register().await;
    answer.assert_error(401_002, "Invalid certificate.");
}

#[tokio::test]
async fn a_disabled_enrollment_is_reported_to_its_own_device_only() {
    let dps = Dps::start().await;
    let credentials = self_signed("dev-1");
    let enrollment = with(
        certificate_enrollment("dev-1", credentials.certificate_pem()),
        json!({ "provisioningStatus": "disabled" }),
    );
    dps.create("/enrollments/dev-1", &enrollment).await;
    let answer = dps
        .device("dev-1")
        .certificate(&credentials)
        .register()
        .await;
    assert_eq!(answer.json()["status"], "disabled", "{answer:?}");
    let answer = dps
        .device("dev-1")
        .certificate(&self_signed("dev-1"))
        .register()
        .await;
    assert_eq!(answer.status, 401, "{answer:?}");
}
