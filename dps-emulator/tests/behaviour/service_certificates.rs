//! Certificates in the service API: requests have their text, answers have their description.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dps_emulator::{CertificateAuthority, DeviceCredentials};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::json;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::common::{
    Dps, KEY_1, KEY_2, assert_timestamp, certificate_enrollment, certificate_group, key_enrollment,
    names,
};

#[tokio::test]
async fn an_answer_describes_the_certificate_without_its_text() {
    let dps = Dps::start().await;
    let credentials = DeviceCredentials::self_signed("dev-1").expect("a certificate");
    let pem = credentials.certificate_pem();
    let answer = dps
        .put("/enrollments/dev-1", &certificate_enrollment("dev-1", pem))
        .await;
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02X}")).collect::<String>();

    for answer in [answer, dps.get("/enrollments/dev-1").await] {
        let shown = answer.json();
        let certificates = &shown["attestation"]["x509"]["clientCertificates"];
        assert_eq!(names(certificates), ["primary"]);
        assert_eq!(names(&certificates["primary"]), ["info"]);
        let info = &certificates["primary"]["info"];
        assert_eq!(
            names(info),
            [
                "subjectName",
                "sha1Thumbprint",
                "sha256Thumbprint",
                "issuerName",
                "notBeforeUtc",
                "notAfterUtc",
                "serialNumber",
                "version",
            ]
        );
        assert_eq!(info["subjectName"], "CN=dev-1");
        assert_eq!(info["issuerName"], "CN=dev-1");
        assert_eq!(info["sha1Thumbprint"], hex(&Sha1::digest(&der)));
        assert_eq!(info["sha256Thumbprint"], hex(&Sha256::digest(&der)));
        assert_timestamp(&info["notBeforeUtc"]);
        assert_timestamp(&info["notAfterUtc"]);
        assert_eq!(info["version"], 3);
        assert!(!answer.text.contains("BEGIN"), "{}", answer.text);
        assert!(
            !answer.text.contains(&STANDARD.encode(&der)),
            "{}",
            answer.text
        );
    }
}

#[tokio::test]
async fn a_certificate_comes_as_pem_or_base64_of_der_or_of_pem() {
    let dps = Dps::start().await;
    let credentials = DeviceCredentials::self_signed("dev-1").expect("a certificate");
    let pem = credentials.certificate_pem();
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
    for text in [
        pem.to_owned(),
        pem.replace('\n', "\r\n"),
        STANDARD.encode(&der),
        STANDARD.encode(pem),
    ] {
        dps.delete("/enrollments/dev-1").await;
        dps.create(
            "/enrollments/dev-1",
            &certificate_enrollment("dev-1", &text),
        )
        .await;
        dps.device("dev-1")
            .certificate(&credentials)
            .assigned()
            .await;
    }
}

#[tokio::test]
async fn a_lone_signing_certificate_is_shown_as_the_secondary_too() {
    let dps = Dps::start().await;
    let root = CertificateAuthority::new("Contoso Root").expect("a CA");
    let group = certificate_group("contoso", root.certificate_pem());
    let created = dps.create("/enrollmentGroups/contoso", &group).await;
    let signing = &created["attestation"]["x509"]["signingCertificates"];
    assert_eq!(names(signing), ["primary", "secondary"]);
    assert_eq!(signing["primary"], signing["secondary"]);
    assert_eq!(signing["primary"]["info"]["subjectName"], "CN=Contoso Root");
    let read = dps.get("/enrollmentGroups/contoso").await.json();
    assert_eq!(read["attestation"], created["attestation"]);
    let shown = dps.attestation("/enrollmentGroups/contoso").await;
    assert_eq!(shown, created["attestation"]);
}

#[tokio::test]
async fn a_read_changed_and_written_enrollment_keeps_its_certificates() {
    let dps = Dps::start().await;
    let root = CertificateAuthority::new("Contoso Root").expect("a CA");
    let credentials = root.issue("dev-1").expect("a certificate");
    let single = certificate_enrollment("dev-1", credentials.certificate_pem());
    let group = certificate_group("contoso", root.certificate_pem());
    for (path, document) in [
        ("/enrollments/dev-1", single),
        ("/enrollmentGroups/contoso", group),
    ] {
        let created = dps.create(path, &document).await;
        let mut document = dps.get(path).await.json();
        document["capabilities"] = json!({ "iotEdge": true });
        let answer = dps.put_if(path, "*", &document).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["attestation"], created["attestation"]);
        let device = dps.device("dev-1").certificate(&credentials);
        device.assigned().await;
        dps.delete(path).await;
    }
}

#[tokio::test]
async fn the_type_of_attestation_can_be_changed() {
    let dps = Dps::start().await;
    let credentials = DeviceCredentials::self_signed("dev-1").expect("a certificate");
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    let changed = certificate_enrollment("dev-1", credentials.certificate_pem());
    assert_eq!(
        dps.put_if("/enrollments/dev-1", "*", &changed).await.status,
        200
    );
    dps.device("dev-1")
        .certificate(&credentials)
        .assigned()
        .await;
    assert_eq!(dps.device("dev-1").key(KEY_1).register().await.status, 401);
}
