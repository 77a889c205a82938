//! The content of the certificate of an endorsement key.

use std::time::SystemTime;

use dps_types::Timestamp;
use dps_types::tpm::TpmPublic;
use x509_cert::Certificate;
use x509_cert::der::asn1::UintRef;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{self, Decode, Reader as _, SliceReader};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
};
use x509_cert::name::Name;

use super::fault::EndorsementFault;

/// tcg-kp-EKCertificate.
pub(super) const ENDORSEMENT_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.8.1");
/// tcg-at-tpmManufacturer, tcg-at-tpmModel, tcg-at-tpmVersion.
const MANUFACTURER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.2.1");
const MODEL: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.2.2");
const VERSION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.2.3");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// Some manufacturers restrict the key to this padding, which TPMs use.
const RSAES_OAEP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.7");
const EXPONENT: &[u8] = &[1, 0, 1];

/// The TPM that the manufacturer has certified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertifiedTpm {
    manufacturer: String,
    model: String,
    version: String,
    not_after: Timestamp,
}

impl CertifiedTpm {
    /// The manufacturer: the name that the TCG has assigned, such as `IFX`. A number that is not text is returned as it is in the
    /// certificate, such as `id:00001014`.
    ///
    /// Source: TCG, *TCG TPM Vendor ID Registry*.
    pub fn manufacturer(&self) -> &str {
        &self.manufacturer
    }

    /// The manufacturer's name of the model.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The version of the firmware when the TPM was made, such as `id:00010002`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The time at which the certificate expires.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

pub(super) struct Content {
    certificate: Certificate,
}

/// The public area of an endorsement key without its modulus: RSA, SHA-256, the attributes 0x000300b2, the policy (the authorization of the
/// endorsement hierarchy), AES-128-CFB, no scheme, 2048 bits, the default exponent.
///
/// Source: TCG, *EK Credential Profile*, template L-1. Azure's SDKs create keys with the same public area.
const TEMPLATE: &[u8] = b"\x00\x01\x00\x0b\x00\x03\x00\xb2\x00\x20\
    \x83\x71\x97\x67\x44\x84\xb3\xf8\x1a\x90\xcc\x8d\x46\xa5\xd7\x24\
    \xfd\x52\xd7\x6e\x06\x52\x0b\x64\xf2\xa1\xda\x1b\x33\x14\x69\xaa\
    \x00\x06\x00\x80\x00\x43\x00\x10\x08\x00\x00\x00\x00\x00\x01\x00";

/// A TPM answers the challenge for a key with other attributes as well, and each one has its own registration id. With one template, a TPM
/// has one endorsement key.
fn has_the_template(key: &TpmPublic) -> bool {
    key.area().strip_suffix(key.modulus()) == Some(TEMPLATE)
}

impl Content {
    pub(super) fn parse(der: &[u8]) -> Result<Self, EndorsementFault> {
        match Certificate::from_der(der) {
            Ok(certificate) => Ok(Self { certificate }),
            Err(error) => Err(EndorsementFault::Malformed {
                reason: error.to_string(),
            }),
        }
    }

    pub(super) fn check_key(&self, expected: &TpmPublic) -> Result<(), EndorsementFault> {
        let key = self.certificate.tbs_certificate().subject_public_key_info();
        let is_rsa = matches!(key.algorithm.oid, RSA_ENCRYPTION | RSAES_OAEP);
        match rsa_key(key.subject_public_key.raw_bytes()) {
            Ok((modulus, exponent))
                if is_rsa
                    && has_the_template(expected)
                    && modulus.as_bytes() == expected.modulus()
                    && exponent.as_bytes() == EXPONENT =>
            {
                Ok(())
            }
            _ => Err(EndorsementFault::OtherKey),
        }
    }

    /// Checks the extensions that only a certificate for an endorsement key has.
    pub(super) fn check_use(&self) -> Result<(), EndorsementFault> {
        let body = self.certificate.tbs_certificate();
        let usages = body.get_extension::<ExtendedKeyUsage>().map_err(damaged)?;
        if !usages.is_some_and(|(_, usages)| usages.0.contains(&ENDORSEMENT_USAGE)) {
            return Err(other("the extended key usage 2.23.133.8.1 is missing"));
        }
        let constraints = body.get_extension::<BasicConstraints>().map_err(damaged)?;
        if constraints.is_some_and(|(_, constraints)| constraints.ca) {
            return Err(other("it is that of a certification authority"));
        }
        let usage = body.get_extension::<KeyUsage>().map_err(damaged)?;
        if !usage.is_some_and(|(_, usage)| usage.0.contains(KeyUsages::KeyEncipherment)) {
            return Err(other("the key usage keyEncipherment is missing"));
        }
        Ok(())
    }

