//! TLS of the server: RSA for clients without ECDSA, unknown application protocols, and a certificate of one's own.

use std::sync::Arc;

use dps_emulator::Emulator;
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ClientConfig, RootCertStore, SignatureScheme, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::common::TIMEOUT;

fn is_rsa(scheme: SignatureScheme) -> bool {
    format!("{scheme:?}").starts_with("RSA")
}

/// *ring*, restricted to RSA: firmware often leaves ECDSA out.
fn rsa_only() -> CryptoProvider {
    let mut provider = ring::default_provider();
    let is_ecdsa = |suite: CipherSuite| format!("{suite:?}").contains("ECDSA");
    provider
        .cipher_suites
        .retain(|suite| !is_ecdsa(suite.suite()));
    let all = provider.signature_verification_algorithms;
    let mapping: Vec<_> = all
        .mapping
        .iter()
        .copied()
        .filter(|(scheme, _)| is_rsa(*scheme))
        .collect();
    let algorithms: Vec<_> = mapping
        .iter()
        .flat_map(|(_, algorithms)| *algorithms)
        .copied()
        .collect();
    provider.signature_verification_algorithms = WebPkiSupportedAlgorithms {
        all: algorithms.leak(),
        mapping: mapping.leak(),
    };
    provider
}

fn config(
    provider: CryptoProvider,
    version: &'static SupportedProtocolVersion,
    root_pem: &str,
    protocols: &[&str],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(root_pem.as_bytes()) {
        roots.add(root.expect("PEM")).expect("a root");
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    config
}

async fn connect(port: u16, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let connector = TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    timeout(TIMEOUT, connector.connect(name, stream))
        .await
        .expect("in time")
}

/// Sends a request without credentials and returns the status line.
async fn request(mut stream: TlsStream<TcpStream>) -> String {
    let request = b"GET /enrollments/dev-1?api-version=2021-10-01 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.expect("written");
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.expect("an answer");
    String::from_utf8(answer).expect("text")
}

#[tokio::test]
async fn a_client_that_verifies_only_rsa_signatures_gets_an_rsa_chain() {
    let dir = tempfile::tempdir().expect("a directory");
    let dps = Emulator::builder()
        .data_dir(dir.path())
        .start()
        .await
        .expect("started");
    assert!(
        !dir.path().join("ca-rsa.pem").exists(),
        "made when it is needed"
    );
    let root = dps.rsa_ca_pem().await.expect("a root");
    assert_eq!(
        std::fs::read_to_string(dir.path().join("ca-rsa.pem")).expect("kept"),
        root
    );
    for version in [&TLS12, &TLS13] {
        for port in [dps.https_port(), dps.mqtt_port()] {
            let stream = connect(port, config(rsa_only(), version, &root, &[])).await;
            stream.expect("a connection");
        }
        // All others keep the ECDSA chain.
        let usual = config(ring::default_provider(), version, dps.ca_pem(), &[]);
        let stream = connect(dps.https_port(), usual)
            .await
            .expect("a connection");
        assert_eq!(request(stream).await, "HTTP/1.1 401");
    }
    dps.shutdown().await;
}

#[tokio::test]
async fn unknown_application_protocols_are_ignored() {
    let dps = Emulator::builder().start().await.expect("started");
    for (offered, selected) in [
        (&["http/1.0"][..], None),
        (&["mqtt"], None),
        (&["h2", "http/1.1"], Some(&b"http/1.1"[..])),
        (&[], None),
    ] {
        let config = config(ring::default_provider(), &TLS13, dps.ca_pem(), offered);
        let stream = connect(dps.https_port(), config)
            .await
            .expect("a connection");
        assert_eq!(stream.get_ref().1.alpn_protocol(), selected, "{offered:?}");
        assert_eq!(request(stream).await, "HTTP/1.1 401");
    }
}

#[tokio::test]
async fn the_servers_certificate_can_be_given() {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["localhost".to_owned()]).expect("names");
    let certificate = params.self_signed(&key).expect("a certificate").pem();
    let dps = Emulator::builder()
        .server_certificate(&certificate, key.serialize_pem())
        .expect("they belong together")
        .start()
        .await
        .expect("started");
    assert_eq!(dps.ca_pem().trim(), certificate.trim());
    let config = config(ring::default_provider(), &TLS13, &certificate, &[]);
    let stream = connect(dps.https_port(), config)
        .await
        .expect("a connection");
    let shown = stream
        .get_ref()
        .1
        .peer_certificates()
        .expect("a certificate")[0]
        .clone();
    assert_eq!(
        shown,
        CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM")
    );

    let other = KeyPair::generate().expect("a key").serialize_pem();
    let error = Emulator::builder()
        .server_certificate(&certificate, other)
        .expect_err("another key");
    assert_eq!(error.kind(), dps_emulator::ErrorKind::Configuration);
}
