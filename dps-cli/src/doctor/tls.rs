//! TLS: whether the certificate of the server is trusted, and whose certificate it is if it is not.

use std::sync::{Arc, Mutex};

use dps_device::Roots;
use dps_tls::ClientTls;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::finding::{Findings, chain_of};
use super::place::{Place, STEP};
use super::tls_stream;
use crate::certificate::parsed::Parsed;

/// Issuers of the certificates of Azure. Source: azure-docs, "Azure Certificate Authority details".
const AZURE_ISSUERS: [&str; 4] = ["Microsoft", "DigiCert", "Baltimore", "Contoso DPS emulator"];

/// Returns whether the connection of a transport is trusted.
pub(super) async fn check(place: &Place, findings: &mut Findings) -> bool {
    let mut trusted = false;
    for (name, port) in &place.transports {
        match handshake(place, *port).await {
            Ok(()) => {
                findings.ok(
                    "TLS",
                    format!("the certificate of the server is trusted ({name})"),
                );
                trusted = true;
            }
            Err(error) => {
                let chain = presented(place, *port).await;
                untrusted(place, &error, &chain, findings);
            }
        }
    }
    trusted
}

/// A handshake as the transports do it. The error is that of rustls, or of the connection.
async fn handshake(place: &Place, port: u16) -> Result<(), String> {
    let roots = place.roots.clone().unwrap_or_else(Roots::system);
    let config = ClientTls::new(roots)
        .build()
        .map_err(|error| chain_of(&error))?;
    connect(place, port, config).await
}

async fn connect(place: &Place, port: u16, config: ClientConfig) -> Result<(), String> {
    let stream = tls_stream::open(place, port).await?;
    let name = place.host.for_tls().map_err(|error| error.to_string())?;
    match timeout(
        STEP,
        TlsConnector::from(Arc::new(config)).connect(name, stream),
    )
    .await
    {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(chain_of(&error)),
        Err(_) => Err("no answer in 10 seconds".to_owned()),
    }
}

fn untrusted(place: &Place, error: &str, chain: &[Parsed], findings: &mut Findings) {
    let Some(server) = chain.first() else {
        return findings.problem(
            "TLS",
            format!("the handshake failed: {error}"),
            "a server that is not DPS answers on this port, or a firewall interrupts TLS: allow the host and the port",
        );
    };
    let now = std::time::SystemTime::now();
    let host = place.host.as_str();
    if now > server.not_after || now < server.not_before {
        return findings.problem(
            "TLS",
            format!(
                "by the clock of this machine the certificate of the server is not valid: {error}"
            ),
            "set the clock of this machine, for example with NTP",
        );
    }
    if error.contains("NotValidForName") || error.contains("not valid for name") {
        return findings.problem(
            "TLS",
            format!(
                "the certificate of the server is for another host: {}, not {host}",
                server.subject
            ),
            "check the host; a name server or a firewall may lead to another server",
        );
    }
    let issuer = &chain.last().unwrap_or(server).issuer;
    if AZURE_ISSUERS.iter().any(|known| issuer.contains(known)) {
        return findings.problem(
            "TLS",
            format!("the root of the certificate of the server is not trusted: {issuer}"),
            "install the root certificates of this operating system (ca-certificates), or pass the root with --ca-file; \
             for an emulator, its ca.pem",
        );
    }
    findings.problem(
        "TLS",
        format!("the certificate of the server was issued by {issuer}, which is not trusted"),
        "if a proxy or a firewall inspects TLS here, exempt this host from it, or pass its root with --ca-file; \
         for an emulator, pass its ca.pem",
    );
}

/// The certificates that the server presents, without trust. Nothing is sent over this connection.
async fn presented(place: &Place, port: u16) -> Vec<Parsed> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let recorder = Arc::new(Recorder {
        provider: Arc::clone(&provider),
        chain: Mutex::default(),
    });
    let Ok(builder) =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
    else {
        return Vec::new();
    };
    let verifier = Arc::clone(&recorder) as Arc<dyn ServerCertVerifier>;
    let config = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let _ = connect(place, port, config).await;
    let chain = recorder
        .chain
        .lock()
        .map(|chain| chain.clone())
        .unwrap_or_default();
    chain
        .iter()
        .filter_map(|der| Parsed::from_der(der).ok())
        .collect()
}

/// Records the certificates, and accepts all of them.
#[derive(Debug)]
struct Recorder {
    provider: Arc<CryptoProvider>,
    chain: Mutex<Vec<Vec<u8>>>,
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Ok(mut chain) = self.chain.lock() {
            *chain = std::iter::once(end_entity)
                .chain(intermediates)
                .map(|der| der.to_vec())
                .collect();
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
