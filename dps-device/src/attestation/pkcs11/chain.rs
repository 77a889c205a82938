//! The certificate chain of a private key, from the certificates in its token.

use std::time::Duration;

use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use dps_tls::read_chain;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::{self, Decode, Encode};

use super::connection::Connection;
use super::failure::Failure;
use super::key_place::KeyPlace;
use super::object::{Class, Selector, bytes};
use super::public_key::{self, companion, of_certificate};
use crate::error::Error;

/// Limits the search for issuers, which may form a circle.
const MAX_ISSUERS: usize = 8;
/// Limits the certificates that a search reads: reading one is a command of the token.
const MAX_CANDIDATES: usize = 256;

/// The certificate of a key and the issuers that the token has, without the root.
pub(super) fn chain(
    connection: &mut Connection,
    key: &KeyPlace,
    public_key: &[u8],
) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let key = connection.key(key)?;
    let session = &connection.session;
    let mut chain = vec![leaf(session, key, public_key)?];
    while let Some(last) = chain.last()
        && chain.len() <= MAX_ISSUERS
    {
        match issuer(session, last, Wanted::Intermediate)? {
            Some(issuer) => chain.push(issuer),
            None => break,
        }
    }
    Ok(chain)
}

/// The chain with its root, if the token has it.
pub(super) fn chain_to_root(
    connection: &mut Connection,
    key: &KeyPlace,
    public_key: &[u8],
) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let mut chain = chain(connection, key, public_key)?;
    if let Some(last) = chain.last()
        && let Some(root) = issuer(&connection.session, last, Wanted::Root)?
    {
        chain.push(root);
    }
    Ok(chain)
}

/// The private key of the certificate that this selects: the key has the id of the certificate, or the same public key.
pub(super) fn key_of_certificate(
    session: &Session,
    certificate: &Selector,
) -> Result<Option<Selector>, Failure> {
    let keys = Selector::every(Class::PrivateKey).all(session)?;
    let mut unreadable = Unreadable::default();
    for certificate in certificate.all(session)?.into_iter().take(MAX_CANDIDATES) {
        let id = unreadable.skip(bytes(session, certificate, AttributeType::Id))?;
        if let Some(id) = id.flatten() {
            let key = Selector::by_id(Class::PrivateKey, &id);
            if !key.all(session)?.is_empty() {
                return Ok(Some(key));
            }
        }
        let public_key = value(session, certificate).and_then(|value| Ok(of_certificate(&value)?));
        let Some(public_key) = unreadable.skip(public_key)? else {
            continue;
        };
        for key in keys.iter().take(MAX_CANDIDATES) {
            // A key of a kind that is not supported is not the key of this certificate.
            if matches!(public_key::find(session, *key), Ok(Some(found)) if found == public_key) {
                let unnamed = Selector::every(Class::PrivateKey);
                return Ok(Some(unnamed.with_full_name(session, *key)?));
            }
        }
    }
    unreadable.report()?;
    Ok(None)
}

/// The certificate of a key: the newest one with the public key of the key. Certificates with the id or label of the key come first,
/// but a token may also name them differently.
///
/// There are two while a new certificate replaces the previous one, also after a power failure.
///
/// # Errors
/// [`Failure::NoCertificate`] if each certificate was read and none is that of the key, or the only candidates are damaged.
fn leaf(
    session: &Session,
    key: ObjectHandle,
    public_key: &[u8],
) -> Result<CertificateDer<'static>, Failure> {
    let named = companion(session, key, Class::Certificate)?;
    let every = Selector::every(Class::Certificate);
    let mut unreadable = Unreadable::default();
    for selector in named.iter().chain([&every]) {
        let mut newest = None;
        for object in selector.all(session)?.into_iter().take(MAX_CANDIDATES) {
            let read = value(session, object).and_then(|certificate| {
                let age = Signed::read(&certificate)?.age();
                Ok((of_certificate(&certificate)?, (age, certificate.to_vec())))
            });
            if let Some((key, candidate)) = unreadable.skip(read)?
                && key == public_key
            {
                newest = newest.max(Some(candidate));
            }
        }
        if let Some((_, certificate)) = newest {
            return Ok(certificate.into());
        }
    }
    if let Err(failure) = unreadable.report() {
        return Err(match failure {
            Failure::Ours(damaged) => Failure::NoCertificate(damaged),
            failure => failure,
        });
    }
    Err(Failure::NoCertificate(match named {
        Some(named) if named.all(session)?.is_empty() => named.missing(session)?,
        Some(named) => {
            Error::configuration(format!("the {named} in the token belongs to another key"))
        }
        None => Error::configuration("the token has no certificate of the private key"),
    }))
}

/// The issuer that a search looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// The newest one with the name. One that has signed the certificate comes first.
    Intermediate,
    /// The newest one that has signed the certificate.
    Root,
}

