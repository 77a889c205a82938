//! Reads an X.509 certificate once, and keeps what attestation and the service API need of it.

mod name;
mod request;
mod signature;
mod uses;

use std::fmt;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_encoding::HEXUPPER;
use dps_types::Timestamp;
use dps_types::enrollment::X509CertificateInfo;
use rustls_pki_types::CertificateDer;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, SubjectKeyIdentifier};

pub(crate) use request::{CertificateRequest, RequestError, RequestedKey};
pub(crate) use signature::{PublicKey, Signed};
use uses::{Authority, Uses};

/// An X.509 certificate.
#[derive(Clone)]
pub(crate) struct Certificate {
    der: CertificateDer<'static>,
    info: X509CertificateInfo,
    common_name: Option<String>,
    /// The DER of subject and issuer, to compare.
    names: [Vec<u8>; 2],
    subject_key_id: Option<Vec<u8>>,
    authority_key_id: Option<Vec<u8>>,
    public_key: PublicKey,
    signed: Signed,
    uses: Uses,
}

/// The reason for which a text is not a certificate: a clause without a full stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct CertificateError(String);

impl Certificate {
    /// Reads the first certificate of a text: PEM, base64 of DER, or base64 of PEM, which the C SDK sends.
    ///
    /// All of the text must be readable. Line breaks may be missing, because operators paste PEM into JSON.
    pub(crate) fn from_text(text: &str) -> Result<Self, CertificateError> {
        let certificates = dps_tls::read_certificates(text.as_bytes());
        let certificates = certificates.map_err(|error| CertificateError(error.to_string()))?;
        let first = certificates.into_iter().next();
        Self::from_der(first.ok_or_else(|| CertificateError("it is empty".to_owned()))?)
    }

    /// Reads the certificate of an authority, and requires that its `keyUsage` does not forbid it to sign certificates.
    pub(crate) fn issuer_from_text(text: &str) -> Result<Self, CertificateError> {
        let certificate = Self::from_text(text)?;
        match certificate.key_may_sign_certificates() {
            true => Ok(certificate),
            false => Err(CertificateError(
                "its keyUsage does not allow it to sign certificates (keyCertSign)".to_owned(),
            )),
        }
    }

    pub(crate) fn from_der(der: CertificateDer<'static>) -> Result<Self, CertificateError> {
        Self::parse(der).ok_or_else(|| {
            CertificateError("the data is not a well-formed X.509 certificate".to_owned())
        })
    }

    fn parse(der: CertificateDer<'static>) -> Option<Self> {
        let parsed = x509_cert::Certificate::from_der(&der).ok()?;
        let body = parsed.tbs_certificate();
        // RFC 5280, 4.1.1.2: the algorithm that the signature covers is the one outside.
        if body.signature() != parsed.signature_algorithm() {
            return None;
        }
        let mut info = X509CertificateInfo::new(
            body.validity().not_before.to_system_time().into(),
            body.validity().not_after.to_system_time().into(),
        );
        info.subject_name = name::display(body.subject());
        info.issuer_name = name::display(body.issuer());
        info.serial_number = HEXUPPER.encode(body.serial_number().as_bytes());
        info.sha1_thumbprint = HEXUPPER.encode(&Sha1::digest(&der));
        info.sha256_thumbprint = HEXUPPER.encode(&Sha256::digest(&der));
        info.version = body.version() as i32 + 1;
        // An unreadable key identifier is ignored: it only helps to choose among issuers of the same name.
        let subject_key_id = body.get_extension::<SubjectKeyIdentifier>().ok().flatten();
        let authority_key_id = body
            .get_extension::<AuthorityKeyIdentifier>()
            .ok()
            .flatten();
        Some(Self {
            common_name: name::common_name(body.subject()),
            names: [body.subject().to_der().ok()?, body.issuer().to_der().ok()?],
            subject_key_id: subject_key_id.map(|(_, id)| id.0.as_bytes().to_vec()),
            authority_key_id: authority_key_id
                .and_then(|(_, id)| Some(id.key_identifier?.as_bytes().to_vec())),
            public_key: PublicKey::new(body.subject_public_key_info())?,
            signed: Signed::from_der(&der)?,
            uses: Uses::of(body)?,
            info,
            der,
        })
    }

    /// The subject's common name; the most specific one if there are several.
    pub(crate) fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    pub(crate) fn der_base64(&self) -> String {
        STANDARD.encode(&self.der)
    }

    pub(crate) fn pem(&self) -> String {
        use x509_cert::der::pem::{LineEnding, encode_string};
        encode_string("CERTIFICATE", LineEnding::LF, &self.der).unwrap_or_default()
    }

