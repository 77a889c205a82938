//! Chains and keys in every supported format, and in formats that are refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::error::Error as _;
use std::sync::Arc;

use dps_tls::{ClientTls, Error, ErrorKind, Roots, certified_key, read_chain, read_key};
use rustls::sign::CertifiedKey;
use rustls_pki_types::PrivateKeyDer;

const EC_SEC1: &[u8] = include_bytes!("keys/ec-sec1.pem");
const EC_SEC1_WITH_PARAMETERS: &[u8] = include_bytes!("keys/ec-sec1-with-parameters.pem");
const EC_PKCS8: &[u8] = include_bytes!("keys/ec-pkcs8.pem");
const EC_ENCRYPTED: &[u8] = include_bytes!("keys/ec-encrypted.pem");
const EC_ENCRYPTED_LEGACY: &[u8] = include_bytes!("keys/ec-encrypted-legacy.pem");
const EC_CERTIFICATE: &[u8] = include_bytes!("keys/ec-certificate.pem");
const RSA_PKCS1: &[u8] = include_bytes!("keys/rsa-pkcs1.pem");
const RSA_PKCS8: &[u8] = include_bytes!("keys/rsa-pkcs8.pem");
const RSA_CERTIFICATE: &[u8] = include_bytes!("keys/rsa-certificate.pem");
const P521_PKCS8: &[u8] = include_bytes!("keys/p521-pkcs8.pem");
const P521_CERTIFICATE: &[u8] = include_bytes!("keys/p521-certificate.pem");

#[derive(Debug, PartialEq)]
enum Format {
    Pkcs8,
    Sec1,
    Pkcs1,
}

#[test]
fn every_key_format_is_read_as_pem_and_as_der_and_fits_its_certificate() {
    for (pem, certificate, format) in [
        (EC_SEC1, EC_CERTIFICATE, Format::Sec1),
        (EC_SEC1_WITH_PARAMETERS, EC_CERTIFICATE, Format::Sec1),
        (EC_PKCS8, EC_CERTIFICATE, Format::Pkcs8),
        (RSA_PKCS1, RSA_CERTIFICATE, Format::Pkcs1),
        (RSA_PKCS8, RSA_CERTIFICATE, Format::Pkcs8),
    ] {
        let chain = read_chain(certificate).unwrap();
        let from_pem = read_key(pem).unwrap();
        assert_eq!(format_of(&from_pem), format);

        let from_der = read_key(from_pem.secret_der()).unwrap();
        assert_eq!(from_der, from_pem);

        certified_key(chain.clone(), from_pem).unwrap();
        certified_key(chain, from_der).unwrap();
    }
}

#[test]
fn ed25519_and_p384_keys_fit_their_certificates() {
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let certificate = rcgen::CertificateParams::default()
            .self_signed(&key)
            .unwrap();
        let chain = read_chain(certificate.der()).unwrap();
        certified_key(chain, read_key(key.serialize_pem().as_bytes()).unwrap()).unwrap();
    }
}

#[test]
fn certificates_and_key_may_share_a_file() {
    let file = [RSA_CERTIFICATE, EC_SEC1_WITH_PARAMETERS, EC_CERTIFICATE].concat();
    let chain = read_chain(&file).unwrap();
    assert_eq!(
        chain,
        [
            read_chain(RSA_CERTIFICATE).unwrap(),
            read_chain(EC_CERTIFICATE).unwrap()
        ]
        .concat()
    );
    assert_eq!(read_key(&file).unwrap(), read_key(EC_SEC1).unwrap());
}

#[test]
fn one_der_certificate_is_a_chain() {
    let chain = read_chain(EC_CERTIFICATE).unwrap();
    assert_eq!(read_chain(&chain[0]).unwrap(), chain);
}

#[test]
fn bad_chains_are_refused() {
    let key = read_key(EC_SEC1).unwrap();
    let truncated = &EC_CERTIFICATE[..EC_CERTIFICATE.len() / 2];
    for (input, kind) in [
        (b"".as_slice(), ErrorKind::NoCertificate),
        (EC_SEC1, ErrorKind::NoCertificate),
        (truncated, ErrorKind::MalformedCertificate),
        (b"garbage", ErrorKind::MalformedCertificate),
        (key.secret_der(), ErrorKind::NoCertificate),
    ] {
        assert_eq!(read_chain(input).unwrap_err().kind(), kind);
    }
}

#[test]
fn bad_keys_are_refused() {
    let certificate = read_chain(EC_CERTIFICATE).unwrap().remove(0);
    let truncated = &EC_PKCS8[..EC_PKCS8.len() / 2];
    let hollow = b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n";
    for (input, kind) in [
        (b"".as_slice(), ErrorKind::NoKey),
        (EC_CERTIFICATE, ErrorKind::NoKey),
        (&certificate, ErrorKind::NoKey),
        (b"garbage", ErrorKind::MalformedKey),
        (truncated, ErrorKind::MalformedKey),
        (hollow, ErrorKind::MalformedKey),
    ] {
        assert_eq!(read_key(input).unwrap_err().kind(), kind);
    }
}

#[test]
fn the_error_of_an_encrypted_key_is_to_decrypt_it_first() {
    let der = body(EC_ENCRYPTED);
    for input in [EC_ENCRYPTED, EC_ENCRYPTED_LEGACY, &der] {
        let error = read_key(input).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::EncryptedKey);
        assert!(error.to_string().contains("decrypt it first"));
    }
}

