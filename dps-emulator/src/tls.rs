//! The server's side of TLS: clients may show a certificate, and prove that its key is theirs. Whether the
//! certificate is trusted depends on the enrollment, so that is decided later.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};

/// TLS 1.2 and 1.3, with this identity for every name a client may ask for, for the application protocols (ALPN)
/// named here; without any, whatever a client offers is ignored.
pub(crate) fn server_config(
    identity: CertifiedKey,
    protocols: &[&str],
) -> Result<ServerConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = AnyClient {
        algorithms: provider.signature_verification_algorithms,
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    Ok(config)
}

/// Takes every client, with a certificate or without, whose certificate's key made the handshake's signature.
#[derive(Debug)]
struct AnyClient {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: a client that sees hints may send nothing when its issuer is not among them.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rustls::client::ResolvesClientCert;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::version::{TLS12, TLS13};
    use rustls::{
        CertificateError, ClientConfig, ClientConnection, RootCertStore, ServerConnection,
        SupportedProtocolVersion,
    };

    use super::*;
    use crate::issuer::{CertificateAuthority, DeviceCredentials, ServerAuthority};

    type Chain = Vec<CertificateDer<'static>>;

    /// A client that shows this identity, whether or not the two halves match.
    #[derive(Debug)]
    struct Client(Option<Arc<CertifiedKey>>);

    impl ResolvesClientCert for Client {
        fn resolve(&self, hints: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
            assert!(hints.is_empty(), "the server names no issuers");
            self.0.clone()
        }

        fn has_certs(&self) -> bool {
            self.0.is_some()
        }
    }

    fn certificates(pem: &str) -> Chain {
        CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .unwrap()
    }

    fn identity(chain: &DeviceCredentials, key: &DeviceCredentials) -> Client {
        let key = PrivateKeyDer::from_pem_slice(key.private_key_pem().as_bytes()).unwrap();
        let key = ring::sign::any_supported_type(&key).unwrap();
        let chain = certificates(&chain.certificate_chain_pem());
        Client(Some(Arc::new(CertifiedKey::new(chain, key))))
    }

    /// Shakes hands over memory, and gives the certificates that the server saw.
    fn shake_hands(
        version: &'static SupportedProtocolVersion,
        host: &'static str,
        client: Client,
    ) -> Result<Option<Chain>, Error> {
        let authority = ServerAuthority::load_or_create(None).unwrap();
        let identity = authority.issue(&["dps.example".to_owned()]).unwrap();
        let server = server_config(identity, &["http/1.1"]).unwrap();

        let mut roots = RootCertStore::empty();
        let root = certificates(authority.certificate_pem()).remove(0);
        roots.add(root).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::new(client));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];

        let name = ServerName::try_from(host).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets()?;

            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        assert_eq!(client.alpn_protocol(), Some(b"http/1.1".as_slice()));
        assert_eq!(server.protocol_version(), Some(version.version));
        Ok(server.peer_certificates().map(<[_]>::to_vec))
    }

    #[test]
    fn a_client_without_a_certificate_is_welcome_under_every_name() {
        for version in [&TLS12, &TLS13] {
            for host in ["localhost", "127.0.0.1", "::1", "dps.example"] {
                assert_eq!(shake_hands(version, host, Client(None)), Ok(None));
            }
        }
        let other = shake_hands(&TLS13, "elsewhere.example", Client(None));
        assert!(matches!(
            other,
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForNameContext { .. }
            ))
        ));
    }

    #[test]
    fn a_self_signed_certificate_is_passed_on() {
        let device = DeviceCredentials::self_signed("device-1").unwrap();
        for version in [&TLS12, &TLS13] {
            let seen = shake_hands(version, "localhost", identity(&device, &device));
            assert_eq!(seen, Ok(Some(certificates(device.certificate_pem()))));
        }
    }

    #[test]
    fn a_chain_is_passed_on_whole() {
        let root = CertificateAuthority::new("Root").unwrap();
        let factory = root.intermediate("Region").unwrap();
        let factory = factory.intermediate("Factory").unwrap();
        let device = factory.issue("device-1").unwrap();
        for version in [&TLS12, &TLS13] {
            let seen = shake_hands(version, "localhost", identity(&device, &device));
            let seen = seen.unwrap().unwrap();
            assert_eq!(seen, certificates(&device.certificate_chain_pem()));
            assert_eq!(seen.len(), 3);
        }
    }

    #[test]
    fn the_certificate_of_another_is_refused() {
        let victim = DeviceCredentials::self_signed("device-1").unwrap();
        let thief = DeviceCredentials::self_signed("device-1").unwrap();
        for version in [&TLS12, &TLS13] {
            let stolen = shake_hands(version, "localhost", identity(&victim, &thief));
            assert_eq!(
                stolen,
                Err(Error::InvalidCertificate(CertificateError::BadSignature))
            );
        }
    }
}
