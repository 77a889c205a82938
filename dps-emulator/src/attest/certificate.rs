//! A certificate, read once from whatever text the operator sent, and what it says of itself.

use std::fmt;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dps_types::Timestamp;
use dps_types::enrollment::X509CertificateInfo;
use rustls_pki_types::CertificateDer;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::certificate::Version;
use x509_cert::der::{Decode, Encode, Tag, Tagged};
use x509_cert::ext::pkix::BasicConstraints;
use x509_cert::name::Name;

const PEM_BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const PEM_END: &str = "-----END CERTIFICATE-----";
const COMMON_NAME: &str = "2.5.4.3";

/// An X.509 certificate.
#[derive(Clone)]
pub(crate) struct Certificate {
    der: CertificateDer<'static>,
    common_name: Option<String>,
    authority: Authority,
    info: X509CertificateInfo,
}

/// Whether a certificate may sign others, and how long a chain below it may be.
#[derive(Clone, Copy)]
enum Authority {
    None,
    Unlimited,
    PathLength(u8),
}

/// Why a text is no certificate, in words for an answer to the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct CertificateError(&'static str);

impl Certificate {
    /// Reads PEM (the first `CERTIFICATE` block of it), base64 of DER, or base64 of PEM, as the C SDK sends it.
    ///
    /// The PEM may have lost its line breaks: operators paste it into JSON.
    pub(crate) fn from_text(text: &str) -> Result<Self, CertificateError> {
        if let Some(body) = pem_body(text) {
            return Self::from_der(decode(body)?.into());
        }
        let decoded = decode(text)?;
        match std::str::from_utf8(&decoded).ok().and_then(pem_body) {
            Some(body) => Self::from_der(decode(body)?.into()),
            None => Self::from_der(decoded.into()),
        }
    }

    pub(crate) fn from_der(der: CertificateDer<'static>) -> Result<Self, CertificateError> {
        const UNSOUND: CertificateError =
            CertificateError("The certificate is not a sound X.509 certificate.");

        let parsed = x509_cert::Certificate::from_der(&der).map_err(|_| UNSOUND)?;
        let body = parsed.tbs_certificate();
        let constraints = body
            .get_extension::<BasicConstraints>()
            .map_err(|_| UNSOUND)?;

        let mut info = X509CertificateInfo::new(
            body.validity().not_before.to_system_time().into(),
            body.validity().not_after.to_system_time().into(),
        );
        info.subject_name = display(body.subject());
        info.issuer_name = display(body.issuer());
        info.serial_number = hex(body.serial_number().as_bytes());
        info.sha1_thumbprint = hex(&Sha1::digest(&der));
        info.sha256_thumbprint = hex(&Sha256::digest(&der));
        info.version = body.version() as i32 + 1;

        Ok(Self {
            common_name: common_name(body.subject()),
            authority: Authority::new(body.version(), constraints.map(|(_, it)| it)),
            info,
            der,
        })
    }

    /// The subject's common name; the most specific one where there are many.
    pub(crate) fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    pub(crate) fn der_base64(&self) -> String {
        STANDARD.encode(&self.der)
    }

    /// SHA-256 of the DER, upper-case hex.
    pub(crate) fn sha256_thumbprint(&self) -> &str {
        &self.info.sha256_thumbprint
    }

    /// What the service tells of the certificate, names written as .NET does.
    pub(crate) fn info(&self) -> &X509CertificateInfo {
        &self.info
    }

    pub(crate) fn is_valid_at(&self, moment: SystemTime) -> bool {
        !self.is_early(moment) && !self.has_expired(moment)
    }

    /// Whether the certificate is not valid yet.
    pub(crate) fn is_early(&self, moment: SystemTime) -> bool {
        Timestamp::from(moment) < self.info.not_before_utc
    }

    /// Whether the certificate is valid no more. The last second counts whole.
    pub(crate) fn has_expired(&self, moment: SystemTime) -> bool {
        Timestamp::from(moment).unix_seconds() > self.info.not_after_utc.unix_seconds()
    }

