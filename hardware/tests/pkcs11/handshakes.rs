//! TLS handshakes with each version of TLS, each kind of key and each signature scheme.

use std::sync::Arc;

use cryptoki::mechanism::MechanismType;
use dps_device::ClientIdentity;
use dps_device::pkcs11::KeyKind;
use rustls::client::ResolvesClientCert;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, SignatureScheme,
    SupportedProtocolVersion,
};

use crate::authority::Authority;
use crate::capabilities::mechanism;
use crate::setup::{alone, object, skipped, token};

/// The signature schemes of RSA: TLS 1.2 allows all of them, TLS 1.3 only PSS.
pub(crate) const PKCS1: [SignatureScheme; 3] = [
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];
pub(crate) const PSS: [SignatureScheme; 3] = [
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
];

#[test]
fn p256() {
    alone(|| async {
        let device = Device::new(KeyKind::P256).await;
        let scheme = SignatureScheme::ECDSA_NISTP256_SHA256;
        device.connects_with(&TLS12, &[scheme]);
        device.connects_with(&TLS13, &[scheme]);
    });
}

#[test]
fn p384() {
    alone(|| async {
        let device = Device::new(KeyKind::P384).await;
        let scheme = SignatureScheme::ECDSA_NISTP384_SHA384;
        device.connects_with(&TLS12, &[scheme]);
        device.connects_with(&TLS13, &[scheme]);
    });
}

#[test]
fn rsa() {
    alone(|| async {
        let device = Device::new(KeyKind::Rsa2048).await;
        for scheme in PKCS1 {
            device.connects_with(&TLS12, &[scheme]);
        }
        if mechanism(MechanismType::RSA_PKCS_PSS).is_none() {
            skipped("it does not support PSS");
            return;
        }
        for scheme in PSS {
            device.connects_with(&TLS12, &[scheme]);
            device.connects_with(&TLS13, &[scheme]);
        }
    });
}

pub(crate) struct Device {
    identity: ClientIdentity,
    authority: Authority,
}

impl Device {
    pub(crate) async fn new(kind: KeyKind) -> Self {
        let authority = Authority::new();
        let token = token().await;
        let key = token.generate_private_key(&object("toaster"), kind).await;
        let key = key.unwrap();
        let request = key.certificate_request(&"toaster".parse().unwrap()).await;
        let chain = authority.sign(&request.unwrap());
        Self {
            identity: key.identity(chain).unwrap(),
            authority,
        }
    }

    /// Completes a handshake with a server that accepts only this version and these schemes.
    pub(crate) fn connects_with(
        &self,
        version: &'static SupportedProtocolVersion,
        schemes: &[SignatureScheme],
    ) {
        let (server, root) = self.server(version, schemes);
        let mut server = ServerConnection::new(server).unwrap();
        let resolver: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(
            self.identity.certified_key().clone(),
        ));
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(root)
            .with_client_cert_resolver(resolver);
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::new(client), name).unwrap();

        while client.is_handshaking() || server.is_handshaking() {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            server.read_tls(&mut bytes.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            let mut bytes = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut bytes).unwrap();
            }
            client.read_tls(&mut bytes.as_slice()).unwrap();
            client.process_new_packets().unwrap();
        }
        assert_eq!(server.protocol_version(), Some(version.version));
        let shown = server.peer_certificates().unwrap();
        assert_eq!(shown, self.identity.certified_key().cert, "{schemes:?}");
    }

    fn server(
        &self,
        version: &'static SupportedProtocolVersion,
        schemes: &[SignatureScheme],
    ) -> (Arc<ServerConfig>, RootCertStore) {
        let mut devices = RootCertStore::empty();
        let root = self.authority.root_pem();
        devices.add_parsable_certificates(certificates(&root));
        let provider = Arc::new(only(schemes));
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(devices), provider.clone())
                .build()
                .unwrap();
        let server = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(server.signing_key.serialize_der());
        let mut roots = RootCertStore::empty();
        roots.add(server.cert.der().clone()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![server.cert.der().clone()], key.into())
            .unwrap();
        (Arc::new(config), roots)
    }
}

/// Verifies certificates with all schemes, and signatures of handshakes only with these.
fn only(schemes: &[SignatureScheme]) -> CryptoProvider {
    let mut provider = ring::default_provider();
    let all = provider.signature_verification_algorithms.mapping;
    let mapping: Vec<_> = all
        .iter()
        .copied()
        .filter(|(of, _)| schemes.contains(of))
        .collect();
    provider.signature_verification_algorithms.mapping = Vec::leak(mapping);
    provider
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap()
}