    /// SHA-256 of the DER, upper-case hex.
    pub(crate) fn sha256_thumbprint(&self) -> &str {
        &self.info.sha256_thumbprint
    }

    /// The description that the service API returns, with names as .NET writes them.
    pub(crate) fn info(&self) -> &X509CertificateInfo {
        &self.info
    }

    pub(crate) fn subject(&self) -> &str {
        &self.info.subject_name
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.info.issuer_name
    }

    pub(crate) fn is_valid_at(&self, moment: SystemTime) -> bool {
        !self.is_early(moment) && !self.has_expired(moment)
    }

    /// Returns true if the certificate is not valid yet.
    pub(crate) fn is_early(&self, moment: SystemTime) -> bool {
        Timestamp::from(moment) < self.info.not_before_utc
    }

    /// Returns true if the certificate is not valid any more. The whole of its last second is valid.
    pub(crate) fn has_expired(&self, moment: SystemTime) -> bool {
        Timestamp::from(moment).unix_seconds() > self.info.not_after_utc.unix_seconds()
    }

    /// Returns true for X.509 version 3. Earlier versions have no extensions.
    pub(crate) fn is_version_3(&self) -> bool {
        self.info.version == 3
    }

    /// Returns true if the certificate is an authority's. Certificates of version 1, such as some old roots, cannot declare it.
    pub(crate) fn is_authority(&self) -> bool {
        !matches!(self.uses.authority, Authority::No)
    }

    /// Returns true if `pathLenConstraint` allows this number of intermediates between this authority and a leaf.
    pub(crate) fn allows_path_length(&self, intermediates: usize) -> bool {
        match self.uses.authority {
            Authority::No => false,
            Authority::Unlimited => true,
            Authority::PathLength(most) => intermediates <= usize::from(most),
        }
    }

    /// Returns true if `keyUsage` does not forbid to sign certificates. Source: RFC 5280, 4.2.1.3 and 6.1.4 (n).
    pub(crate) fn key_may_sign_certificates(&self) -> bool {
        self.uses.sign_certificates
    }

    /// Returns true if `keyUsage` does not forbid to sign TLS handshakes. Source: RFC 8446, 4.4.2.2.
    pub(crate) fn key_may_sign_handshakes(&self) -> bool {
        self.uses.sign_handshakes
    }

    /// Returns true if `extendedKeyUsage` does not forbid the use as a TLS client.
    pub(crate) fn is_for_tls_clients(&self) -> bool {
        self.uses.tls_client
    }

    pub(crate) fn has_name_constraints(&self) -> bool {
        self.uses.has_name_constraints
    }

    /// Returns true if every critical extension is known, or is one of policies, which a trust anchor may have.
    pub(crate) fn may_be_anchor(&self) -> bool {
        self.uses.anchor
    }

    /// Reads an extension that is needed rarely. `None` if it is absent or malformed.
    pub(crate) fn extension<E>(&self) -> Option<E>
    where
        E: for<'a> Decode<'a> + AssociatedOid,
    {
        let parsed = x509_cert::Certificate::from_der(&self.der).ok()?;
        let (_, extension) = parsed.tbs_certificate().get_extension::<E>().ok()??;
        Some(extension)
    }

    /// Returns true if the names and the key identifiers are those of the issuer. The signature is not verified.
    pub(crate) fn names_issuer(&self, issuer: &Self) -> bool {
        let ([_, wanted], [found, _]) = (&self.names, &issuer.names);
        let same_key = match (&self.authority_key_id, &issuer.subject_key_id) {
            (Some(wanted), Some(found)) => wanted == found,
            _ => true,
        };
        wanted == found && same_key
    }

    pub(crate) fn has_subject_and_key_of(&self, other: &Self) -> bool {
        self.names[0] == other.names[0] && self.public_key == other.public_key
    }

