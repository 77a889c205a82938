//! `keyUsage`: an authority without `keyCertSign` signs nothing, and a device without `digitalSignature` is not a TLS client.

use dps_emulator::VerifiedCa;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};

use crate::common::{Dps, certificate_enrollment, certificate_group};

type Ca = CertifiedIssuer<'static, KeyPair>;

fn params(name: &str, usage: KeyUsagePurpose) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = Default::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![usage];
    params
}

fn ca_params(name: &str, usage: KeyUsagePurpose) -> CertificateParams {
    let mut params = params(name, usage);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn root() -> Ca {
    Ca::self_signed(ca_params("Root", KeyUsagePurpose::KeyCertSign), key()).expect("a CA")
}

/// A device certificate below the issuer, with its key.
fn device(issuer: &Ca, usage: KeyUsagePurpose) -> (String, String) {
    let key = key();
    let signed = params("dev-1", usage).signed_by(&key, issuer);
    (signed.expect("a certificate").pem(), key.serialize_pem())
}

#[tokio::test]
async fn a_device_whose_key_may_not_sign_is_refused() {
    let (dps, root) = (Dps::start().await, root());
    dps.create(
        "/enrollmentGroups/root",
        &certificate_group("root", &root.pem()),
    )
    .await;
    let (certificate, key) = device(&root, KeyUsagePurpose::KeyEncipherment);
    let answer = dps
        .device("dev-1")
        .identity(&certificate, &key)
        .register()
        .await;
    answer.assert_error(401_002, "Invalid certificate.");

    let enrollment = certificate_enrollment("dev-1", &certificate);
    dps.create("/enrollments/dev-1", &enrollment).await;
    let answer = dps
        .device("dev-1")
        .identity(&certificate, &key)
        .register()
        .await;
    answer.assert_error(401_002, "Invalid certificate.");
}

#[tokio::test]
async fn an_intermediate_that_may_not_sign_certificates_is_refused() {
    let (dps, root) = (Dps::start().await, root());
    dps.create(
        "/enrollmentGroups/root",
        &certificate_group("root", &root.pem()),
    )
    .await;
    for (usage, is_accepted) in [
        (KeyUsagePurpose::CrlSign, false),
        (KeyUsagePurpose::KeyCertSign, true),
    ] {
        let line = Ca::signed_by(ca_params("Line", usage), key(), &root).expect("a CA");
        let (certificate, key) = device(&line, KeyUsagePurpose::DigitalSignature);
        let chain = [certificate, line.pem()].concat();
        let answer = dps.device("dev-1").identity(&chain, &key).register().await;
        match is_accepted {
            true => assert_eq!(answer.status, 202, "{answer:?}"),
            false => answer.assert_error(401_002, "CA certificate not found."),
        }
    }
}

#[tokio::test]
async fn an_authority_that_may_not_sign_certificates_is_not_enrolled() {
    let dps = Dps::start().await;
    let ca = Ca::self_signed(ca_params("Root", KeyUsagePurpose::CrlSign), key()).expect("a CA");
    let path = "/enrollmentGroups/root";
    let answer = dps.put(path, &certificate_group("root", &ca.pem())).await;
    answer.assert_error(
        400_004,
        "The primary signing certificate cannot be used: its keyUsage does not allow it to sign certificates (keyCertSign).",
    );
    let error = VerifiedCa::from_pem("root", &ca.pem()).expect_err("a CA that may not sign");
    let cause = std::error::Error::source(&error)
        .expect("a cause")
        .to_string();
    assert!(cause.contains("keyCertSign"), "{cause}");
}
