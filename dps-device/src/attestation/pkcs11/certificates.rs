//! Storing the certificate chain of a private key in its token.

use cryptoki::object::{Attribute, AttributeType, CertificateType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use dps_tls::read_chain;
use rustls::pki_types::CertificateDer;

use super::chain::Signed;
use super::failure::Failure;
use super::object::{Class, MAX_OBJECTS, bytes};
use super::public_key::companion;
use super::token::Token;
use super::uri::Uri;
use crate::error::Error;

impl Token {
    /// Stores the chain (PEM or DER, the leaf first) for the private key that the URI selects. [`identity`](Self::identity) finds it.
    ///
    /// The leaf has the label and id of the key, and replaces the previous certificate. Issuers that the token already has are not
    /// stored again.
    ///
    /// The issuers are stored first, then the leaf, and the previous certificate is removed last: after a power failure at any moment
    /// the token has a complete chain, the previous one or the new one.
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

fn store(
    session: &Session,
    writing: &Session,
    key: ObjectHandle,
    chain: &[CertificateDer<'static>],
) -> Result<(), Failure> {
    let named = companion(session, key, Class::Certificate)?.ok_or_else(|| {
        Error::configuration(
            "the private key has neither an id nor a label, so its certificate could not be found again",
        )
    })?;
    let Some((leaf, issuers)) = chain.split_first() else {
        return Err(Error::configuration("the certificate chain is empty").into());
    };
    for issuer in issuers {
        if stored(session, issuer)?.is_empty() {
            writing.create_object(&attributes(issuer)?)?;
        }
    }
    let mut old = named.all(session)?;
    let same = stored(session, leaf)?;
    // Some modules do not store a certificate twice.
    match old.iter().position(|object| same.contains(object)) {
        Some(position) => {
            old.remove(position);
        }
        None => {
            let mut template = attributes(leaf)?;
            let label = bytes(session, key, AttributeType::Label)?;
            let id = bytes(session, key, AttributeType::Id)?;
            template.extend(label.map(Attribute::Label));
            template.extend(id.map(Attribute::Id));
            writing.create_object(&template)?;
        }
    }
    for object in old {
        // Some modules give the new certificate the handle of another object.
        if bytes(writing, object, AttributeType::Value)?.as_deref() != Some(&**leaf) {
            named.destroy(writing, object)?;
        }
    }
    Ok(())
}

/// The objects of this certificate.
fn stored(
    session: &Session,
    certificate: &CertificateDer<'_>,
) -> Result<Vec<ObjectHandle>, Failure> {
    let template = [
        Attribute::Class(ObjectClass::CERTIFICATE),
        Attribute::Token(true),
        Attribute::Value(certificate.to_vec()),
    ];
    let objects = session.iter_objects(&template)?.take(MAX_OBJECTS);
    Ok(objects.collect::<Result<_, _>>()?)
}

/// The attributes of a certificate, among them the names by which a token finds it.
fn attributes(certificate: &CertificateDer<'_>) -> Result<Vec<Attribute>, Error> {
    let signed = Signed::read(certificate)?;
    Ok(vec![
        Attribute::Class(ObjectClass::CERTIFICATE),
        Attribute::CertificateType(CertificateType::X_509),
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Subject(signed.subject()?),
        Attribute::Issuer(signed.issuer()?),
        Attribute::SerialNumber(signed.serial()?),
        Attribute::Value(certificate.to_vec()),
    ])
}