#[test]
fn a_key_and_a_chain_must_belong_together() {
    let mismatch = join(RSA_CERTIFICATE, EC_SEC1).unwrap_err();
    assert_eq!(mismatch.kind(), ErrorKind::KeyMismatch);

    let empty = certified_key(Vec::new(), read_key(EC_SEC1).unwrap()).unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::NoCertificate);

    let malformed =
        certified_key(vec![b"garbage".to_vec().into()], read_key(EC_SEC1).unwrap()).unwrap_err();
    assert_eq!(malformed.kind(), ErrorKind::MalformedCertificate);
}

#[test]
fn the_error_of_an_unsupported_or_damaged_key_names_what_is_supported() {
    let curve = join(P521_CERTIFICATE, P521_PKCS8).unwrap_err();
    assert_eq!(curve.kind(), ErrorKind::UnsupportedKey);
    assert!(curve.to_string().contains("P-384"));

    let damaged = read_key(b"\x30\x05\x02\x01\x00\x30\x00").unwrap();
    let damaged = certified_key(read_chain(EC_CERTIFICATE).unwrap(), damaged).unwrap_err();
    assert_eq!(damaged.kind(), ErrorKind::UnsupportedKey);
}

#[test]
fn an_identity_made_elsewhere_is_checked_when_the_configuration_is_built() {
    let ours = join(EC_CERTIFICATE, EC_SEC1).unwrap();
    let build = |identity: CertifiedKey| {
        ClientTls::new(Roots::from_pem(EC_CERTIFICATE).unwrap())
            .with_identity(identity)
            .build()
    };

    let mismatch = CertifiedKey::new(read_chain(RSA_CERTIFICATE).unwrap(), ours.key.clone());
    assert_eq!(build(mismatch).unwrap_err().kind(), ErrorKind::KeyMismatch);
    let empty = CertifiedKey::new(Vec::new(), ours.key.clone());
    assert_eq!(build(empty).unwrap_err().kind(), ErrorKind::NoCertificate);
    build(ours).unwrap();
}

#[test]
fn nothing_shows_the_key() {
    let key = read_key(EC_SEC1).unwrap();
    let secrets = secrets(&key);
    let identity = join(EC_CERTIFICATE, EC_SEC1).unwrap();
    let tls = ClientTls::new(Roots::from_pem(EC_CERTIFICATE).unwrap())
        .with_identity(Arc::new(identity.clone()));

    assert_hidden(&format!("{key:?}"), &secrets);
    assert_hidden(&format!("{identity:?}"), &secrets);
    assert_hidden(&format!("{tls:?}"), &secrets);
    assert_hidden(&format!("{:?}", tls.build().unwrap()), &secrets);
}

#[test]
fn no_error_quotes_the_key() {
    let pem = str::from_utf8(EC_SEC1).unwrap();
    let secrets = secrets(&read_key(EC_SEC1).unwrap());
    for input in [
        pem.replace('\n', "\\x"),
        pem.replace("-----\n", "----"),
        pem.replace("-----END", "?\n-----END"),
        pem.replace("-----END", "-----AND"),
    ] {
        for error in [
            read_key(input.as_bytes()).unwrap_err(),
            read_chain(input.as_bytes()).unwrap_err(),
            Roots::from_pem(&input).unwrap_err(),
        ] {
            assert_hidden(&format!("{error} {error:?}"), &secrets);
            assert!(error.source().is_none(), "{input}");
        }
    }
}

fn join(certificate: &[u8], key: &[u8]) -> Result<CertifiedKey, Error> {
    certified_key(read_chain(certificate)?, read_key(key)?)
}

fn format_of(key: &PrivateKeyDer<'_>) -> Format {
    match key {
        PrivateKeyDer::Pkcs8(_) => Format::Pkcs8,
        PrivateKeyDer::Sec1(_) => Format::Sec1,
        PrivateKeyDer::Pkcs1(_) => Format::Pkcs1,
        _ => panic!("an unexpected format"),
    }
}

/// The key as it may turn up in a text: the base64 of its first line, and its bytes as text, a list and hexadecimal.
fn secrets(key: &PrivateKeyDer<'_>) -> Vec<String> {
    let line = str::from_utf8(EC_SEC1).unwrap().lines().nth(1).unwrap();
    let scalar = &key.secret_der()[7..15];
    let list = format!("{scalar:?}");
    let line_list = format!("{:?}", &line.as_bytes()[..8]);
    vec![
        line[..16].to_owned(),
        list.trim_matches(['[', ']']).to_owned(),
        line_list.trim_matches(['[', ']']).to_owned(),
        scalar.iter().map(|byte| format!("{byte:02x}")).collect(),
    ]
}

fn assert_hidden(shown: &str, secrets: &[String]) {
    for secret in secrets {
        assert!(!shown.contains(secret), "{shown}");
    }
}

/// The DER in a block that the reader refuses, read under another label.
fn body(pem: &[u8]) -> Vec<u8> {
    use rustls_pki_types::pem::{PemObject, SectionKind};

    let renamed = str::from_utf8(pem)
        .unwrap()
        .replace("ENCRYPTED PRIVATE KEY", "PUBLIC KEY");
    <(SectionKind, Vec<u8>)>::from_pem_slice(renamed.as_bytes())
        .unwrap()
        .1
}