    pub(super) fn check_validity(&self, now: SystemTime) -> Result<(), EndorsementFault> {
        let validity = self.certificate.tbs_certificate().validity();
        let (from, until) = (
            validity.not_before.to_system_time(),
            validity.not_after.to_system_time(),
        );
        match () {
            () if now < from => Err(EndorsementFault::NotYetValid(from.into())),
            () if now > until => Err(EndorsementFault::Expired(until.into())),
            () => Ok(()),
        }
    }

    /// The description of the TPM in the subject alternative name.
    pub(super) fn tpm(&self) -> Result<CertifiedTpm, EndorsementFault> {
        let body = self.certificate.tbs_certificate();
        let names = body.get_extension::<SubjectAltName>().map_err(damaged)?;
        let (_, names) = names.ok_or_else(|| other("the subject alternative name is missing"))?;
        let attribute = |oid: ObjectIdentifier, what: &str| {
            names
                .0
                .iter()
                .filter_map(|name| match name {
                    GeneralName::DirectoryName(name) => Some(name),
                    _ => None,
                })
                .flat_map(Name::iter)
                .find(|attribute| attribute.oid == oid)
                .and_then(|attribute| str::from_utf8(attribute.value.value()).ok())
                .map(str::to_owned)
                .ok_or_else(|| {
                    other(&format!(
                        "the subject alternative name has no {what} of the TPM"
                    ))
                })
        };
        Ok(CertifiedTpm {
            manufacturer: vendor(attribute(MANUFACTURER, "manufacturer")?),
            model: attribute(MODEL, "model")?,
            version: attribute(VERSION, "version")?,
            not_after: body.validity().not_after.to_system_time().into(),
        })
    }
}

/// Modulus and exponent of an `RSAPublicKey` (RFC 8017).
fn rsa_key(der: &[u8]) -> der::Result<(UintRef<'_>, UintRef<'_>)> {
    let mut reader = SliceReader::new(der)?;
    let key = reader.sequence(|reader| {
        Ok::<_, der::Error>((UintRef::decode(reader)?, UintRef::decode(reader)?))
    })?;
    reader.finish()?;
    Ok(key)
}

/// The four letters in the form `id:` and eight hexadecimal digits.
fn vendor(id: String) -> String {
    let name = id
        .strip_prefix("id:")
        .filter(|digits| digits.len() == 8)
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .and_then(|number| String::from_utf8(number.to_be_bytes().to_vec()).ok())
        .map(|name| name.trim_end_matches(['\0', ' ']).to_owned());
    match name {
        Some(name) if !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic()) => name,
        _ => id,
    }
}

fn damaged(error: der::Error) -> EndorsementFault {
    EndorsementFault::Malformed {
        reason: format!("an extension is damaged: {error}"),
    }
}

fn other(reason: &str) -> EndorsementFault {
    EndorsementFault::NotForEndorsement {
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_vendor_is_its_name() {
        for (id, name) in [
            ("id:49465800", "IFX"),
            ("id:414D4400", "AMD"),
            ("id:4E544300", "NTC"),
            ("id:53544D20", "STM"),
            ("id:00001014", "id:00001014"),
            ("id:", "id:"),
            ("id:494658", "id:494658"),
            ("id:+9465800", "id:+9465800"),
            ("id:00000000", "id:00000000"),
            ("IFX", "IFX"),
        ] {
            assert_eq!(vendor(id.to_owned()), name);
        }
    }

    #[test]
    fn a_key_that_is_not_rsa_is_not_read() {
        rsa_key(&[0x30, 6, 2, 1, 5, 2, 1, 3]).unwrap();
        for der in [
            &[][..],
            &[4, 1, 2],
            &[0x30, 3, 2, 1, 5],
            &[0x30, 6, 2, 1, 5, 2, 1, 3, 0],
        ] {
            rsa_key(der).unwrap_err();
        }
    }
}
