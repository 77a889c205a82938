//! A certificate in words.

use std::time::SystemTime;

use dps_types::Timestamp;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
pub(crate) use x509_cert::certificate::Version;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::oid::db::{rfc4519, rfc5280, rfc5912};
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName};
use x509_cert::name::Name;

/// What the commands need of a certificate.
#[derive(Debug, Clone)]
pub(crate) struct Parsed {
    pub(crate) version: Version,
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) common_name: Option<String>,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    pub(crate) is_ca: bool,
    /// The names of the uses; `None` without the extension, which allows every use.
    pub(crate) key_usage: Option<Vec<String>>,
    pub(crate) extended_key_usage: Option<Vec<String>>,
    pub(crate) public_key: Vec<u8>,
    alternative_names: Vec<String>,
    key_type: String,
    serial_number: String,
    thumbprints: [String; 2],
}

impl Parsed {
    /// The error is a sentence about the certificate.
    pub(crate) fn from_der(der: &[u8]) -> Result<Self, String> {
        let certificate = Certificate::from_der(der)
            .map_err(|error| format!("the certificate cannot be read: {error}"))?;
        let body = certificate.tbs_certificate();
        let basic = body.get_extension::<BasicConstraints>().ok().flatten();
        let usage = body.get_extension::<KeyUsage>().ok().flatten();
        let extended = body.get_extension::<ExtendedKeyUsage>().ok().flatten();
        let names = body.get_extension::<SubjectAltName>().ok().flatten();
        let key = body.subject_public_key_info();
        Ok(Self {
            version: body.version(),
            subject: body.subject().to_string(),
            issuer: body.issuer().to_string(),
            common_name: common_name(body.subject()),
            not_before: body.validity().not_before.to_system_time(),
            not_after: body.validity().not_after.to_system_time(),
            is_ca: basic.is_some_and(|(_, basic)| basic.ca),
            key_usage: usage.map(|(_, usage)| usage.0.into_iter().map(usage_name).collect()),
            extended_key_usage: extended
                .map(|(_, uses)| uses.0.iter().map(extended_usage_name).collect()),
            public_key: key.subject_public_key.raw_bytes().to_vec(),
            alternative_names: names.map_or_else(Vec::new, |(_, names)| {
                names.0.iter().filter_map(alternative_name).collect()
            }),
            key_type: key_type(
                key.algorithm.oid,
                key.algorithm
                    .parameters
                    .as_ref()
                    .and_then(|any| any.decode_as().ok()),
                &key.subject_public_key,
            ),
            serial_number: hex(body.serial_number().as_bytes()),
            thumbprints: [hex(&Sha1::digest(der)), hex(&Sha256::digest(der))],
        })
    }

    pub(crate) fn is_self_signed(&self) -> bool {
        self.subject == self.issuer
    }

    /// The certificate as a document.
    pub(crate) fn describe(&self) -> Value {
        let now = SystemTime::now();
        let state = match () {
            () if now < self.not_before => "not valid yet",
            () if now > self.not_after => "expired",
            () => "valid",
        };
        json!({
            "kind": "certificate",
            "subject": self.subject,
            "issuer": if self.is_self_signed() { "itself".to_owned() } else { self.issuer.clone() },
            "version": self.version as u8 + 1,
            "ca": self.is_ca,
            "state": state,
            "notBefore": Timestamp::from(self.not_before),
            "notAfter": Timestamp::from(self.not_after),
            "key": self.key_type,
            "keyUsage": self.key_usage,
            "extendedKeyUsage": self.extended_key_usage,
            "alternativeNames": self.alternative_names,
            "serialNumber": self.serial_number,
            "sha1Thumbprint": self.thumbprints[0],
            "sha256Thumbprint": self.thumbprints[1],
        })
    }
}

/// The last common name, which is the most specific one.
fn common_name(name: &Name) -> Option<String> {
    let attribute = name
        .iter()
        .filter(|attribute| attribute.oid == rfc4519::COMMON_NAME)
        .last()?;
    String::from_utf8(attribute.value.value().to_vec()).ok()
}

fn usage_name(usage: x509_cert::ext::pkix::KeyUsages) -> String {
    // The names of RFC 5280, which begin with a lowercase letter.
    let mut name = format!("{usage:?}");
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    name
}

fn extended_usage_name(oid: &ObjectIdentifier) -> String {
    match *oid {
        rfc5280::ID_KP_CLIENT_AUTH => "clientAuth".to_owned(),
        rfc5280::ID_KP_SERVER_AUTH => "serverAuth".to_owned(),
        rfc5280::ANY_EXTENDED_KEY_USAGE => "any".to_owned(),
        other => other.to_string(),
    }
}

fn alternative_name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(format!("DNS:{}", name.as_str())),
        GeneralName::Rfc822Name(name) => Some(format!("email:{}", name.as_str())),
        GeneralName::UniformResourceIdentifier(name) => Some(format!("URI:{}", name.as_str())),
        other => Some(format!("other:{}", hex(&other.to_der().ok()?))),
    }
}

fn key_type(
    algorithm: ObjectIdentifier,
    curve: Option<ObjectIdentifier>,
    key: &x509_cert::der::asn1::BitString,
) -> String {
    match (algorithm, curve) {
        // The modulus, without the length of its encoding.
        (rfc5912::RSA_ENCRYPTION, _) => format!(
            "RSA, about {} bits",
            key.raw_bytes().len().saturating_sub(14) / 32 * 32 * 8
        ),
        (_, Some(rfc5912::SECP_256_R_1)) => "ECDSA on P-256".to_owned(),
        (_, Some(rfc5912::SECP_384_R_1)) => "ECDSA on P-384".to_owned(),
        (other, _) => other.to_string(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}
