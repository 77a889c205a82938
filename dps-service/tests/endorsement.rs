//! Certificates of endorsement keys, right and wrong.
#![cfg(feature = "endorsement")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, SystemTime};

use dps_service::{CertifiedTpm, EndorsementFault, EndorsementVerifier, Error, ErrorKind};
use dps_types::tpm::TpmPublic;
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256,
    PublicKeyData, SignatureAlgorithm, date_time_ymd,
};

/// 2.23.133.8.1, tcg-kp-EKCertificate.
const ENDORSEMENT: &[u64] = &[2, 23, 133, 8, 1];
const SUBJECT_ALTERNATIVE_NAME: &[u64] = &[2, 5, 29, 17];
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An RSA key whose modulus consists of one byte.
struct RsaKey(Vec<u8>);

impl RsaKey {
    fn new(modulus: u8) -> Self {
        // RSAPublicKey: modulus and exponent.
        let header = [0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00];
        Self([&header[..], &[modulus; 256], &[2, 3, 1, 0, 1]].concat())
    }
}

impl PublicKeyData for RsaKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

/// The policy of the TCG's template L-1, which `TPM2_PolicySecret` with the endorsement hierarchy satisfies.
const POLICY: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
    0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];

/// The endorsement key with this modulus, as a TPM presents it.
fn endorsement_key(modulus: u8) -> TpmPublic {
    key_with(0xb2, &POLICY, modulus)
}

/// A key with this last byte of its attributes, this policy and this modulus.
fn key_with(attributes: u8, policy: &[u8], modulus: u8) -> TpmPublic {
    let length = u8::try_from(policy.len()).unwrap();
    let area = [
        // RSA, SHA-256, the attributes, the policy, AES-128-CFB, no scheme, 2048 bits, the default exponent, the modulus.
        &[0, 1, 0, 0x0b, 0, 3, 0, attributes, 0, length][..],
        policy,
        &[0, 6, 0, 0x80, 0, 0x43, 0, 0x10, 8, 0, 0, 0, 0, 0, 1, 0],
        &[modulus; 256],
    ]
    .concat();
    let length = u16::try_from(area.len()).unwrap().to_be_bytes();
    TpmPublic::parse(&[&length[..], &area].concat()).unwrap()
}

struct Manufacturer {
    root: CertifiedIssuer<'static, KeyPair>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
}

impl Manufacturer {
    fn new() -> Self {
        let key = || KeyPair::generate().unwrap();
        let root = CertifiedIssuer::self_signed(authority("TPM Root"), key()).unwrap();
        let intermediate =
            CertifiedIssuer::signed_by(authority("TPM Intermediate"), key(), &root).unwrap();
        Self { root, intermediate }
    }

    fn verifier(&self) -> EndorsementVerifier {
        let verifier = EndorsementVerifier::new(self.root.pem()).unwrap();
        verifier
            .with_intermediates(self.intermediate.pem())
            .unwrap()
    }

    fn certify(&self, edit: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        certify(&self.intermediate, edit)
    }
}

/// The certificate of the endorsement key 0xc5, from this issuer.
fn certify(
    issuer: &CertifiedIssuer<'static, KeyPair>,
    edit: impl FnOnce(&mut CertificateParams),
) -> Vec<u8> {
    let mut params = params("");
    params.distinguished_name = DistinguishedName::new();
    params.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(ENDORSEMENT.to_vec())];
    params.custom_extensions = vec![tpm_name(&[
        (1, "id:49465800"),
        (2, "SLB 9670"),
        (3, "id:0000072B"),
    ])];
    edit(&mut params);
    let certificate = params.signed_by(&RsaKey::new(0xc5), issuer);
    certificate.unwrap().der().to_vec()
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2026, 11, 1);
    params.not_after = date_time_ymd(2036, 11, 1);
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    assert!(length < 0x80);
    [&[tag, length], content].concat()
}

