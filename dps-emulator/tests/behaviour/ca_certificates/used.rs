//! The use of CA certificates: the signers that an instance trusts.

use std::sync::Arc;
use std::time::Duration;

use dps_emulator::CertificateAuthority;
use serde_json::{Value, json};

use super::{Cas, assert_refused, authority, upload};
use crate::common::verified_ca;
use crate::common::{Answer, Dps, TestClock, certificate_group};

const NOT_FOUND: &str = "CA certificate not found.";

async fn strict() -> Dps {
    Dps::start_with(|builder| builder.require_verified_ca(true)).await
}

async fn register(dps: &Dps, authority: &CertificateAuthority) -> Answer {
    let credentials = authority.issue("dev-1").expect("a certificate");
    let device = dps.device("dev-1").certificate(&credentials);
    device.register().await
}

fn reference(name: &str) -> Value {
    json!({
        "enrollmentGroupId": "contoso",
        "attestation": { "type": "x509", "x509": { "caReferences": { "primary": name } } },
    })
}

#[tokio::test]
async fn a_strict_instance_trusts_a_signer_after_its_proof_of_possession() {
    let (dps, root) = (strict().await, authority("Contoso Root"));
    let line = root.intermediate("Contoso Line 1").expect("a CA");
    let group = certificate_group("line-1", line.certificate_pem());
    dps.create("/enrollmentGroups/line-1", &group).await;
    let cas = Cas(&dps);
    cas.create("root", root.certificate_pem()).await;
    register(&dps, &line).await.assert_error(401_002, NOT_FOUND);
    cas.prove("root", &root).await;
    assert_eq!(register(&dps, &line).await.status, 202);
}

#[tokio::test]
async fn a_reference_finds_an_uploaded_certificate_once_it_is_verified() {
    let (dps, root) = (Dps::start().await, authority("Contoso Root"));
    let cas = Cas(&dps);
    cas.create("Contoso-Root", root.certificate_pem()).await;
    dps.create("/enrollmentGroups/contoso", &reference("contoso-root"))
        .await;
    register(&dps, &root).await.assert_error(401_002, NOT_FOUND);
    cas.prove("contoso-root", &root).await;
    assert_eq!(register(&dps, &root).await.status, 202);
}

/// The service deletes it, and refuses the devices below it.
#[tokio::test]
async fn a_certificate_that_is_used_can_be_deleted() {
    let (dps, root) = (strict().await, authority("Contoso Root"));
    let cas = Cas(&dps);
    let body = upload(root.certificate_pem(), Some(true));
    assert_eq!(cas.put("root", None, &body).await.status, 200);
    let group = certificate_group("contoso", root.certificate_pem());
    dps.create("/enrollmentGroups/contoso", &group).await;
    assert_eq!(register(&dps, &root).await.status, 202);
    assert_eq!(cas.delete("root", Some("*")).await.status, 200);
    register(&dps, &root).await.assert_error(401_002, NOT_FOUND);
}

#[tokio::test]
async fn an_expired_ca_is_not_trusted() {
    let clock = TestClock::now();
    let dps = Dps::start_with(|builder| builder.clock(Arc::new(clock.clone()))).await;
    let root = authority("Contoso Root");
    let body = upload(root.certificate_pem(), Some(true));
    assert_eq!(Cas(&dps).put("root", None, &body).await.status, 200);
    dps.create("/enrollmentGroups/contoso", &reference("root"))
        .await;
    assert_eq!(register(&dps, &root).await.status, 202);
    clock.advance(Duration::from_secs(100 * 365 * 24 * 60 * 60));
    assert_eq!(register(&dps, &root).await.status, 401);
}

#[tokio::test]
async fn configured_certificates_are_listed_and_read_only() {
    let (given, other) = (authority("Given"), authority("Other"));
    let dps = Dps::start_with(|builder| {
        builder.verified_ca(verified_ca("given", given.certificate_pem()))
    })
    .await;
    let cas = Cas(&dps);
    cas.create("other", other.certificate_pem()).await;
    let all = cas.list().await;
    assert_eq!(all[0]["name"], "given");
    assert_eq!(all[0]["properties"]["isVerified"], true);
    assert_eq!(all[0]["properties"]["subject"], "Given");
    assert_eq!(all[1]["name"], "other");
    assert_eq!(cas.get("GIVEN").await.json(), all[0]);

    let message = "The certificate 'given' is part of the emulator's configuration.";
    let body = upload(other.certificate_pem(), None);
    for answer in [
        cas.put("given", Some("*"), &body).await,
        cas.delete("given", Some("*")).await,
        cas.code("given", Some("*")).await,
        cas.verify("given", Some("*"), other.certificate_pem())
            .await,
    ] {
        assert_refused(&answer, 400_003, "BadRequest", message);
    }
    dps.create("/enrollmentGroups/contoso", &reference("given"))
        .await;
    assert_eq!(register(&dps, &given).await.status, 202);
}
