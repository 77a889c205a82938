//! The public half of a private key in a token, from wherever the token has it.

use cryptoki::object::{AttributeType, ObjectHandle};
use cryptoki::session::Session;
use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, OctetStringRef};
use x509_cert::der::{Decode, Encode};

use super::super::device_key::{KeyAlgorithm, ec_public_key, rsa_public_key};
use super::failure::Failure;
use super::object::{Class, Wanted, bytes};
use crate::error::Error;

const PRIME256V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// The objects that go with a private key have its id, or where it has none its label.
pub(super) fn companion(
    session: &Session,
    key: ObjectHandle,
    class: Class,
) -> Result<Option<Wanted>, Failure> {
    if let Some(id) = bytes(session, key, AttributeType::Id)? {
        return Ok(Some(Wanted::by_id(class, &id)));
    }
    let label = bytes(session, key, AttributeType::Label)?;
    let label = label.and_then(|label| String::from_utf8(label).ok());
    Ok(label.map(|label| Wanted::by_label(class, &label)))
}

/// The SubjectPublicKeyInfo, DER: as the private key tells it itself, or the public key object, or the certificate.
pub(super) fn find(session: &Session, key: ObjectHandle) -> Result<Option<Vec<u8>>, Failure> {
    if let Some(info) = bytes(session, key, AttributeType::PublicKeyInfo)?
        && KeyAlgorithm::of(&info).is_some()
    {
        return Ok(Some(info));
    }
    if let Some(info) = rsa(session, key)? {
        return Ok(Some(info));
    }
    if let Some(wanted) = companion(session, key, Class::PublicKey)?
        && let [object] = *wanted.all(session)?
    {
        let info = match rsa(session, object)? {
            Some(info) => Some(info),
            None => ec(session, object)?,
        };
        if info.is_some() {
            return Ok(info);
        }
    }
    if let Some(wanted) = companion(session, key, Class::Certificate)?
        && let [object] = *wanted.all(session)?
        && let Some(certificate) = bytes(session, object, AttributeType::Value)?
    {
        return Ok(Some(of_certificate(&certificate.into())?));
    }
    Ok(None)
}

/// The SubjectPublicKeyInfo, DER, of a certificate.
pub(super) fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, Error> {
    let read = || {
        let certificate = Certificate::from_der(certificate)?;
        certificate
            .tbs_certificate()
            .subject_public_key_info()
            .to_der()
    };
    read().map_err(|error| Error::configuration("a certificate cannot be read").with_source(error))
}

fn rsa(session: &Session, object: ObjectHandle) -> Result<Option<Vec<u8>>, Failure> {
    let modulus = bytes(session, object, AttributeType::Modulus)?;
    let exponent = bytes(session, object, AttributeType::PublicExponent)?;
    match modulus.zip(exponent) {
        Some((modulus, exponent)) => Ok(Some(rsa_public_key(&modulus, &exponent)?)),
        None => Ok(None),
    }
}

fn ec(session: &Session, object: ObjectHandle) -> Result<Option<Vec<u8>>, Failure> {
    let curve = bytes(session, object, AttributeType::EcParams)?;
    let point = bytes(session, object, AttributeType::EcPoint)?;
    let Some((curve, point)) = curve.zip(point) else {
        return Ok(None);
    };
    let algorithm = match ObjectIdentifier::from_der(&curve) {
        Ok(PRIME256V1) => KeyAlgorithm::P256,
        Ok(SECP384R1) => KeyAlgorithm::P384,
        _ => {
            return Err(Error::configuration(
                "the private key is on a curve other than P-256 and P-384",
            )
            .into());
        }
    };
    Ok(Some(ec_public_key(algorithm, bare_point(&point))?))
}

/// The standard wraps the point in an OCTET STRING, some tokens do not. Both begin with 4, so the length tells:
/// that of a bare point of P-256 or P-384 is 65 or 97 bytes.
fn bare_point(point: &[u8]) -> &[u8] {
    match <&OctetStringRef>::from_der(point) {
        Ok(inner) if !matches!(point.len(), 65 | 97) => inner.as_bytes(),
        _ => point,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_taken_wrapped_or_bare() {
        let bare = [&[4][..], &[7; 64]].concat();
        let wrapped = [&[0x04, 0x41][..], &bare].concat();
        assert_eq!(bare_point(&wrapped), bare);
        assert_eq!(bare_point(&bare), bare);

        let bare = [&[4, 0x5f][..], &[7; 95]].concat();
        assert_eq!(bare.len(), 97);
        assert_eq!(bare_point(&bare), bare);
    }
}