/// A critical subject alternative name with a directory name of these attributes 2.23.133.2.N.
fn tpm_name(attributes: &[(u8, &str)]) -> CustomExtension {
    let attribute = |(number, text): &(u8, &str)| {
        let oid = der(0x06, &[0x67, 0x81, 0x05, 0x02, *number]);
        let pair = der(0x30, &[oid, der(0x0c, text.as_bytes())].concat());
        der(0x31, &pair)
    };
    let name = der(
        0x30,
        &attributes.iter().flat_map(attribute).collect::<Vec<_>>(),
    );
    let content = der(0x30, &der(0xa4, &name));
    let mut extension = CustomExtension::from_oid_content(SUBJECT_ALTERNATIVE_NAME, content);
    extension.set_criticality(true);
    extension
}

fn now() -> SystemTime {
    // 27 November 2026.
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_737_600)
}

fn fault(result: Result<CertifiedTpm, Error>) -> EndorsementFault {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Endorsement);
    assert!(!error.is_retryable());
    let source = std::error::Error::source(&error).unwrap();
    source.downcast_ref::<EndorsementFault>().unwrap().clone()
}

#[test]
fn a_certified_key_is_confirmed_and_its_tpm_is_described() {
    let manufacturer = Manufacturer::new();
    let certificate = manufacturer.certify(|_| {});
    let key = endorsement_key(0xc5);
    let tpm = manufacturer
        .verifier()
        .verify(&key, &certificate, now())
        .unwrap();
    assert_eq!(tpm.manufacturer(), "IFX");
    assert_eq!(tpm.model(), "SLB 9670");
    assert_eq!(tpm.version(), "id:0000072B");
    assert_eq!(tpm.not_after().to_string(), "2036-11-01T00:00:00Z");

    // As it is in the memory of a TPM, and with its intermediate.
    let root = EndorsementVerifier::new(manufacturer.root.pem()).unwrap();
    let chain = [
        &certificate[..],
        manufacturer.intermediate.der(),
        &[0xff; 40],
    ]
    .concat();
    assert_eq!(root.verify(&key, chain, now()).unwrap(), tpm);
}

#[test]
fn the_certificate_of_another_key_is_refused() {
    let manufacturer = Manufacturer::new();
    let certificate = manufacturer.certify(|_| {});
    let verifier = manufacturer.verifier();
    let other = verifier.verify(&endorsement_key(0xc6), &certificate, now());
    assert_eq!(fault(other), EndorsementFault::OtherKey);

    // The key in the certificate is not an RSA key.
    let elliptic = manufacturer.intermediate.der().to_vec();
    let other = verifier.verify(&endorsement_key(0xc5), elliptic, now());
    assert_eq!(fault(other), EndorsementFault::OtherKey);
}

/// With the certificate of one endorsement key, a TPM must not be enrolled several times.
#[test]
fn a_key_of_another_template_is_refused_even_with_the_same_modulus() {
    let manufacturer = Manufacturer::new();
    let certificate = manufacturer.certify(|_| {});
    let verifier = manufacturer.verifier();
    let verify = |key| verifier.verify(&key, &certificate, now());
    verify(key_with(0xb2, &POLICY, 0xc5)).unwrap();
    for key in [
        key_with(0xb2, &[], 0xc5),
        key_with(0xb2, &[0x83; 32], 0xc5),
        key_with(0xf2, &POLICY, 0xc5),
    ] {
        assert_eq!(fault(verify(key)), EndorsementFault::OtherKey);
    }
}

#[test]
fn a_certificate_of_another_manufacturer_is_refused() {
    let (manufacturer, other) = (Manufacturer::new(), Manufacturer::new());
    let certificate = manufacturer.certify(|_| {});
    let key = endorsement_key(0xc5);
    for verifier in [
        other.verifier(),
        // The intermediate is missing.
        EndorsementVerifier::new(manufacturer.root.pem()).unwrap(),
        // An intermediate is not trusted by itself.
        other
            .verifier()
            .with_intermediates(manufacturer.intermediate.pem())
            .unwrap(),
    ] {
        let refused = fault(verifier.verify(&key, &certificate, now()));
        assert!(
            matches!(refused, EndorsementFault::Untrusted { .. }),
            "{refused}"
        );
    }
}

