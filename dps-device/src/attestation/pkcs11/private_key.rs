//! A private key in a token, which signs for TLS and for certificate signing requests.

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
use super::super::device_key::{DeviceKey, KeyAlgorithm, certificate_request, identity};
use super::super::key_encoding::{ecdsa_signature, verifies};
use super::connection::{Connection, Link};
use super::failure::Failure;
use super::key_place::KeyPlace;
use super::object::{Class, Selector};
use super::public_key;
use super::token::{Token, blocking};
use super::uri::Uri;
use crate::error::Error;

/// A private key that stays in its token: ECDSA on P-256 or P-384, or RSA of 2048 bits or more.
///
/// In a TLS handshake the thread that drives the connection waits for the token, because signing in rustls is synchronous.
#[derive(Debug, Clone)]
pub struct PrivateKey(Arc<TokenKey>);

struct TokenKey {
    link: Arc<Link>,
    place: KeyPlace,
    public_key: Vec<u8>,
    algorithm: KeyAlgorithm,
    /// The mechanisms that the token supports.
    mechanisms: Vec<MechanismType>,
}

impl Token {
    /// Finds the private key with the `object` and `id` of the URI. If the URI has neither, the token must have one private key.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if no key or more than one key matches, if the key or the
    /// token supports no signature scheme of TLS, if the key requires the PIN for each signature (CKA_ALWAYS_AUTHENTICATE), or if
    /// the token has neither its public key nor its certificate.
    pub async fn private_key(&self, uri: &Uri) -> Result<PrivateKey, Error> {
        let selector = Selector::new(Class::PrivateKey, uri);
        self.find_private_key(selector, None).await
    }

    /// The private key that the URI selects, with the certificate that has the key's id, and the issuers that the token has.
    ///
    /// # Errors
    /// See [`private_key`](Self::private_key). Also if the token has no certificate of the key, or more than one.
    pub async fn identity(&self, uri: &Uri) -> Result<ClientIdentity, Error> {
        let key = self.private_key(uri).await?;
        let place = key.place().clone();
        let chain = self
            .with("return the certificate", move |connection| {
                super::certificates::chain(connection, &place)
            })
            .await?;
        key.identity_of(chain)
    }

    /// The private key that the URI selects, with this chain (PEM or DER, the leaf first). The token needs neither the public key nor
    /// the certificate.
    ///
    /// # Errors
    /// See [`private_key`](Self::private_key). Also if the leaf has another public key.
    pub async fn identity_with_chain(
        &self,
        uri: &Uri,
        chain: impl AsRef<[u8]>,
    ) -> Result<ClientIdentity, Error> {
        let chain = read_chain(chain.as_ref()).map_err(unreadable)?;
        let selector = Selector::new(Class::PrivateKey, uri);
        let leaf = chain.first().cloned();
        let key = self.find_private_key(selector, leaf).await?;
        key.identity_of(chain)
    }

    async fn find_private_key(
        &self,
        selector: Selector,
        certificate: Option<CertificateDer<'static>>,
    ) -> Result<PrivateKey, Error> {
        let link = self.0.clone();
        self.with("use the private key", move |connection| {
            let place = connection.look_up(&selector)?;
            let object = connection.key(&place)?;
            check_kind(&connection.session, object)?;
            let (public_key, is_proven) = match public_key::find(&connection.session, object)? {
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
            if !is_proven {
                key.prove(connection)?;
            }
            Ok(PrivateKey(Arc::new(key)))
        })
        .await
    }
}

impl PrivateKey {
    /// The public key: a SubjectPublicKeyInfo (RFC 5280), DER.
    pub fn public_key(&self) -> &[u8] {
        &self.0.public_key
    }

    /// The key with this chain (PEM or DER, the leaf first).
    ///
    /// # Errors
    /// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if the chain cannot be read, or its leaf has another public
    /// key.
    pub fn identity(&self, chain: impl AsRef<[u8]>) -> Result<ClientIdentity, Error> {
        self.identity_of(read_chain(chain.as_ref()).map_err(unreadable)?)
    }

    /// Creates a certificate signing request (PKCS#10, PEM), signed in the token. Its common name is the registration id.
    ///
    /// # Errors
    /// [`Signing`](crate::ErrorKind::Signing) if the token cannot sign.
    pub async fn certificate_request(
        &self,
        registration_id: &RegistrationId,
    ) -> Result<String, Error> {
        let key = self.0.clone();
        let registration_id = registration_id.clone();
        blocking(move || certificate_request(&*key, &registration_id)).await
    }

    #[cfg(feature = "certificates")]
    pub(crate) fn device_key(&self) -> Arc<dyn DeviceKey> {
        self.0.clone()
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
                SignError::new("the private key in the PKCS#11 token cannot sign")
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
        let coordinate = match self.algorithm {
            KeyAlgorithm::Rsa => return Ok(signature),
            KeyAlgorithm::P256 => 32,
            KeyAlgorithm::P384 => 48,
        };
        match signature.split_at_checked(coordinate) {
            Some((r, s)) if s.len() == coordinate => ecdsa_signature(r, s).map_err(|error| {
                Error::configuration("the token's signature is malformed")
                    .with_source(error)
                    .into()
            }),
            _ => Err(Error::configuration(format!(
                "the token's ECDSA signature has {} bytes, not {}",
                signature.len(),
                2 * coordinate
            ))
            .into()),
        }
    }

    /// Signs once to prove that the certificate belongs to the key, if the public key is known from the certificate only.
    fn prove(&self, connection: &mut Connection) -> Result<(), Failure> {
        let message = b"dps-device: does this certificate belong to this key?";
        let can_sign = |scheme: &&SignatureScheme| self.can_sign(**scheme);
        let Some(scheme) = self.algorithm.schemes().iter().find(can_sign) else {
            return Ok(());
        };
        let signature = self.sign_in(connection, *scheme, message)?;
        if verifies(&self.public_key, *scheme, message, &signature) {
            return Ok(());
        }
        Err(Error::configuration("the certificate does not belong to the private key").into())
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

/// Checks that the token supports a signature scheme of TLS for this kind of key.
pub(super) fn check_mechanisms(
    algorithm: KeyAlgorithm,
    mechanisms: &[MechanismType],
) -> Result<(), Error> {
    let mut schemes = algorithm.schemes().iter();
    if schemes.any(|scheme| plan(*scheme, mechanisms).is_some()) {
        return Ok(());
    }
    Err(Error::configuration(format!(
        "the PKCS#11 token has no signature mechanism for this kind of key ({algorithm:?})"
    )))
}

fn check_kind(session: &Session, key: ObjectHandle) -> Result<(), Failure> {
    // A token that does not support the attribute has no such keys.
    let each_time = session.get_attributes(key, &[AttributeType::AlwaysAuthenticate]);
    if let Ok([Attribute::AlwaysAuthenticate(true)]) = each_time.as_deref() {
        return Err(Error::configuration(
            "the private key requires the PIN for each signature (CKA_ALWAYS_AUTHENTICATE), which is not supported",
        )
        .into());
    }
    Ok(())
}

fn from_certificate(certificate: Option<&CertificateDer<'_>>) -> Result<Vec<u8>, Error> {
    let certificate = certificate.ok_or_else(|| {
        Error::configuration(
            "the token has neither the public key nor the certificate of the private key: pass the certificate",
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
