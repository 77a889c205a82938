//! Enrollment groups with X.509: the chain is verified, and the signer nearest to the device decides.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dps_emulator::{CertificateAuthority, DeviceCredentials};
use serde_json::json;

use crate::common::{Dps, TestClock, certificate_enrollment, certificate_group, with};

const NOT_FOUND: &str = "CA certificate not found.";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A root, an intermediate below it, and a device below that.
struct Factory {
    root: CertificateAuthority,
    line: CertificateAuthority,
    device: DeviceCredentials,
}

fn factory() -> Factory {
    let root = CertificateAuthority::new("Contoso Root").expect("a CA");
    let line = root.intermediate("Contoso Line 1").expect("a CA");
    let device = line.issue("dev-1").expect("a certificate");
    Factory { root, line, device }
}

async fn enroll(dps: &Dps, id: &str, authority: &CertificateAuthority) {
    let group = certificate_group(id, authority.certificate_pem());
    dps.create(&format!("/enrollmentGroups/{id}"), &group).await;
}

#[tokio::test]
async fn a_device_below_an_enrolled_root_presents_its_intermediate() {
    let (dps, factory) = (Dps::start().await, factory());
    enroll(&dps, "contoso", &factory.root).await;
    let state = dps
        .device("dev-1")
        .certificate(&factory.device)
        .assigned()
        .await;
    assert_eq!(state["x509"], json!({ "enrollmentGroupId": "contoso" }));
    assert_eq!(state["deviceId"], "dev-1");
}

#[tokio::test]
async fn a_device_below_an_enrolled_root_without_its_intermediate_is_refused() {
    let (dps, factory) = (Dps::start().await, factory());
    enroll(&dps, "contoso", &factory.root).await;
    let leaf = factory.device.certificate_pem();
    let answer = dps
        .device("dev-1")
        .chain(leaf, &factory.device)
        .register()
        .await;
    answer.assert_error(401_002, NOT_FOUND);
}

#[tokio::test]
async fn an_enrolled_intermediate_does_not_require_its_issuer() {
    let (dps, factory) = (Dps::start().await, factory());
    enroll(&dps, "line-1", &factory.line).await;
    for chain in [
        factory.device.certificate_pem().to_owned(),
        factory.device.certificate_chain_pem(),
        [
            &factory.device.certificate_chain_pem(),
            factory.root.certificate_pem(),
        ]
        .concat(),
    ] {
        let device = dps.device("dev-1").chain(&chain, &factory.device);
        let state = device.assigned().await;
        assert_eq!(state["x509"], json!({ "enrollmentGroupId": "line-1" }));
    }
}

#[tokio::test]
async fn a_device_of_another_root_is_refused() {
    let (dps, ours, theirs) = (Dps::start().await, factory(), factory());
    enroll(&dps, "contoso", &ours.root).await;
    let answer = dps
        .device("dev-1")
        .certificate(&theirs.device)
        .register()
        .await;
    answer.assert_error(401_002, NOT_FOUND);
}

#[tokio::test]
async fn showing_another_root_does_not_help() {
    let (dps, ours, theirs) = (Dps::start().await, factory(), factory());
    enroll(&dps, "contoso", &ours.root).await;
    let chain = [
        theirs.device.certificate_pem(),
        ours.line.certificate_pem(),
        ours.root.certificate_pem(),
    ]
    .concat();
    let answer = dps
        .device("dev-1")
        .chain(&chain, &theirs.device)
        .register()
        .await;
    answer.assert_error(401_002, NOT_FOUND);
}

#[tokio::test]
async fn a_self_signed_device_belongs_to_no_group() {
    let (dps, factory) = (Dps::start().await, factory());
    enroll(&dps, "contoso", &factory.root).await;
    let loner = DeviceCredentials::self_signed("dev-1").expect("a certificate");
    let answer = dps.device("dev-1").certificate(&loner).register().await;
    answer.assert_error(401_002, NOT_FOUND);
}

#[tokio::test]
async fn the_common_name_must_be_the_registration_id() {
    let (dps, factory) = (Dps::start().await, factory());
    enroll(&dps, "contoso", &factory.root).await;
    let answer = dps
        .device("dev-2")
        .certificate(&factory.device)
        .register()
        .await;
    answer.assert_error(401_002, "Invalid certificate.");
    dps.device("DEV-1")
        .certificate(&factory.device)
        .assigned()
        .await;
}