#[test]
fn a_certificate_is_valid_only_in_its_time() {
    let manufacturer = Manufacturer::new();
    let (certificate, key) = (manufacturer.certify(|_| {}), endorsement_key(0xc5));
    let verifier = manufacturer.verifier();
    let early = fault(verifier.verify(&key, &certificate, now() - 30 * DAY));
    assert!(matches!(early, EndorsementFault::NotYetValid(_)), "{early}");
    let late = fault(verifier.verify(&key, &certificate, now() + 3650 * DAY));
    assert!(matches!(late, EndorsementFault::Expired(_)), "{late}");
    assert_eq!(
        late.to_string(),
        "the certificate expired at 2036-11-01T00:00:00Z"
    );

    // Its issuer is not valid any more.
    let certificate = manufacturer.certify(|params| params.not_after = date_time_ymd(2040, 1, 1));
    let late = fault(verifier.verify(&key, &certificate, now() + 3700 * DAY));
    assert!(matches!(late, EndorsementFault::Untrusted { .. }), "{late}");
}

#[test]
fn a_certificate_for_another_use_is_refused() {
    let manufacturer = Manufacturer::new();
    let refused = |missing: &str, edit: fn(&mut CertificateParams)| {
        let certificate = manufacturer.certify(edit);
        let verifier = manufacturer.verifier();
        let fault = fault(verifier.verify(&endorsement_key(0xc5), certificate, now()));
        assert!(
            matches!(fault, EndorsementFault::NotForEndorsement { .. }),
            "{fault}"
        );
        assert!(fault.to_string().contains(missing), "{fault}");
    };
    refused("extended key usage", |params| {
        params.extended_key_usages.clear();
    });
    refused("extended key usage", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    refused("certification authority", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    refused("keyEncipherment", |params| params.key_usages.clear());
    refused("keyEncipherment", |params| {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    });
    refused("alternative name is missing", |params| {
        params.custom_extensions.clear();
    });
    refused("no model", |params| {
        params.custom_extensions = vec![tpm_name(&[(1, "id:49465800"), (3, "id:13")])];
    });
    refused("no manufacturer", |params| {
        params.custom_extensions = vec![tpm_name(&[])];
    });
}

#[test]
fn an_intermediate_must_be_an_authority() {
    let manufacturer = Manufacturer::new();
    let below = |params: CertificateParams| {
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::signed_by(params, key, &manufacturer.intermediate).unwrap();
        let chain = [&certify(&issuer, |_| {})[..], issuer.der()].concat();
        manufacturer
            .verifier()
            .verify(&endorsement_key(0xc5), chain, now())
    };
    below(authority("another intermediate")).unwrap();
    let refused = fault(below(params("a device")));
    assert!(
        matches!(refused, EndorsementFault::Untrusted { .. }),
        "{refused}"
    );
}

#[test]
fn other_content_than_a_certificate_is_refused() {
    let verifier = Manufacturer::new().verifier();
    for bytes in [&b""[..], b"text", &[0x30, 3, 2, 1, 1], &[0xff; 100]] {
        let refused = fault(verifier.verify(&endorsement_key(0xc5), bytes, now()));
        assert!(
            matches!(refused, EndorsementFault::Malformed { .. }),
            "{refused}"
        );
    }
    let error = EndorsementVerifier::new("no roots").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    let error = verifier.with_intermediates("none").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
}

proptest! {
    #[test]
    fn a_certificate_that_was_changed_anywhere_is_refused(at: prop::sample::Index, bits in 1..=u8::MAX) {
        let manufacturer = Manufacturer::new();
        let mut certificate = manufacturer.certify(|_| {});
        let at = at.index(certificate.len());
        certificate[at] ^= bits;
        fault(manufacturer.verifier().verify(&endorsement_key(0xc5), certificate, now()));
    }
}
