//! A private key in a token, which signs for TLS and for certificate signing requests.

mod mechanism;

use std::fmt;
use std::sync::Arc;

use cryptoki::error::Error as ModuleError;
use cryptoki::mechanism::MechanismType;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectHandle};
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
use super::chain::{chain, chain_to_root, key_of_certificate};
use super::connection::{Connection, Link};
use super::failure::Failure;
use super::key_place::KeyPlace;
use super::object::{Class, Selector, read};
use super::public_key;
use super::token::{Token, blocking};
use super::uri::Uri;
use crate::error::Error;

/// A private key that stays in its token: ECDSA on P-256 or P-384, or RSA of 2048 bits or more.
///
/// In a TLS handshake the thread that drives the connection waits for the token, because signing in rustls is synchronous:
/// until the [timeout](super::TokenOptions::with_timeout) of the token at most.
#[derive(Debug, Clone)]
pub struct PrivateKey(Arc<TokenKey>);

struct TokenKey {
    link: Arc<Link>,
    key: KeyInToken,
}

/// Finds the chain of a key with this public key.
type FindChain =
    fn(&mut Connection, &KeyPlace, &[u8]) -> Result<Vec<CertificateDer<'static>>, Failure>;

/// The properties of the key that the thread of the token uses.
#[derive(Clone)]
struct KeyInToken {
    place: KeyPlace,
    public_key: Vec<u8>,
    algorithm: KeyAlgorithm,
    /// The mechanisms that the token supports.
    mechanisms: Vec<MechanismType>,
}

impl Token {
    /// Finds the private key with the `object` and `id` of the URI. If the URI has neither, the token must have one private key.
    ///
    /// If no private key has these names but a certificate has them, it is the private key of that certificate: on smart cards their
    /// labels often differ.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if no key or more than one key matches, if the key or the
    /// token supports no signature scheme of TLS, if the key requires the PIN for each signature (CKA_ALWAYS_AUTHENTICATE), or if
    /// the token has neither its public key nor its certificate. Also for an Ed25519 key: Microsoft documents no support for it in
    /// DPS.
    pub async fn private_key(&self, uri: &Uri) -> Result<PrivateKey, Error> {
        let selector = Selector::new(Class::PrivateKey, uri);
        self.find_private_key(selector, None).await
    }

    /// The private key that the URI selects, with its certificate and the issuers that the token has.
    ///
    /// The certificate has the id (or the label) and the public key of the private key; if there are several, the newest one is used.
    /// If none has the id, it is the newest one with the public key. An issuer is found by its subject, and without its root.
    ///
    /// # Errors
    /// See [`private_key`](Self::private_key). Also if the token has no certificate of the key.
    pub async fn identity(&self, uri: &Uri) -> Result<ClientIdentity, Error> {
        let key = self.private_key(uri).await?;
        let (place, public_key) = (key.place().clone(), key.public_key().to_vec());
        let chain = self
            .with("return the certificate", move |connection| {
                chain(connection, &place, &public_key)
            })
            .await?;
        key.identity_of(chain)
    }

    /// The identity that [`identity`](Self::identity) returns. `None` if the token has the private key, and no certificate of the
    /// key that can be used.
    ///
    /// # Errors
    /// See [`private_key`](Self::private_key). Also if the token cannot search or read its certificates.
    pub async fn identity_if_stored(&self, uri: &Uri) -> Result<Option<ClientIdentity>, Error> {
        let Some((key, chain)) = self.find_with_chain(uri, chain).await? else {
            return Ok(None);
        };
        self.private_key_in(key).identity_of(chain).map(Some)
    }

    /// The chain that [`store_chain`](Self::store_chain) has stored for the private key that the URI selects, the leaf first. It ends
    /// with the root if the token has it, which [`identity`](Self::identity) leaves out. `None` if the token has the private key, and no
    /// certificate of the key that can be used.
    ///
    /// # Errors
    /// See [`identity_if_stored`](Self::identity_if_stored).
    pub async fn stored_chain(
        &self,
        uri: &Uri,
    ) -> Result<Option<Vec<CertificateDer<'static>>>, Error> {
        let found = self.find_with_chain(uri, chain_to_root).await?;
        Ok(found.map(|(_, chain)| chain))
    }

    /// The private key that the URI selects, with its chain. `None` if the token has no certificate of the key.
    async fn find_with_chain(
        &self,
        uri: &Uri,
        chain: FindChain,
    ) -> Result<Option<(KeyInToken, Vec<CertificateDer<'static>>)>, Error> {
        let selector = Selector::new(Class::PrivateKey, uri);
        let found = self.with("return the certificate", move |connection| {
            let found = open_key(connection, &selector, None).and_then(|key| {
                let chain = chain(connection, &key.place, &key.public_key)?;
                Ok((key, chain))
            });
            match found {
                Err(Failure::NoCertificate(_)) => Ok(None),
                found => found.map(Some),
            }
        });
        found.await
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
        let found = self.with("use the private key", move |connection| {
            open_key(connection, &selector, certificate.as_ref())
        });
        Ok(self.private_key_in(found.await?))
    }

    fn private_key_in(&self, key: KeyInToken) -> PrivateKey {
        let link = self.0.clone();
        PrivateKey(Arc::new(TokenKey { link, key }))
    }
}

