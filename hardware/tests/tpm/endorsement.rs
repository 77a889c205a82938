//! A TPM as its manufacturer delivers it: the endorsement keys, their certificates, and the check of the back end.

use std::time::SystemTime;

use dps_device::tpm::{NvIndex, NvProblem, PersistentHandle, Tpm, TpmAttestation};
use dps_device::{Attestation, ErrorKind};
use dps_hardware::Swtpm;
use dps_service::{EndorsementFault, EndorsementVerifier};
use dps_types::tpm::TpmPublic;

use crate::dps::{Dps, HUB};
use crate::{cause, chain, open, options, raw};

fn verifier(swtpm: &Swtpm) -> EndorsementVerifier {
    let (root, intermediate) = swtpm.manufacturer();
    let verifier = EndorsementVerifier::new(root).unwrap();
    verifier.with_intermediates(intermediate).unwrap()
}

async fn certificate(tpm: &Tpm) -> Vec<u8> {
    let index = NvIndex::RSA_ENDORSEMENT_CERTIFICATE;
    let certificate = tpm.endorsement_certificate(index).await.unwrap();
    certificate.expect("a certificate").to_vec()
}

#[tokio::test]
async fn a_device_is_enrolled_after_the_check_of_its_certificate() {
    let swtpm = Swtpm::manufactured();
    let tpm = open(&swtpm).await;
    let who = TpmAttestation::new(&tpm).await.unwrap();
    let key = who.endorsement_key().clone();

    let certified = verifier(&swtpm)
        .verify(&key, certificate(&tpm).await, SystemTime::now())
        .unwrap();
    // The number of IBM, which is not text.
    assert_eq!(certified.manufacturer(), "id:00001014");
    assert_eq!(certified.model(), "swtpm");
    let dps = Dps::start().await;
    dps.enroll(who.registration_id(), &key).await;
    let assignment = dps.client(who).register().await.unwrap();
    assert_eq!(assignment.hub().as_str(), HUB);
    assert!(raw::left_behind(&swtpm).is_empty());
    dps.shutdown().await;
}

#[tokio::test]
async fn the_certificate_of_another_tpm_or_manufacturer_does_not_confirm_a_key() {
    let (swtpm, other) = (Swtpm::manufactured(), Swtpm::manufactured());
    let (tpm, other_tpm) = (open(&swtpm).await, open(&other).await);
    let who = TpmAttestation::new(&tpm).await.unwrap();
    let check = |verifier: EndorsementVerifier, certificate: Vec<u8>| {
        let checked = verifier.verify(who.endorsement_key(), certificate, SystemTime::now());
        let error = checked.unwrap_err();
        let fault = std::error::Error::source(&error).unwrap();
        fault.downcast_ref::<EndorsementFault>().unwrap().clone()
    };
    let of_other = check(verifier(&other), certificate(&other_tpm).await);
    assert_eq!(of_other, EndorsementFault::OtherKey);
    let by_other = check(verifier(&other), certificate(&tpm).await);
    assert!(
        matches!(by_other, EndorsementFault::Untrusted { .. }),
        "{by_other}"
    );
}

#[tokio::test]
async fn a_tpm_without_a_certificate_has_none() {
    let swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    let index = NvIndex::RSA_ENDORSEMENT_CERTIFICATE;
    assert_eq!(tpm.endorsement_certificate(index).await.unwrap(), None);

    // Content that is not a certificate.
    let elsewhere = NvIndex::new(0x0180_0400).unwrap();
    assert!(raw::define(&swtpm, elsewhere.value(), 0x0206_0002, 8));
    raw::write(&swtpm, elsewhere.value(), 0, b"12345678");
    let error = tpm.endorsement_certificate(elsewhere).await.unwrap_err();
    assert_eq!(cause(&error).nv_problem(), Some(NvProblem::Content));
}

/// DPS encrypts the challenge to an RSA key. The reason is in the error.
#[tokio::test]
async fn an_elliptic_endorsement_key_is_refused_with_the_reason() {
    let swtpm = Swtpm::manufactured();
    let elliptic = PersistentHandle::new(0x8101_0016).unwrap();
    let tpm = Tpm::open(options(&swtpm).with_endorsement_key(elliptic))
        .await
        .unwrap();
    let error = TpmAttestation::new(&tpm).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    let text = chain(&error);
    assert!(
        text.contains("0x81010016") && text.contains("an elliptic curve key"),
        "{text}"
    );

    // The certificate of that key can be read, but it is for a P-384 key.
    let index = NvIndex::new(0x01c0_0016).unwrap();
    let certificate = tpm.endorsement_certificate(index).await.unwrap().unwrap();
    let rsa = TpmAttestation::new(&open(&swtpm).await).await.unwrap();
    let checked = verifier(&swtpm).verify(rsa.endorsement_key(), certificate, SystemTime::now());
    let error = checked.unwrap_err();
    assert_eq!(error.kind(), dps_service::ErrorKind::Endorsement);
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[test]
fn an_elliptic_endorsement_key_is_not_a_key_for_an_enrollment() {
    // TPM2B_PUBLIC of a P-256 endorsement key of the TCG's template L-2: ECC, SHA-256, the attributes, the policy, AES-128-CFB, no
    // scheme, the curve, no key derivation, and a point.
    let key = "AHoAIwALAAMAsgAgBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcABgCAAEMAEAADABAAIAEBAQEBAQEBAQEBAQEBAQEB\
               AQEBAQEBAQEBAQEBAQEBACACAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg==";
    let error = TpmPublic::from_base64(key).unwrap_err();
    assert!(
        error.to_string().contains("an elliptic curve key"),
        "{error}"
    );
}
