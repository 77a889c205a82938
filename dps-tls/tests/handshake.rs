//! Real handshakes, in memory, with a server that requests the client's certificate.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use dps_tls::{ClientTls, Roots, certified_key, read_chain, read_key};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, CipherSuite, ClientConfig, ClientConnection, ProtocolVersion, RootCertStore,
    ServerConfig, ServerConnection, SignatureAlgorithm, SignatureScheme, SupportedProtocolVersion,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

const NAME: &str = "global.azure-devices-provisioning.net";
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

#[test]
fn the_server_sees_the_whole_chain() {
    let pki = Pki::new();
    for version in VERSIONS {
        let config = ClientTls::new(pki.roots())
            .with_identity(pki.identity())
            .build()
            .unwrap();
        let (client, server) = handshake(config, pki.server(version, true)).unwrap();

        assert_eq!(server.peer_certificates().unwrap(), pki.device_chain);
        assert_eq!(client.protocol_version(), Some(version.version));
        assert_eq!(client.alpn_protocol(), None);
    }
}

#[test]
fn the_newest_version_is_used() {
    let pki = Pki::new();
    let config = ClientTls::new(pki.roots()).build().unwrap();
    let (client, _) = handshake(config, pki.server_of(&VERSIONS, false)).unwrap();
    assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
}

#[test]
fn aes_128_is_offered_first_and_the_server_chooses() {
    let pki = Pki::new();
    let client = || ClientTls::new(pki.roots()).build().unwrap();
    let suite = |server| {
        let (client, _) = handshake(client(), server).unwrap();
        client.negotiated_cipher_suite().unwrap().suite()
    };
    let first = CipherSuite::TLS13_AES_128_GCM_SHA256;
    assert_eq!(suite(pki.server(&TLS13, false)), first);
    for other in ring::ALL_CIPHER_SUITES {
        let version = other.version();
        let mut provider = ring::default_provider();
        provider.cipher_suites = vec![*other];
        // The certificate of the server has an ECDSA key.
        if other.usable_for_signature_algorithm(SignatureAlgorithm::ECDSA) {
            let server = pki.server_with(provider, &[version], false);
            assert_eq!(suite(server), other.suite());
        }
    }
}

#[test]
fn a_key_in_hardware_can_sign() {
    let pki = Pki::new();
    let identity = pki.identity();
    for version in VERSIONS {
        let elsewhere = Arc::new(Elsewhere(identity.key.clone()));
        let config = ClientTls::new(pki.roots())
            .with_identity(CertifiedKey::new(identity.cert.clone(), elsewhere))
            .build()
            .unwrap();
        let (_, server) = handshake(config, pki.server(version, true)).unwrap();
        assert_eq!(server.peer_certificates().unwrap(), pki.device_chain);
    }
}

#[test]
fn without_an_identity_no_certificate_is_presented() {
    let pki = Pki::new();
    for version in VERSIONS {
        let config = || ClientTls::new(pki.roots()).build().unwrap();
        let (_, server) = handshake(config(), pki.server(version, false)).unwrap();
        assert!(server.peer_certificates().is_none());

        let error = handshake(config(), pki.server(version, true)).unwrap_err();
        assert_eq!(error, rustls::Error::NoCertificatesPresented);
    }
}

#[test]
fn a_server_under_another_root_is_refused() {
    let (pki, other) = (Pki::new(), Pki::new());
    for version in VERSIONS {
        let refused = ClientTls::new(other.roots()).build().unwrap();
        let error = handshake(refused, pki.server(version, false)).unwrap_err();
        assert!(matches!(
            error,
            rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature
            )
        ));

        let both = ClientTls::new(other.roots().and(pki.roots()))
            .build()
            .unwrap();
        handshake(both, pki.server(version, false)).unwrap();
    }
}

#[test]
fn no_process_wide_provider_is_installed() {
    let pki = Pki::new();
    ClientTls::new(pki.roots())
        .with_identity(pki.identity())
        .build()
        .unwrap();
    assert!(CryptoProvider::get_default().is_none());
}

/// A root, a device under an intermediate, and a server.
struct Pki {
    root: CertificateDer<'static>,
    device_chain: Vec<CertificateDer<'static>>,
    device_pem: String,
    device_key: KeyPair,
    server: CertificateDer<'static>,
    server_key: KeyPair,
}

impl Pki {
    fn new() -> Self {
        let key = || KeyPair::generate().unwrap();
        let root = CertifiedIssuer::self_signed(authority("root"), key()).unwrap();
        let intermediate =
            CertifiedIssuer::signed_by(authority("intermediate"), key(), &root).unwrap();
        let (device_key, server_key) = (key(), key());
        let device = named("device-1")
            .signed_by(&device_key, &intermediate)
            .unwrap();
        let server = CertificateParams::new([NAME.to_owned()])
            .unwrap()
            .signed_by(&server_key, &root)
            .unwrap();
        Self {
            root: root.der().clone(),
            device_chain: vec![device.der().clone(), intermediate.der().clone()],
            device_pem: device.pem() + &intermediate.pem(),
            device_key,
            server: server.der().clone(),
            server_key,
        }
    }

    fn roots(&self) -> Roots {
        Roots::from_der([self.root.clone()]).unwrap()
    }

    fn identity(&self) -> CertifiedKey {
        let chain = read_chain(self.device_pem.as_bytes()).unwrap();
        let key = read_key(self.device_key.serialize_pem().as_bytes()).unwrap();
        certified_key(chain, key).unwrap()
    }

    fn server(&self, version: &'static SupportedProtocolVersion, asks: bool) -> ServerConfig {
        self.server_of(&[version], asks)
    }

    fn server_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        asks: bool,
    ) -> ServerConfig {
        self.server_with(ring::default_provider(), versions, asks)
    }

    fn server_with(
        &self,
        provider: CryptoProvider,
        versions: &[&'static SupportedProtocolVersion],
        asks: bool,
    ) -> ServerConfig {
        let provider = Arc::new(provider);
        let config = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .unwrap();
        let config = if asks {
            let mut roots = RootCertStore::empty();
            roots.add(self.root.clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            config.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            config.with_no_client_auth()
        };
        let key = PrivateKeyDer::try_from(self.server_key.serialize_der()).unwrap();
        config
            .with_single_cert(vec![self.server.clone()], key)
            .unwrap()
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A key that signs and does not provide its public half, as a key in an HSM may.
#[derive(Debug)]
struct Elsewhere(Arc<dyn SigningKey>);

impl SigningKey for Elsewhere {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        self.0.choose_scheme(offered)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

/// Transfers bytes in both directions until both ends are done, or one of them fails.
fn handshake(
    client: ClientConfig,
    server: ServerConfig,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let name = NAME.try_into().unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets()?;
        }

        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok((client, server))
}