    pub(crate) fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Returns true if this key made the certificate's signature. Nothing else is checked.
    /// Its content and signature, and the key of an issuer, as a verification reads them.
    pub(crate) fn signed_parts<'a>(&'a self, key: &'a PublicKey) -> [&'a [u8]; 5] {
        self.signed.parts(key)
    }

    pub(crate) fn is_signed_by(&self, key: &PublicKey) -> bool {
        self.signed.is_by(key)
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("subject", &self.info.subject_name)
            .field("sha1_thumbprint", &self.info.sha1_thumbprint)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

    use super::*;

    /// `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj "/C=US/ST=Washington/O=Contoso, Inc./CN=device-1"`
    const PEM: &str = "\
-----BEGIN CERTIFICATE-----
MIIB7zCCAZWgAwIBAgIUPeUTPNZ18gQin9+fh/rNacbaOmYwCgYIKoZIzj0EAwIw
TTELMAkGA1UEBhMCVVMxEzARBgNVBAgMCldhc2hpbmd0b24xFjAUBgNVBAoMDUNv
bnRvc28sIEluYy4xETAPBgNVBAMMCGRldmljZS0xMB4XDTI2MTEyMTIxMTkzM1oX
DTI3MTEyMTIxMTkzM1owTTELMAkGA1UEBhMCVVMxEzARBgNVBAgMCldhc2hpbmd0
b24xFjAUBgNVBAoMDUNvbnRvc28sIEluYy4xETAPBgNVBAMMCGRldmljZS0xMFkw
EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE4YASfkFYdB2C6tQl+2lvD5ClJnMWNnQu
03weXngiLnCqW7teAsHLAuNVUAXu3dTIkw4r9tqq1em9ZONQyRbjaqNTMFEwHQYD
VR0OBBYEFF/RgNc6a4lRgh0AGmB6QzeHdYRgMB8GA1UdIwQYMBaAFF/RgNc6a4lR
gh0AGmB6QzeHdYRgMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIh
AKL11zibVPgRsHITgVFup7qRd55QEb0i/kXgMW/lKTbCAiAPtBRDVhdMqaf0RBzd
wbrlvKTijYWW3QWrXIAP2gAC4A==
-----END CERTIFICATE-----
";

    /// `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj "/CN=first/O=Contoso/CN=last"`
    const TWO_COMMON_NAMES: &str = "\
-----BEGIN CERTIFICATE-----
MIIBujCCAV+gAwIBAgIUFKs92FaRrI5wyUXKnUgT0c8iNlYwCgYIKoZIzj0EAwIw
MTEOMAwGA1UEAwwFZmlyc3QxEDAOBgNVBAoMB0NvbnRvc28xDTALBgNVBAMMBGxh
c3QwIBcNMjYxMTI2MjIzNzA4WhgPMjEyNjExMDIyMjM3MDhaMDExDjAMBgNVBAMM
BWZpcnN0MRAwDgYDVQQKDAdDb250b3NvMQ0wCwYDVQQDDARsYXN0MFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAElT9xu2fj5LhNUeX+jGxDZ8GpyChU/kgFuxKOLJV5
NZlb6cRhwi70JJIlDLTgs5Fj0VqenoXpqNElkqgazlekN6NTMFEwHQYDVR0OBBYE
FOSnJ0danGxK80Of+lwUeVUZ9uQeMB8GA1UdIwQYMBaAFOSnJ0danGxK80Of+lwU
eVUZ9uQeMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAL8HawbV
eegeXWNrM/IDV4ZGH3O7VZwSVY7S5qLj53auAiEA89oNZxFNolXWuJxjv1IBAEDM
im7pVauc7AVMNXVP1BE=
-----END CERTIFICATE-----
";

    fn certificate(names: &[(DnType, DnValue)]) -> Certificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        let signed = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Certificate::from_der(signed.into()).unwrap()
    }

    #[test]
    fn the_description_agrees_with_openssl() {
        let certificate = Certificate::from_text(PEM).unwrap();
        let info = serde_json::to_value(certificate.info()).unwrap();

        assert_eq!(
            info,
            serde_json::json!({
                "subjectName": "CN=device-1, O=\"Contoso, Inc.\", S=Washington, C=US",
                "sha1Thumbprint": "4A83D6809BBA66CA8E693E0CEE271EF859D999AC",
                "sha256Thumbprint": "6045BA77A03187CE39C14282A02F835CE5542A1C359695CA738E565093F1821D",
                "issuerName": "CN=device-1, O=\"Contoso, Inc.\", S=Washington, C=US",
                "notBeforeUtc": "2026-11-21T21:19:33Z",
                "notAfterUtc": "2027-11-21T21:19:33Z",
                "serialNumber": "3DE5133CD675F204229FDF9F87FACD69C6DA3A66",
                "version": 3,
            })
        );
        assert_eq!(certificate.common_name(), Some("device-1"));
        assert_eq!(certificate.info().sha1_thumbprint, info["sha1Thumbprint"]);
        assert_eq!(certificate.sha256_thumbprint(), info["sha256Thumbprint"]);
    }

    #[test]
    fn every_encoding_reads_as_the_same_certificate() {
        let certificate = Certificate::from_text(PEM).unwrap();
        let der = certificate.der_base64();
        let other = self::certificate(&[(DnType::CommonName, "other".into())]);
        let other = format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            other.der_base64()
        );

        for text in [
            format!("Subject: device-1\r\n{}", PEM.replace('\n', "\r\n")),
            format!("\u{feff}{PEM}{other}"),
            PEM.replace('\n', ""),
            der.clone(),
            format!("  {}\n{}\n", &der[..76], &der[76..]),
            STANDARD.encode(PEM),
            STANDARD.encode(format!("{PEM}{other}")),
        ] {
            assert_eq!(
                Certificate::from_text(&text),
                Ok(certificate.clone()),
                "{text}"
            );
        }
    }

    #[test]
    fn text_that_is_not_a_certificate_is_refused() {
        let der = Certificate::from_text(PEM).unwrap().der().to_vec();
        for text in [
            "",
            "no",
            "MIIB",
            "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----",
            "-----BEGIN CERTIFICATE-----\nMIIB",
            &STANDARD.encode("-----BEGIN CERTIFICATE-----?-----END CERTIFICATE-----"),
            &STANDARD.encode(&der[..der.len() - 1]),
            &STANDARD.encode([&der[..], b"\0"].concat()),
            &PEM.replace("CERTIFICATE", "PRIVATE KEY"),
        ] {
            let error = Certificate::from_text(text).unwrap_err().to_string();
            assert!(!error.is_empty(), "{text}");
            assert!(!error.ends_with('.'), "{text}: {error}");
        }
    }

    #[test]
    fn names_are_written_as_dotnet_writes_them() {
        for (value, expected) in [
            ("device-1", "CN=device-1"),
            ("a \"b\"", "CN=\"a \"\"b\"\"\""),
            (" a", "CN=\" a\""),
            ("", "CN=\"\""),
            ("a+b", "CN=\"a+b\""),
            ("Gerät 7", "CN=Gerät 7"),
        ] {
            let certificate = certificate(&[(DnType::CommonName, value.into())]);
            assert_eq!(certificate.info().subject_name, expected);
            assert_eq!(certificate.common_name(), Some(value));
        }
    }

    #[test]
    fn the_last_of_several_common_names_counts() {
        let certificate = Certificate::from_text(TWO_COMMON_NAMES).unwrap();
        assert_eq!(certificate.common_name(), Some("last"));
        assert_eq!(
            certificate.info().subject_name,
            "CN=last, O=Contoso, CN=first"
        );
    }

    #[test]
    fn other_encodings_and_kinds_of_names_are_read() {
        let wide = rcgen::string::BmpString::try_from("Gerät").unwrap();
        let user = DnType::from_oid(&[0, 9, 2342, 19200300, 100, 1, 1]);
        let certificate = certificate(&[
            (user, "u".into()),
            (DnType::CommonName, DnValue::BmpString(wide)),
        ]);

        assert_eq!(certificate.common_name(), Some("Gerät"));
        assert_eq!(
            certificate.info().subject_name,
            "CN=Gerät, OID.0.9.2342.19200300.100.1.1=u"
        );
        assert_eq!(self::certificate(&[]).common_name(), None);
        assert_eq!(self::certificate(&[]).info().subject_name, "");
    }

    #[test]
    fn the_validity_includes_its_first_and_last_second() {
        let certificate = Certificate::from_text(PEM).unwrap();
        let first = UNIX_EPOCH + Duration::from_secs(1_795_295_973);
        let last = UNIX_EPOCH + Duration::from_secs(1_826_831_973);
        let second = Duration::from_secs(1);

        assert!(!certificate.is_valid_at(first - second));
        assert!(certificate.is_valid_at(first));
        assert!(certificate.is_valid_at(last));
        assert!(!certificate.is_valid_at(last + second));
    }

    proptest! {
        #[test]
        fn arbitrary_text_and_bytes_are_refused(text: String, bytes: Vec<u8>) {
            prop_assert!(Certificate::from_text(&text).is_err());
            prop_assert!(Certificate::from_der(bytes.into()).is_err());
        }

        #[test]
        fn a_changed_byte_never_keeps_the_thumbprint(at in 0..499usize, flip in 1..=255u8) {
            let sound = Certificate::from_text(PEM).unwrap();
            let mut der = sound.der().to_vec();
            der[at] ^= flip;

            if let Ok(damaged) = Certificate::from_der(der.into()) {
                prop_assert_ne!(damaged.sha256_thumbprint(), sound.sha256_thumbprint());
            }
        }
    }
}