#[tokio::test]
async fn an_expired_device_is_refused() {
    let (dps, factory) = (Dps::start().await, factory());
    enroll(&dps, "contoso", &factory.root).await;
    let now = SystemTime::now();
    let expired = factory
        .line
        .issue_with_validity("dev-1", now - 2 * DAY..now - DAY)
        .expect("a certificate");
    let answer = dps.device("dev-1").certificate(&expired).register().await;
    answer.assert_error(401_002, "Invalid certificate.");
}

#[tokio::test]
async fn an_expired_signer_is_refused() {
    let clock = TestClock::now();
    let dps = Dps::start_with(|builder| builder.clock(Arc::new(clock.clone()))).await;
    let factory = factory();
    enroll(&dps, "contoso", &factory.root).await;
    clock.advance(21 * 365 * DAY);
    let then = clock.unix();
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(then);
    let device = factory
        .line
        .issue_with_validity("dev-1", then - DAY..then + DAY)
        .expect("a certificate");
    let answer = dps.device("dev-1").certificate(&device).register().await;
    answer.assert_error(401_002, NOT_FOUND);
}

#[tokio::test]
async fn the_nearest_signer_decides() {
    let (dps, factory) = (Dps::start().await, factory());
    enroll(&dps, "root", &factory.root).await;
    enroll(&dps, "line-1", &factory.line).await;
    let other_line = factory.root.intermediate("Contoso Line 2").expect("a CA");
    let other = other_line.issue("dev-2").expect("a certificate");

    let state = dps
        .device("dev-1")
        .certificate(&factory.device)
        .assigned()
        .await;
    assert_eq!(state["x509"]["enrollmentGroupId"], "line-1");
    let state = dps.device("dev-2").certificate(&other).assigned().await;
    assert_eq!(state["x509"]["enrollmentGroupId"], "root");
}

#[tokio::test]
async fn the_nearest_signer_decides_even_if_its_group_is_disabled() {
    let (dps, factory) = (Dps::start().await, factory());
    enroll(&dps, "root", &factory.root).await;
    let line = with(
        certificate_group("line-1", factory.line.certificate_pem()),
        json!({ "provisioningStatus": "disabled" }),
    );
    dps.create("/enrollmentGroups/line-1", &line).await;
    let answer = dps
        .device("dev-1")
        .certificate(&factory.device)
        .register()
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.text,
        r#"{"operationId":"","status":"disabled","registrationState":{"registrationId":"dev-1","status":"disabled"}}"#
    );
}

#[tokio::test]
async fn both_signers_of_a_group_are_accepted() {
    let (dps, old, new) = (Dps::start().await, factory(), factory());
    let group = json!({
        "enrollmentGroupId": "contoso",
        "attestation": { "type": "x509", "x509": { "signingCertificates": {
            "primary": { "certificate": old.root.certificate_pem() },
            "secondary": { "certificate": new.root.certificate_pem() },
        } } },
    });
    dps.create("/enrollmentGroups/contoso", &group).await;
    for factory in [&old, &new] {
        let device = dps.device("dev-1").certificate(&factory.device);
        device.assigned().await;
    }
}

#[tokio::test]
async fn an_individual_enrollment_takes_precedence_over_the_group() {
    let (dps, factory) = (Dps::start().await, factory());
    enroll(&dps, "contoso", &factory.root).await;
    let own = DeviceCredentials::self_signed("dev-1").expect("a certificate");
    let enrollment = certificate_enrollment("dev-1", own.certificate_pem());
    dps.create("/enrollments/dev-1", &enrollment).await;

    let answer = dps
        .device("dev-1")
        .certificate(&factory.device)
        .register()
        .await;
    answer.assert_error(401_002, "Invalid certificate.");
    let state = dps.device("dev-1").certificate(&own).assigned().await;
    assert_eq!(state["x509"], json!({}));
}

#[tokio::test]
async fn a_disabled_individual_enrollment_takes_precedence_over_the_group() {
    let (dps, factory) = (Dps::start().await, factory());
    enroll(&dps, "contoso", &factory.root).await;
    let enrollment = with(
        certificate_enrollment("dev-1", factory.device.certificate_pem()),
        json!({ "provisioningStatus": "disabled" }),
    );
    dps.create("/enrollments/dev-1", &enrollment).await;
    let answer = dps
        .device("dev-1")
        .certificate(&factory.device)
        .register()
        .await;
    assert_eq!(answer.json()["status"], "disabled", "{answer:?}");
}
