//! The public key of a private key in a token, from the key itself, its public key object or its certificate.

use cryptoki::object::{AttributeType, ObjectHandle};
use cryptoki::session::Session;
use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

use super::super::device_key::KeyAlgorithm;
use super::attributes::{ec_key, rsa_key};
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
        Some((modulus, exponent)) => Ok(Some(rsa_key(&modulus, &exponent)?)),
        None => Ok(None),
    }
}

fn ec(session: &Session, object: ObjectHandle) -> Result<Option<Vec<u8>>, Failure> {
    let curve = bytes(session, object, AttributeType::EcParams)?;
    let point = bytes(session, object, AttributeType::EcPoint)?;
    match curve.zip(point) {
        Some((curve, point)) => Ok(Some(ec_key(&curve, &point)?)),
        None => Ok(None),
    }
}
