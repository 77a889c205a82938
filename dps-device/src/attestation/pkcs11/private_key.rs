//! A private key in a token: it signs for TLS and for certificate signing requests.

mod mechanism;

use std::fmt;
use std::sync::Arc;

use cryptoki::mechanism::MechanismType;
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;
use dps_tls::read_chain;
use dps_types::RegistrationId;
use dps_types::sas::SignError;
use rustls::SignatureScheme;
use rustls::pki_types::CertificateDer;

use self::mechanism::plan;
use super::super::ClientIdentity;
use super::super::device_key::{
    DeviceKey, KeyAlgorithm, certificate_request, ecdsa_signature, identity, verifies,
};
use super::connection::{Connection, Link};
use super::failure::Failure;
use super::object::{Class, Wanted};
use super::public_key;
use super::secret_key::KeyPlace;
use super::token::{Token, blocking};
use super::uri::Uri;
use crate::error::Error;

/// A private key that stays in its token: ECDSA on P-256 or P-384, or RSA of 2048 bits or more.
///
/// In a TLS handshake the thread that drives the connection waits for the token, since rustls wants its signature at once.
#[derive(Debug, Clone)]
pub struct PrivateKey(Arc<TokenKey>);

struct TokenKey {
    link: Arc<Link>,
    place: KeyPlace,
    public_key: Vec<u8>,
    algorithm: KeyAlgorithm,
    /// What the token can do.
    mechanisms: Vec<MechanismType>,
}

impl Token {
    /// The private key that `object` and `id` of the URI name: the only one there is, when they name none.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when there is none or more than one, when it is of a kind that TLS does
    /// not take, when the token can make no signature with it that TLS knows, when it wants its PIN for each signature (CKA_ALWAYS_AUTHENTICATE), or when
    /// the token has neither its public key nor its certificate.
    pub async fn private_key(&self, uri: &Uri) -> Result<PrivateKey, Error> {
        let wanted = Wanted::new(Class::PrivateKey, uri);
        self.find_private_key(wanted, None).await
    }

    /// The private key that the URI names, with its certificate in the token, and those of the issuers as far as they are there.
    ///
    /// The certificate is that which has the key's id.
    ///
    /// # Errors
    /// As [`private_key`](Self::private_key), and when there is no certificate of the key in the token, or more than one.
    pub async fn identity(&self, uri: &Uri) -> Result<ClientIdentity, Error> {
        let key = self.private_key(uri).await?;
        let place = key.place().clone();
        let chain = self
            .with("give the certificate", move |connection| {
                super::certificates::chain(connection, &place)
            })
            .await?;
        key.identity_of(chain)
    }

    /// The private key that the URI names, with this chain, PEM or DER, the leaf first. The token needs neither
    /// public key nor certificate.
    ///
    /// # Errors
    /// As [`private_key`](Self::private_key), and when the leaf is not the key's.
    pub async fn identity_with_chain(
        &self,
        uri: &Uri,
        chain: impl AsRef<[u8]>,
    ) -> Result<ClientIdentity, Error> {
        let chain = read_chain(chain.as_ref()).map_err(unreadable)?;
        let wanted = Wanted::new(Class::PrivateKey, uri);
        let leaf = chain.first().cloned();
        let key = self.find_private_key(wanted, leaf).await?;
        key.identity_of(chain)
    }

    async fn find_private_key(
        &self,
        wanted: Wanted,
        certificate: Option<CertificateDer<'static>>,
    ) -> Result<PrivateKey, Error> {
        let link = self.0.clone();
        self.with("use the private key", move |connection| {
            let place = connection.look_up(&wanted)?;
            let object = connection.key(&place)?;
            check_kind(&connection.session, object)?;
            let (public_key, is_certain) = match public_key::find(&connection.session, object)? {
                Some(public_key) => (public_key, true),
                None => (from_certificate(certificate.as_ref())?, false),
            };
            let key = TokenKey {
                link: link.clone(),
                place,
                algorithm: algorithm(&public_key)?,
                public_key,
                mechanisms: connection.module.get_mechanism_list(connection.slot)?,
            };
            check_mechanisms(key.algorithm, &key.mechanisms)?;
            if !is_certain {
                key.prove(connection)?;
            }
            Ok(PrivateKey(Arc::new(key)))
        })
        .await
    }
}

impl PrivateKey {
    /// The public half: a SubjectPublicKeyInfo (RFC 5280), DER.
    pub fn public_key(&self) -> &[u8] {
        &self.0.public_key
    }

    /// The key with this chain, PEM or DER, the leaf first.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when the chain cannot be read, or its leaf is another key's.
    pub fn identity(&self, chain: impl AsRef<[u8]>) -> Result<ClientIdentity, Error> {
        self.identity_of(read_chain(chain.as_ref()).map_err(unreadable)?)
    }

