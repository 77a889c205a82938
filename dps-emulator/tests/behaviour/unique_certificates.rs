//! A client certificate belongs to one individual enrollment, a signing certificate to one group.

use dps_emulator::{CertificateAuthority, DeviceCredentials};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{
    Answer, Dps, KEY_1, KEY_2, certificate_enrollment, certificate_group, key_enrollment,
};

const USED_BY_DEV_1: &str = "The certificate is already used by the enrollment 'dev-1'.";

fn certificate() -> String {
    let credentials = DeviceCredentials::self_signed("dev-1").expect("a certificate");
    credentials.certificate_pem().to_owned()
}

/// An enrollment with two certificates.
fn pair(id: &str, primary: &str, secondary: &str) -> Value {
    let mut document = certificate_enrollment(id, primary);
    document["attestation"]["x509"]["clientCertificates"]["secondary"] =
        json!({ "certificate": secondary });
    document
}

#[tokio::test]
async fn two_individuals_cannot_have_one_certificate() {
    let (dps, pem, other) = (Dps::start().await, certificate(), certificate());
    dps.create("/enrollments/dev-1", &pair("dev-1", &pem, &other))
        .await;
    for document in [
        certificate_enrollment("dev-2", &pem),
        certificate_enrollment("dev-2", &other),
        pair("dev-2", &certificate(), &pem),
    ] {
        let answer = dps.put("/enrollments/dev-2", &document).await;
        answer.assert_error(400_004, USED_BY_DEV_1);
        assert_eq!(dps.get("/enrollments/dev-2").await.status, 404);
    }
    // A refused enrollment reserves no certificate.
    dps.create(
        "/enrollments/dev-3",
        &certificate_enrollment("dev-3", &certificate()),
    )
    .await;
}

#[tokio::test]
async fn two_groups_cannot_have_one_signer() {
    let dps = Dps::start().await;
    let root = CertificateAuthority::new("Contoso Root").expect("a CA");
    let pem = root.certificate_pem();
    dps.create("/enrollmentGroups/a", &certificate_group("a", pem))
        .await;
    let answer = dps
        .put("/enrollmentGroups/b", &certificate_group("b", pem))
        .await;
    let message = "The certificate is already used by the enrollment 'a'.";
    answer.assert_error(400_004, message);
    // Individual enrollments have their own index.
    dps.create("/enrollments/dev-1", &certificate_enrollment("dev-1", pem))
        .await;
}

#[tokio::test]
async fn an_enrollment_can_be_updated_with_its_own_certificate() {
    let (dps, pem, next) = (Dps::start().await, certificate(), certificate());
    let path = "/enrollments/dev-1";
    dps.create(path, &certificate_enrollment("dev-1", &pem))
        .await;
    for document in [
        certificate_enrollment("dev-1", &pem),
        pair("dev-1", &pem, &next),
        pair("dev-1", &next, &pem),
        pair("dev-1", &pem, &pem),
    ] {
        let answer = dps.put_if(path, "*", &document).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // As a query returns it: without the certificate's text.
    let shown = dps.get(path).await.json();
    assert_eq!(dps.put_if(path, "*", &shown).await.status, 200);
    let answer = dps
        .put("/enrollments/dev-2", &certificate_enrollment("dev-2", &pem))
        .await;
    answer.assert_error(400_004, USED_BY_DEV_1);
}

#[tokio::test]
async fn a_removed_certificate_can_be_used_again() {
    let (dps, pem, next) = (Dps::start().await, certificate(), certificate());
    let path = "/enrollments/dev-1";
    let free = async || {
        let other = certificate_enrollment("dev-2", &pem);
        dps.create("/enrollments/dev-2", &other).await;
        dps.delete("/enrollments/dev-2").await;
    };
    dps.create(path, &certificate_enrollment("dev-1", &pem))
        .await;
    for document in [
        certificate_enrollment("dev-1", &next),
        key_enrollment("dev-1", KEY_1, KEY_2),
    ] {
        let mine = certificate_enrollment("dev-1", &pem);
        assert_eq!(dps.put_if(path, "*", &mine).await.status, 200);
        assert_eq!(dps.put_if(path, "*", &document).await.status, 200);
        free().await;
    }
    let mine = certificate_enrollment("dev-1", &pem);
    assert_eq!(dps.put_if(path, "*", &mine).await.status, 200);
    dps.delete(path).await;
    free().await;
}

#[tokio::test]
async fn one_of_many_concurrent_enrollments_gets_the_certificate() {
    let (dps, pem) = (Dps::start().await, certificate());
    let documents: Vec<Value> = (0..10)
        .map(|number| certificate_enrollment(&format!("dev-{number}"), &pem))
        .collect();
    let body = json!({ "enrollments": documents, "mode": "create" });
    let answer = Answer::to(dps.service("POST", "/enrollments").json(&body)).await;
    let errors = answer.json()["errors"].take();
    let errors = errors.as_array().expect("a list");
    assert_eq!(errors.len(), 9, "{answer:?}");
    assert!(errors.iter().all(|error| error["errorCode"] == 400_004));
}

#[tokio::test]
async fn the_index_survives_a_restart() {
    let (dir, pem) = (TempDir::new().expect("a directory"), certificate());
    let start = || Dps::start_with(|builder| builder.data_dir(dir.path()));
    let dps = start().await;
    dps.create("/enrollments/dev-1", &certificate_enrollment("dev-1", &pem))
        .await;
    dps.emulator.shutdown().await;
    let dps = start().await;
    let answer = dps
        .put("/enrollments/dev-2", &certificate_enrollment("dev-2", &pem))
        .await;
    answer.assert_error(400_004, USED_BY_DEV_1);
}
