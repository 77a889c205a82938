//! Describes failed TLS handshakes for the log: what happened, and what to do.

use std::io;

use dps_tls::causes;
use rustls::{AlertDescription, Error, InvalidMessage, PeerIncompatible};

/// Describes why a handshake failed, for the operator.
pub(crate) fn explain(error: &io::Error) -> String {
    let mut causes = causes(error).filter_map(|cause| cause.downcast_ref::<Error>());
    match causes.next() {
        Some(tls) => match hint(tls) {
            Some(hint) => format!("{tls}: {hint}"),
            None => tls.to_string(),
        },
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the client closed the connection during the handshake; if it verifies the server, check that it trusts the \
             emulator's CA certificate (ca.pem)"
                .to_owned()
        }
        None => error.to_string(),
    }
}

fn hint(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::DecryptError,
        ) => {
            "the client does not accept the server's certificate; configure it to trust the emulator's CA certificate \
             (ca.pem) and connect to a name in the server's certificate"
        }
        Error::AlertReceived(AlertDescription::CertificateExpired) => {
            "the client finds the server's certificate expired; check the client's clock"
        }
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "the client expects another host name; add it with --host"
        }
        Error::PeerIncompatible(
            PeerIncompatible::NoCipherSuitesInCommon | PeerIncompatible::NoSignatureSchemesInCommon,
        ) => {
            "the server has ECDHE with AES-GCM or ChaCha20, and certificates on P-256 and with RSA; cipher suites with CBC \
             or with RSA key exchange are not supported"
        }
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls13RequiredForQuic,
        ) => "the client offers neither TLS 1.2 nor TLS 1.3",
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => "the client does not use TLS on this port; use https:// or mqtts://",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_does_not_trust_the_server_is_pointed_to_its_ca() {
        let alert = Error::AlertReceived(AlertDescription::UnknownCA);
        let text = explain(&io::Error::new(io::ErrorKind::InvalidData, alert));
        assert!(
            text.contains("UnknownCA") && text.contains("ca.pem"),
            "{text}"
        );
    }

    #[test]
    fn other_errors_are_described_as_they_are() {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(explain(&reset), "connection reset");
        let closed = explain(&io::ErrorKind::UnexpectedEof.into());
        assert!(closed.contains("closed the connection"), "{closed}");
    }
}
