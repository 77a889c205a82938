//! TLS of a client that trusts one CA.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::TIMEOUT;

pub(crate) type Tls = TlsStream<TcpStream>;

const ALL_VERSIONS: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];

/// Returns the configuration of a client that trusts this CA and presents this chain and key.
///
/// The chain and the key are not checked, because the emulator must not rely on checks of its clients. rustls would refuse
/// a certificate of version 1.
pub(crate) fn tls(ca_pem: &str, identity: Option<(&str, &str)>) -> ClientConfig {
    tls_of(ca_pem, identity, ALL_VERSIONS)
}

/// As [`tls`], with TLS 1.2 only.
pub(crate) fn tls12(ca_pem: &str) -> ClientConfig {
    tls_of(ca_pem, None, &[&version::TLS12])
}

fn tls_of(
    ca_pem: &str,
    identity: Option<(&str, &str)>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).expect("a certificate");
    roots.add(ca).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots);
    let Some((chain, key)) = identity else {
        return config.with_no_client_auth();
    };
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<_, _>>()
        .expect("a chain");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let key = any_supported_type(&key).expect("a supported key");
    let identity = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    config.with_client_cert_resolver(Arc::new(identity))
}

/// Connects to a port of this machine.
pub(crate) async fn connect(port: u16, tls: ClientConfig) -> std::io::Result<Tls> {
    let name = ServerName::try_from("localhost").expect("a name");
    let connected = async {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        TlsConnector::from(Arc::new(tls))
            .connect(name, stream)
            .await
    };
    timeout(TIMEOUT, connected).await.expect("in time")
}
