//! Explains a TLS connection that failed: the cause and the remedy.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::time::{Duration, SystemTime};

use dps_tls::causes;
use dps_types::Timestamp;
use dps_types::sas::SignError;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError};

use crate::error::{ErrorKind, signing_kind};

const UNKNOWN_ISSUER: &str = "the server's certificate was issued by a CA that is not trusted: add the CA with \
    `with_roots`, or check whether a proxy or firewall on the way replaces certificates";

/// The kind and the description of a failure, `None` when TLS is not its cause.
pub(super) fn describe(error: &(dyn StdError + 'static)) -> Option<(ErrorKind, Cow<'static, str>)> {
    let tls = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>())?;
    let what = match tls {
        rustls::Error::Other(other) if other.0.is::<SignError>() => {
            return Some((signing_kind(&*other.0), "the key could not sign".into()));
        }
        rustls::Error::InvalidCertificate(error) => of_server_certificate(error),
        rustls::Error::AlertReceived(alert) => of_alert(*alert),
        _ => "the TLS handshake failed".into(),
    };
    Some((ErrorKind::Tls, what))
}

fn of_server_certificate(error: &CertificateError) -> Cow<'static, str> {
    match error {
        CertificateError::ExpiredContext { time, not_after } => format!(
            "the server's certificate expired at {}, and the clock of the device shows {}: check the clock",
            shown(*not_after),
            shown(*time),
        )
        .into(),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "the server's certificate is not valid before {}, and the clock of the device shows {}: check the clock",
            shown(*not_before),
            shown(*time),
        )
        .into(),
        CertificateError::Expired => {
            "the server's certificate has expired: check the clock of the device".into()
        }
        CertificateError::NotValidYet => {
            "the server's certificate is not valid yet: check the clock of the device".into()
        }
        // A CA of the same name with another key is not trusted either.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => UNKNOWN_ISSUER.into(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the server's certificate is for another host name: check the host, or whether a proxy or firewall on the way \
             replaces certificates"
                .into()
        }
        _ => "the server's certificate is not valid".into(),
    }
}

/// The server sends an alert when it does not accept the device's certificate.
fn of_alert(alert: AlertDescription) -> Cow<'static, str> {
    match alert {
        AlertDescription::CertificateExpired => {
            "the server refused the device's certificate because it has expired: issue a new one"
        }
        AlertDescription::UnknownCA => {
            "the server refused the device's certificate because the CA is unknown to it: send the whole chain, and check \
             that the CA is enrolled"
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRequired
        | AlertDescription::AccessDenied => {
            "the server refused the device's certificate: check the certificate, its chain and its validity"
        }
        _ => "the server refused the TLS connection",
    }
    .into()
}

fn shown(time: UnixTime) -> Timestamp {
    (SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs())).into()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use super::*;

    fn described(error: rustls::Error) -> (ErrorKind, String) {
        let (kind, what) = describe(&io::Error::other(error)).unwrap();
        (kind, what.into_owned())
    }

    #[test]
    fn a_key_that_cannot_sign_is_not_a_tls_failure() {
        let unsigned = rustls::OtherError(Arc::new(SignError::new("the token was removed")));
        assert_eq!(
            described(rustls::Error::Other(unsigned)).0,
            ErrorKind::Signing
        );
        assert_eq!(described(rustls::Error::DecryptError).0, ErrorKind::Tls);
        assert!(describe(&io::Error::other("no route")).is_none());
    }

    #[test]
    fn a_wrong_clock_is_described_with_both_times() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let early = CertificateError::NotValidYetContext {
            time: at(0),
            not_before: at(1_700_000_000),
        };
        let late = CertificateError::ExpiredContext {
            time: at(1_800_000_000),
            not_after: at(1_700_000_000),
        };
        for (error, times) in [
            (early, ["2023-11-14T22:13:20", "1970-01-01T00:00:00"]),
            (late, ["2023-11-14T22:13:20", "2027-01-15T08:00:00"]),
        ] {
            let (kind, what) = described(rustls::Error::InvalidCertificate(error));
            assert_eq!(kind, ErrorKind::Tls);
            for time in times {
                assert!(what.contains(time), "{what}");
            }
            assert!(what.contains("clock"), "{what}");
        }
    }

    #[test]
    fn each_description_names_what_to_do() {
        for (error, hint) in [
            (CertificateError::UnknownIssuer, "with_roots"),
            (CertificateError::BadSignature, "with_roots"),
            (CertificateError::NotValidForName, "host"),
            (CertificateError::Expired, "clock"),
            (CertificateError::NotValidYet, "clock"),
        ] {
            let (_, what) = described(rustls::Error::InvalidCertificate(error));
            assert!(what.contains(hint), "{what}");
        }
        for (alert, hint) in [
            (AlertDescription::CertificateExpired, "expired"),
            (AlertDescription::UnknownCA, "whole chain"),
            (AlertDescription::BadCertificate, "device's certificate"),
            (AlertDescription::CertificateUnknown, "device's certificate"),
        ] {
            let (_, what) = described(rustls::Error::AlertReceived(alert));
            assert!(what.contains(hint), "{what}");
        }
    }
}