impl PrivateKey {
    /// The public key: a SubjectPublicKeyInfo (RFC 5280), DER.
    pub fn public_key(&self) -> &[u8] {
        &self.0.key.public_key
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
        &self.0.key.place
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
        &self.key.public_key
    }

    fn algorithm(&self) -> KeyAlgorithm {
        self.key.algorithm
    }

    fn can_sign(&self, scheme: SignatureScheme) -> bool {
        self.key.can_sign(scheme)
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let (key, message) = (self.key.clone(), message.to_vec());
        self.link
            .with("sign", move |connection| {
                key.sign_in(connection, scheme, &message)
            })
            .map_err(|error| {
                SignError::new("the private key in the PKCS#11 token cannot sign")
                    .with_source(error)
            })
    }
}

impl KeyInToken {
    fn can_sign(&self, scheme: SignatureScheme) -> bool {
        plan(scheme, &self.mechanisms).is_some()
    }

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
            .field("place", &self.key.place)
            .field("algorithm", &self.key.algorithm)
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

/// The key that this selects. The certificate is used if the token has neither the public key nor a certificate of the key.
fn open_key(
    connection: &mut Connection,
    selector: &Selector,
    certificate: Option<&CertificateDer<'_>>,
) -> Result<KeyInToken, Failure> {
    let place = look_up(connection, selector)?;
    let object = connection.key(&place)?;
    check_kind(&connection.session, object)?;
    let (public_key, is_proven) = match public_key::find(&connection.session, object)? {
        Some(public_key) => (public_key, true),
        None => (from_certificate(certificate)?, false),
    };
    let key = KeyInToken {
        place,
        algorithm: algorithm(&public_key)?,
        public_key,
        mechanisms: connection.module.get_mechanism_list(connection.slot)?,
    };
    check_mechanisms(key.algorithm, &key.mechanisms)?;
    if !is_proven {
        key.prove(connection)?;
    }
    Ok(key)
}

/// The place of the key that has this name, or whose certificate has it.
fn look_up(connection: &mut Connection, selector: &Selector) -> Result<KeyPlace, Failure> {
    let session = &connection.session;
    if selector.has_name() && selector.all(session)?.is_empty() {
        let certificate = Selector {
            class: Class::Certificate,
            ..selector.clone()
        };
        if let Some(key) = key_of_certificate(session, &certificate)? {
            return connection.look_up(&key);
        }
    }
    connection.look_up(selector)
}

fn check_kind(session: &Session, key: ObjectHandle) -> Result<(), Failure> {
    let kind = match read(session, key, AttributeType::KeyType) {
        // The crate `cryptoki` does not know the type, so the public key decides.
        Err(Failure::Module(ModuleError::NotSupported)) => None,
        kind => kind?,
    };
    if kind == Some(Attribute::KeyType(KeyType::EC_EDWARDS)) {
        return Err(Error::configuration(
            "the private key is an Ed25519 key: Microsoft documents no support for it in DPS and IoT Hub; generate an ECDSA key on P-256 or P-384, or an RSA key",
        )
        .into());
    }
    // A token that does not support the attribute has no such keys.
    let each_time = read(session, key, AttributeType::AlwaysAuthenticate)?;
    if each_time == Some(Attribute::AlwaysAuthenticate(true)) {
        return Err(Error::configuration(
            "the private key requires the PIN for each signature (CKA_ALWAYS_AUTHENTICATE), which is not supported",
        )
        .into());
    }
    Ok(())
}

fn from_certificate(certificate: Option<&CertificateDer<'_>>) -> Result<Vec<u8>, Failure> {
    let certificate = certificate.ok_or_else(|| {
        Failure::NoCertificate(Error::configuration(
            "the token has neither the public key nor the certificate of the private key: pass the certificate",
        ))
    })?;
    Ok(public_key::of_certificate(certificate)?)
}

fn algorithm(public_key: &[u8]) -> Result<KeyAlgorithm, Error> {
    KeyAlgorithm::of(public_key).ok_or_else(|| {
        Error::configuration("the private key is neither RSA nor ECDSA on P-256 or P-384")
    })
}

fn unreadable(error: dps_tls::Error) -> Error {
    Error::configuration("the certificate chain cannot be read").with_source(error)
}