    /// Whether this certificate may stand above so many intermediates and a leaf.
    pub(crate) fn may_sign_above(&self, intermediates: usize) -> bool {
        match self.authority {
            Authority::None => false,
            Authority::Unlimited => true,
            Authority::PathLength(most) => intermediates <= usize::from(most),
        }
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

impl Authority {
    /// Certificates of version 1 cannot say that they are no authority; some old roots are such.
    fn new(version: Version, constraints: Option<BasicConstraints>) -> Self {
        match constraints {
            None if version == Version::V1 => Self::Unlimited,
            Some(BasicConstraints {
                ca: true,
                path_len_constraint,
            }) => path_len_constraint.map_or(Self::Unlimited, Self::PathLength),
            _ => Self::None,
        }
    }
}

fn pem_body(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once(PEM_BEGIN)?;
    rest.split_once(PEM_END).map(|(body, _)| body)
}

fn decode(base64: &str) -> Result<Vec<u8>, CertificateError> {
    let mut compact = base64.to_owned();
    compact.retain(|c| !c.is_whitespace());
    match STANDARD.decode(&compact) {
        Ok(bytes) if !bytes.is_empty() => Ok(bytes),
        _ => Err(CertificateError(
            "The certificate is neither PEM nor base64 of DER.",
        )),
    }
}

fn common_name(name: &Name) -> Option<String> {
    name.iter()
        .filter(|attribute| attribute.oid.to_string() == COMMON_NAME)
        .last()
        .map(text)
}

/// The name as .NET writes it: most specific part first, `CN=device-1, O="Contoso, Inc.", C=US`.
fn display(name: &Name) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|part| part.iter().map(pair).collect::<Vec<_>>().join(" + "))
        .collect();
    parts.reverse();
    parts.join(", ")
}

fn pair(attribute: &AttributeTypeAndValue) -> String {
    let oid = attribute.oid.to_string();
    let key = match oid.as_str() {
        COMMON_NAME => "CN",
        "2.5.4.4" => "SN",
        "2.5.4.5" => "SERIALNUMBER",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "S",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "T",
        "2.5.4.42" => "G",
        "2.5.4.43" => "I",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "E",
        other => return format!("OID.{other}={}", quoted(text(attribute))),
    };
    format!("{key}={}", quoted(text(attribute)))
}

fn quoted(value: String) -> String {
    let plain = !value.is_empty()
        && value.trim() == value
        && !value.contains([',', '+', '=', '"', '\n', '<', '>', '#', ';']);
    match plain {
        true => value,
        false => format!("\"{}\"", value.replace('"', "\"\"")),
    }
}

fn text(attribute: &AttributeTypeAndValue) -> String {
    let value = attribute.value.value();
    match attribute.value.tag() {
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::Ia5String
        | Tag::VisibleString
        | Tag::NumericString => String::from_utf8_lossy(value).into_owned(),
        Tag::TeletexString => value.iter().copied().map(char::from).collect(),
        Tag::BmpString => {
            let units = value.chunks(2).map(|pair| {
                pair.iter()
                    .fold(0, |unit, byte| unit << 8 | u16::from(*byte))
            });
            char::decode_utf16(units)
                .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect()
        }
        _ => format!("#{}", hex(&attribute.value.to_der().unwrap_or_default())),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
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
    fn says_what_openssl_says() {
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
    fn every_way_to_send_it_is_the_same_certificate() {
        let certificate = Certificate::from_text(PEM).unwrap();
        let der = certificate.der_base64();
        let other = self::certificate(&[(DnType::CommonName, "other".into())]);
        let other = format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", other.der_base64());

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
    fn what_is_no_certificate_is_refused_with_a_sentence() {
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
            assert!(error.starts_with("The certificate is n"), "{text}: {error}");
            assert!(error.ends_with('.'), "{text}: {error}");
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
        fn no_text_and_no_bytes_panic(text: String, bytes: Vec<u8>) {
            prop_assert!(Certificate::from_text(&text).is_err());
            prop_assert!(Certificate::from_der(bytes.into()).is_err());
        }

        #[test]
        fn a_damaged_certificate_is_refused_or_another_one(at in 0..499usize, flip in 1..=255u8) {
            let sound = Certificate::from_text(PEM).unwrap();
            let mut der = sound.der().to_vec();
            der[at] ^= flip;

            if let Ok(damaged) = Certificate::from_der(der.into()) {
                prop_assert_ne!(damaged.sha256_thumbprint(), sound.sha256_thumbprint());
            }
        }
    }
}