    /// A certificate signing request (PKCS#10, PEM), signed in the token, whose common name is the registration id.
    ///
    /// # Errors
    /// [`Signing`](crate::ErrorKind::Signing) when the token cannot sign.
    pub async fn certificate_request(
        &self,
        registration_id: &RegistrationId,
    ) -> Result<String, Error> {
        let key = self.0.clone();
        let registration_id = registration_id.clone();
        blocking(move || certificate_request(&*key, &registration_id)).await
    }

    pub(super) fn place(&self) -> &KeyPlace {
        &self.0.place
    }

    pub(super) fn identity_of(
        &self,
        chain: Vec<CertificateDer<'static>>,
    ) -> Result<ClientIdentity, Error> {
        identity(chain, self.0.clone())
    }
}

impl DeviceKey for TokenKey {
    fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    fn can_sign(&self, scheme: SignatureScheme) -> bool {
        plan(scheme, &self.mechanisms).is_some()
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.link
            .with("sign", |connection| {
                self.sign_in(connection, scheme, message)
            })
            .map_err(|error| {
                SignError::new("the private key in the PKCS#11 token did not sign")
                    .with_source(error)
            })
    }
}

impl TokenKey {
    fn sign_in(
        &self,
        connection: &mut Connection,
        scheme: SignatureScheme,
        message: &[u8],
    ) -> Result<Vec<u8>, Failure> {
        let plan = plan(scheme, &self.mechanisms).ok_or_else(|| {
            Error::configuration(format!("the PKCS#11 token has no mechanism for {scheme:?}"))
        })?;
        let object = connection.key(&self.place)?;
        let signature =
            connection
                .session
                .sign(&plan.mechanism, object, &plan.input.of(message))?;
        let numbers = match self.algorithm {
            KeyAlgorithm::Rsa => return Ok(signature),
            KeyAlgorithm::P256 => 32,
            KeyAlgorithm::P384 => 48,
        };
        match signature.split_at_checked(numbers) {
            Some((r, s)) if s.len() == numbers => ecdsa_signature(r, s).map_err(|error| {
                Error::configuration("the token's signature is malformed")
                    .with_source(error)
                    .into()
            }),
            _ => Err(Error::configuration(format!(
                "the token's ECDSA signature has {} bytes in place of {}",
                signature.len(),
                2 * numbers
            ))
            .into()),
        }
    }

    /// Signs once, where the certificate alone says what the public key is: it may be another key's.
    fn prove(&self, connection: &mut Connection) -> Result<(), Failure> {
        let message = b"Is this certificate that of this key?";
        let can_sign = |scheme: &&SignatureScheme| self.can_sign(**scheme);
        let Some(scheme) = self.algorithm.schemes().iter().find(can_sign) else {
            return Ok(());
        };
        let signature = self.sign_in(connection, *scheme, message)?;
        if verifies(&self.public_key, *scheme, message, &signature) {
            return Ok(());
        }
        Err(Error::configuration("the certificate is not that of the private key").into())
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey")
            .field("place", &self.place)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// Whether the token can make any signature of TLS with such a key.
pub(super) fn check_mechanisms(
    algorithm: KeyAlgorithm,
    mechanisms: &[MechanismType],
) -> Result<(), Error> {
    let mut schemes = algorithm.schemes().iter();
    if schemes.any(|scheme| plan(*scheme, mechanisms).is_some()) {
        return Ok(());
    }
    Err(Error::configuration(format!(
        "the PKCS#11 token has no mechanism to sign with a key of this kind ({algorithm:?})"
    )))
}

fn check_kind(session: &Session, key: ObjectHandle) -> Result<(), Failure> {
    // Not every token knows the attribute; one that does not has no such keys.
    let each_time = session.get_attributes(key, &[AttributeType::AlwaysAuthenticate]);
    if let Ok([Attribute::AlwaysAuthenticate(true)]) = each_time.as_deref() {
        return Err(Error::configuration(
            "the private key wants its PIN for each signature (CKA_ALWAYS_AUTHENTICATE), which is not supported",
        )
        .into());
    }
    Ok(())
}

fn from_certificate(certificate: Option<&CertificateDer<'_>>) -> Result<Vec<u8>, Error> {
    let certificate = certificate.ok_or_else(|| {
        Error::configuration(
            "the token has the private key, and neither its public key nor its certificate: give the certificate",
        )
    })?;
    public_key::of_certificate(certificate)
}

fn algorithm(public_key: &[u8]) -> Result<KeyAlgorithm, Error> {
    KeyAlgorithm::of(public_key).ok_or_else(|| {
        Error::configuration("the private key is neither RSA nor ECDSA on P-256 or P-384")
    })
}

fn unreadable(error: dps_tls::Error) -> Error {
    Error::configuration("the certificate chain cannot be read").with_source(error)
}
