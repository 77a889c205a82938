//! Certificates in a token: reading and storing the chain of a key.

use cryptoki::object::{Attribute, AttributeType, CertificateType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use dps_tls::read_chain;
use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::{self, Decode, Encode};

use super::connection::Connection;
use super::failure::Failure;
use super::key_place::KeyPlace;
use super::object::{Class, Selector, bytes};
use super::public_key::companion;
use super::token::Token;
use super::uri::Uri;
use crate::error::Error;

/// Limits the search for issuers, which may form a circle.
const MAX_ISSUERS: usize = 8;

impl Token {
    /// Stores the chain (PEM or DER, the leaf first) for the private key that the URI selects. [`identity`](Self::identity) finds it.
    ///
    /// The leaf has the label and id of the key, and replaces the previous certificate. Issuers that the token already has are not
    /// stored again.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if the chain cannot be read, the leaf has another public
    /// key, or the token does not accept certificates.
    pub async fn store_chain(&self, uri: &Uri, chain: impl AsRef<[u8]>) -> Result<(), Error> {
        let chain = read_chain(chain.as_ref()).map_err(|error| {
            Error::configuration("the certificate chain cannot be read").with_source(error)
        })?;
        // Checks the chain as `identity` will.
        let key = self.private_key(uri).await?;
        key.identity_of(chain.clone())?;
        let place = key.place().clone();
        self.with("store the certificate", move |connection| {
            let key = connection.key(&place)?;
            let writing = connection.writing()?;
            store(&connection.session, &writing, key, &chain)
        })
        .await
    }
}

/// The certificate of a key and the issuers that the token has, without the root.
pub(super) fn chain(
    connection: &mut Connection,
    key: &KeyPlace,
) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let key = connection.key(key)?;
    let session = &connection.session;
    let leaf = leaf(session, key)?.one(session)?;
    let mut chain = vec![value(session, leaf)?];
    while let Some(last) = chain.last()
        && chain.len() <= MAX_ISSUERS
    {
        match issuer(session, last)? {
            Some(issuer) => chain.push(issuer),
            None => break,
        }
    }
    Ok(chain)
}

fn leaf(session: &Session, key: ObjectHandle) -> Result<Selector, Failure> {
    companion(session, key, Class::Certificate)?.ok_or_else(|| {
        Error::configuration(
            "the private key has neither an id nor a label, so its certificate cannot be found",
        )
        .into()
    })
}

fn issuer(
    session: &Session,
    of: &CertificateDer<'_>,
) -> Result<Option<CertificateDer<'static>>, Failure> {
    let names = Names::of(of)?;
    if names.subject == names.issuer {
        return Ok(None);
    }
    let template = [
        Attribute::Class(ObjectClass::CERTIFICATE),
        Attribute::Subject(names.issuer),
    ];
    for object in session.find_objects(&template)? {
        let certificate = value(session, object)?;
        let names = Names::of(&certificate)?;
        if names.subject != names.issuer {
            return Ok(Some(certificate));
        }
    }
    Ok(None)
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

fn store(
    session: &Session,
    writing: &Session,
    key: ObjectHandle,
    chain: &[CertificateDer<'static>],
) -> Result<(), Failure> {
    let old = leaf(session, key)?.all(session)?;
    for (position, certificate) in chain.iter().enumerate() {
        let is_leaf = position == 0;
        if !is_leaf && is_stored(session, certificate)? {
            continue;
        }
        let mut template = Names::of(certificate)?.attributes();
        template.push(Attribute::Value(certificate.to_vec()));
        if is_leaf {
            let label = bytes(session, key, AttributeType::Label)?;
            let id = bytes(session, key, AttributeType::Id)?;
            template.extend(label.map(Attribute::Label));
            template.extend(id.map(Attribute::Id));
        }
        writing.create_object(&template)?;
    }
    for object in old {
        writing.destroy_object(object)?;
    }
    Ok(())
}

fn is_stored(session: &Session, certificate: &CertificateDer<'_>) -> Result<bool, Failure> {
    let template = [
        Attribute::Class(ObjectClass::CERTIFICATE),
        Attribute::Value(certificate.to_vec()),
    ];
    Ok(!session.find_objects(&template)?.is_empty())
}

/// The names of a certificate by which a token finds it, DER.
struct Names {
    subject: Vec<u8>,
    issuer: Vec<u8>,
    serial: Vec<u8>,
}

impl Names {
    fn of(certificate: &CertificateDer<'_>) -> Result<Self, Error> {
        let read = || -> Result<Self, der::Error> {
            let certificate = Certificate::from_der(certificate)?;
            let signed = certificate.tbs_certificate();
            Ok(Self {
                subject: signed.subject().to_der()?,
                issuer: signed.issuer().to_der()?,
                serial: signed.serial_number().to_der()?,
            })
        };
        read().map_err(|error| {
            Error::configuration("a certificate cannot be read").with_source(error)
        })
    }

    fn attributes(self) -> Vec<Attribute> {
        vec![
            Attribute::Class(ObjectClass::CERTIFICATE),
            Attribute::CertificateType(CertificateType::X_509),
            Attribute::Token(true),
            Attribute::Private(false),
            Attribute::Subject(self.subject),
            Attribute::Issuer(self.issuer),
            Attribute::SerialNumber(self.serial),
        ]
    }
}