/// The issuer of a certificate. `None` for a root.
fn issuer(
    session: &Session,
    of: &CertificateDer<'_>,
    wanted: Wanted,
) -> Result<Option<CertificateDer<'static>>, Failure> {
    let signed = Signed::read(of)?;
    if signed.is_self_issued() {
        return Ok(None);
    }
    let template = [
        Attribute::Class(ObjectClass::CERTIFICATE),
        Attribute::Subject(signed.issuer()?),
    ];
    let mut best = None;
    let mut has_other = false;
    let mut unreadable = Unreadable::default();
    let objects = session.iter_objects(&template)?.take(MAX_CANDIDATES);
    let objects: Result<Vec<_>, _> = objects.collect();
    for object in objects? {
        let read = value(session, object)
            .and_then(|certificate| Ok((Signed::read(&certificate)?, certificate)));
        let Some((candidate, certificate)) = unreadable.skip(read)? else {
            continue;
        };
        let has_signed = signed.is_signed_by(&candidate);
        let is_wanted = match wanted {
            Wanted::Intermediate => !candidate.is_self_issued(),
            Wanted::Root => candidate.is_self_issued() && has_signed,
        };
        match is_wanted {
            true => best = best.max(Some((has_signed, candidate.age(), certificate.to_vec()))),
            false => has_other = true,
        }
    }
    if best.is_none() && !has_other {
        unreadable.report()?;
    }
    Ok(best.map(|(_, _, certificate)| certificate.into()))
}

/// A certificate that cannot be read. A search skips it, because another certificate may be the one that is needed.
#[derive(Default)]
struct Unreadable(Option<Failure>);

impl Unreadable {
    /// `None` if the object cannot be read. A failure of the session ends the search.
    fn skip<T>(&mut self, read: Result<T, Failure>) -> Result<Option<T>, Failure> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(failure) if failure.is_of_the_object() => {
                // A certificate that the token does not return may be the right one, and a damaged one is not.
                if !matches!(self.0, Some(Failure::Module(_))) {
                    self.0 = Some(failure);
                }
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    /// The failure of a search that has found nothing else.
    fn report(self) -> Result<(), Failure> {
        self.0.map_or(Ok(()), Err)
    }
}

fn value(session: &Session, certificate: ObjectHandle) -> Result<CertificateDer<'static>, Failure> {
    let value = bytes(session, certificate, AttributeType::Value)?;
    read_certificate(&value.unwrap_or_default()).map_err(Into::into)
}

/// Reads the CKA_VALUE of a certificate object, which must be one certificate.
fn read_certificate(value: &[u8]) -> Result<CertificateDer<'static>, Error> {
    let what = "a certificate in the token cannot be read";
    let chain = read_chain(value).map_err(|error| Error::configuration(what).with_source(error))?;
    match <[_; 1]>::try_from(chain) {
        Ok([certificate]) => Ok(certificate),
        Err(_) => Err(Error::configuration(
            "a certificate object in the token holds more than one certificate",
        )),
    }
}

/// A certificate whose names, validity and signature are read.
pub(super) struct Signed(Certificate);

impl Signed {
    pub(super) fn read(certificate: &CertificateDer<'_>) -> Result<Self, Error> {
        Certificate::from_der(certificate)
            .map(Self)
            .map_err(unreadable)
    }

    /// The subject, DER.
    pub(super) fn subject(&self) -> Result<Vec<u8>, Error> {
        let subject = self.0.tbs_certificate().subject();
        subject.to_der().map_err(unreadable)
    }

    /// The subject of the issuer, DER.
    pub(super) fn issuer(&self) -> Result<Vec<u8>, Error> {
        let issuer = self.0.tbs_certificate().issuer();
        issuer.to_der().map_err(unreadable)
    }

    /// The serial number, DER.
    pub(super) fn serial(&self) -> Result<Vec<u8>, Error> {
        let serial = self.0.tbs_certificate().serial_number();
        serial.to_der().map_err(unreadable)
    }

    /// The start and the end of the validity, from the Unix epoch: the greater, the newer. Certificates of the same age are compared
    /// by their bytes, because a token lists its objects in any order.
    fn age(&self) -> (Duration, Duration) {
        let validity = self.0.tbs_certificate().validity();
        (
            validity.not_before.to_unix_duration(),
            validity.not_after.to_unix_duration(),
        )
    }

    fn is_self_issued(&self) -> bool {
        let signed = self.0.tbs_certificate();
        signed.subject() == signed.issuer()
    }

    /// Returns true if the key of the issuer has signed this certificate.
    fn is_signed_by(&self, issuer: &Self) -> bool {
        let key = issuer.0.tbs_certificate().subject_public_key_info();
        let key = key.subject_public_key.raw_bytes();
        let signature = self.0.signature().raw_bytes();
        let Ok(signed) = self.0.tbs_certificate().to_der() else {
            return false;
        };
        let algorithms = ring::default_provider().signature_verification_algorithms;
        let mut algorithms = algorithms.all.iter();
        algorithms.any(|algorithm| algorithm.verify_signature(key, &signed, signature).is_ok())
    }
}

fn unreadable(error: der::Error) -> Error {
    Error::configuration("a certificate cannot be read").with_source(error)
}
