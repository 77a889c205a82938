//! The public key of a private key in a token, from the key itself, its public key object or its certificate.

use cryptoki::object::{AttributeType, ObjectHandle};
use cryptoki::session::Session;
use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, OctetStringRef};
use x509_cert::der::{Decode, Encode};

use super::super::device_key::{KeyAlgorithm, PRIME256V1, SECP384R1};
use super::super::key_encoding::{ec_public_key, rsa_public_key};
use super::failure::Failure;
use super::object::{Class, Selector, bytes};
use crate::error::Error;

/// Selects an object that belongs to a private key: it has the id of the key or, if the key has no id, its label.
pub(super) fn companion(
    session: &Session,
    key: ObjectHandle,
    class: Class,
) -> Result<Option<Selector>, Failure> {
    if let Some(id) = bytes(session, key, AttributeType::Id)? {
        return Ok(Some(Selector::by_id(class, &id)));
    }
    let label = bytes(session, key, AttributeType::Label)?;
    let label = label.and_then(|label| String::from_utf8(label).ok());
    Ok(label.map(|label| Selector::by_label(class, &label)))
}

/// The SubjectPublicKeyInfo, DER. `None` if the token has no source for it.
pub(super) fn find(session: &Session, key: ObjectHandle) -> Result<Option<Vec<u8>>, Failure> {
    if let Some(info) = bytes(session, key, AttributeType::PublicKeyInfo)?
        && KeyAlgorithm::of(&info).is_some()
    {
        return Ok(Some(info));
    }
    if let Some(info) = rsa(session, key)? {
        return Ok(Some(info));
    }
    if let Some(selector) = companion(session, key, Class::PublicKey)?
        && let [object] = *selector.all(session)?
    {
        let info = match rsa(session, object)? {
            Some(info) => Some(info),
            None => ec(session, object)?,
        };
        if info.is_some() {
            return Ok(info);
        }
    }
    if let Some(selector) = companion(session, key, Class::Certificate)?
        && let [object] = *selector.all(session)?
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
        Some((modulus, exponent)) => {
            check_size(&modulus)?;
            Ok(Some(rsa_public_key(&modulus, &exponent)?))
        }
        None => Ok(None),
    }
}

fn check_size(modulus: &[u8]) -> Result<(), Error> {
    let bytes = modulus.iter().skip_while(|byte| **byte == 0).count();
    if bytes < 256 {
        let bits = 8 * bytes;
        return Err(Error::configuration(format!(
            "the RSA key has {bits} bits, and TLS requires 2048 bits or more"
        )));
    }
    Ok(())
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

/// The standard wraps the point in an OCTET STRING, but some tokens do not. Both start with the byte 4, so the length decides: a bare
/// point has 65 (P-256) or 97 (P-384) bytes.
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
    fn a_point_may_be_wrapped_or_bare() {
        let bare = [&[4][..], &[7; 64]].concat();
        let wrapped = [&[0x04, 0x41][..], &bare].concat();
        assert_eq!(bare_point(&wrapped), bare);
        assert_eq!(bare_point(&bare), bare);

        let bare = [&[4, 0x5f][..], &[7; 95]].concat();
        assert_eq!(bare.len(), 97);
        assert_eq!(bare_point(&bare), bare);
    }
}
