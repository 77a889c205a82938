//! Accepts TLS connections, and chooses certificate and application protocol by what the client offers.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::server::{Acceptor, ClientHello};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use x509_cert::der::pem::{LineEnding, encode_string};

use super::configs::{Configs, HTTP_1_1, certificate_error};
use super::rsa::RsaCertificates;
use crate::error::Error;
use crate::issuer::{ServerAuthority, SharedKind};
use crate::state::store::Store;

/// Accepts TLS 1.2 and 1.3, with one certificate for every name that a client may ask for.
///
/// A client that verifies no ECDSA signatures receives the RSA certificate. An application protocol (ALPN) that the server does
/// not know is ignored, as most servers do: RFC 7301 allows it, and old clients offer one fixed name.
#[derive(Debug)]
pub(crate) struct TlsAcceptor {
    default: Configs,
    root_pem: String,
    /// Absent if the user configured a certificate.
    rsa: Option<RsaCertificates>,
}

impl TlsAcceptor {
    /// Presents the user's own certificate.
    pub(crate) fn with_identity(identity: CertifiedKey) -> Result<Self, Error> {
        let root = identity.cert.last().map(|last| last.to_vec());
        let root_pem = encode_string("CERTIFICATE", LineEnding::LF, &root.unwrap_or_default());
        Ok(Self {
            default: Configs::new(identity)?,
            root_pem: root_pem.map_err(certificate_error)?,
            rsa: None,
        })
    }

    /// Presents certificates for these names, of the emulator's own authority. It is kept in the directory, if there is one.
    pub(crate) fn issued(dir: Option<&Path>, names: Vec<String>) -> Result<Self, Error> {
        let authority = ServerAuthority::load_or_create(dir)?;
        let rsa = RsaCertificates::new(dir, names.clone());
        Self::of_authority(&authority, &names, rsa)
    }

    /// Presents certificates for these names, of an authority in a store that several emulators share.
    pub(crate) async fn shared(
        store: Arc<dyn Store>,
        dir: Option<&Path>,
        names: Vec<String>,
    ) -> Result<Self, Error> {
        let new = || ServerAuthority::load_or_create(dir);
        let authority = ServerAuthority::shared(&*store, SharedKind::Ecdsa, dir, new).await?;
        let rsa = RsaCertificates::shared(store, dir, names.clone());
        Self::of_authority(&authority, &names, rsa)
    }

    fn of_authority(
        authority: &ServerAuthority,
        names: &[String],
        rsa: RsaCertificates,
    ) -> Result<Self, Error> {
        Ok(Self {
            default: Configs::new(authority.issue(names)?)?,
            root_pem: authority.certificate_pem().to_owned(),
            rsa: Some(rsa),
        })
    }

    /// The certificate that clients must trust.
    pub(crate) fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// The certificate that clients without ECDSA must trust.
    pub(crate) async fn rsa_root_pem(&self) -> Result<String, Error> {
        match &self.rsa {
            Some(rsa) => rsa.root_pem().await,
            None => Ok(self.root_pem.clone()),
        }
    }

    /// Performs the handshake.
    ///
    /// # Errors
    /// The errors that [`explain`](super::explain) describes.
    pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let hello = start.client_hello();
        let selects_http = offers_http(&hello);
        let configs = match &self.rsa {
            Some(rsa) if requires_rsa(&hello) => rsa.configs().await?,
            _ => self.default.clone(),
        };
        start.into_stream(configs.select(selects_http)).await
    }
}

fn offers_http(hello: &ClientHello<'_>) -> bool {
    hello
        .alpn()
        .is_some_and(|mut offered| offered.any(|name| name == HTTP_1_1))
}

/// Returns true if the client offers RSA signatures and does not accept the server's ECDSA certificate on P-256.
fn requires_rsa(hello: &ClientHello<'_>) -> bool {
    let signatures = hello.signature_schemes();
    let suites = hello.cipher_suites();
    let accepts_ecdsa = signatures.contains(&SignatureScheme::ECDSA_NISTP256_SHA256)
        && suites
            .iter()
            .any(|suite| TLS13.contains(suite) || ECDSA.contains(suite));
    !accepts_ecdsa
        && signatures
            .iter()
            .any(|scheme| RSA_SIGNATURES.contains(scheme))
}

/// Cipher suites of TLS 1.3 work with every certificate.
const TLS13: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
];

/// Cipher suites of TLS 1.2 for ECDSA certificates, of those that rustls has.
const ECDSA: [CipherSuite; 3] = [
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// Signatures that an RSA certificate makes.
const RSA_SIGNATURES: [SignatureScheme; 6] = [
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::client::ResolvesClientCert;
    use rustls::crypto::ring;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::version::{TLS12, TLS13};
    use rustls::{
        CertificateError, ClientConfig, ClientConnection, Error, RootCertStore, ServerConnection,
        SupportedProtocolVersion,
    };

    use super::*;
    use crate::issuer::{CertificateAuthority, DeviceCredentials, ServerAuthority};

    type Chain = Vec<CertificateDer<'static>>;

    /// A client that presents this identity, even if certificate and key do not match.
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

    /// Performs a handshake in memory, and returns the certificates that the server received.
    fn handshake(
        version: &'static SupportedProtocolVersion,
        host: &'static str,
        client: Client,
    ) -> Result<Option<Chain>, Error> {
        let authority = ServerAuthority::load_or_create(None).unwrap();
        let identity = authority.issue(&["dps.example".to_owned()]).unwrap();
        let server = Configs::new(identity).unwrap().select(true);

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
        let mut server = ServerConnection::new(server).unwrap();
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
    fn a_client_without_a_certificate_is_accepted_under_every_name() {
        for version in [&TLS12, &TLS13] {
            for host in ["localhost", "127.0.0.1", "::1", "dps.example"] {
                assert_eq!(handshake(version, host, Client(None)), Ok(None));
            }
        }
        let other = handshake(&TLS13, "elsewhere.example", Client(None));
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
            let seen = handshake(version, "localhost", identity(&device, &device));
            assert_eq!(seen, Ok(Some(certificates(device.certificate_pem()))));
        }
    }

    #[test]
    fn a_chain_is_passed_on_completely() {
        let root = CertificateAuthority::new("Root").unwrap();
        let factory = root.intermediate("Region").unwrap();
        let factory = factory.intermediate("Factory").unwrap();
        let device = factory.issue("device-1").unwrap();
        for version in [&TLS12, &TLS13] {
            let seen = handshake(version, "localhost", identity(&device, &device));
            let seen = seen.unwrap().unwrap();
            assert_eq!(seen, certificates(&device.certificate_chain_pem()));
            assert_eq!(seen.len(), 3);
        }
    }

    #[test]
    fn a_certificate_with_the_key_of_another_is_refused() {
        let victim = DeviceCredentials::self_signed("device-1").unwrap();
        let thief = DeviceCredentials::self_signed("device-1").unwrap();
        for version in [&TLS12, &TLS13] {
            let stolen = handshake(version, "localhost", identity(&victim, &thief));
            assert_eq!(
                stolen,
                Err(Error::InvalidCertificate(CertificateError::BadSignature))
            );
        }
    }
}
