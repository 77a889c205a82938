//! TLS handshakes with each version of TLS and each kind of key.

use std::sync::Arc;

use dps_device::tpm::{KeyKind, PersistentHandle, TpmKeyPair};
use dps_hardware::Swtpm;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SignatureScheme, SupportedProtocolVersion,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

use crate::authority::Authority;
use crate::{open, raw};

#[tokio::test]
async fn every_kind_of_key_signs_in_every_version_of_tls() {
    let swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    let authority = Authority::new();
    let kinds = [
        KeyKind::P256,
        KeyKind::P384,
        KeyKind::Rsa2048,
        KeyKind::Rsa3072,
    ];
    for (number, kind) in kinds.into_iter().enumerate() {
        let handle = 0x8100_0200 + u32::try_from(number).unwrap();
        let handle = PersistentHandle::new(handle).unwrap();
        let key = tpm
            .key_pair()
            .with_handle(handle)
            .create(kind)
            .await
            .unwrap();
        for version in [&TLS12, &TLS13] {
            let seen = handshake(&authority, &key, version).await;
            assert_eq!(seen, key.public_key(), "{kind:?} {version:?}");
        }
    }
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::test]
async fn an_rsa_key_offers_the_schemes_that_it_supports() {
    let swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    let key = tpm.key_pair().create(KeyKind::Rsa2048).await.unwrap();
    let identity = key
        .identity(Authority::new().sign(&request(&key).await))
        .unwrap();
    let signing = &identity.certified_key().key;
    for scheme in [
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::RSA_PKCS1_SHA256,
    ] {
        let signer = signing
            .choose_scheme(&[SignatureScheme::ED25519, scheme])
            .unwrap();
        assert_eq!(signer.scheme(), scheme);
        assert_eq!(signer.sign(b"message").unwrap().len(), 256);
    }
    for scheme in [
        SignatureScheme::RSA_PSS_SHA512,
        SignatureScheme::ECDSA_NISTP256_SHA256,
    ] {
        assert!(signing.choose_scheme(&[scheme]).is_none());
    }
}

/// Connects with a client certificate, and returns the public key that the server received.
async fn handshake(
    authority: &Authority,
    key: &TpmKeyPair,
    version: &'static SupportedProtocolVersion,
) -> Vec<u8> {
    let identity = key.identity(authority.sign(&request(key).await)).unwrap();
    let provider = Arc::new(ring::default_provider());
    let root = CertificateDer::from_pem_slice(authority.root_pem().as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());

    let server = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut server_roots = RootCertStore::empty();
    server_roots.add(server.cert.der().clone()).unwrap();
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![server.cert.der().clone()], server.signing_key.into())
        .unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(server_roots)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(
            identity.certified_key().clone(),
        )));

    let (near, far) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from("localhost").unwrap();
    let connect = TlsConnector::from(Arc::new(client)).connect(name, near);
    let accept = TlsAcceptor::from(Arc::new(server)).accept(far);
    let (connected, accepted) = tokio::join!(connect, accept);
    connected.unwrap();
    let accepted = accepted.unwrap();
    let shown = &accepted.get_ref().1.peer_certificates().unwrap()[0];
    let shown = Certificate::from_der(shown).unwrap();
    let shown = shown.tbs_certificate().subject_public_key_info();
    shown.to_der().unwrap()
}

async fn request(key: &TpmKeyPair) -> String {
    let id = "toaster-007".parse().unwrap();
    let request = key.certificate_request(&id).await.unwrap();
    assert!(request.starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
    request
}
