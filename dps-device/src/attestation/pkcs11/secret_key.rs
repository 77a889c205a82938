//! A symmetric key in a token, which makes HMACs there: a device's own, or a group's from which devices' are derived.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use dps_types::sas::{Sign, SignError, Signature};
use dps_types::{RegistrationId, SymmetricKey};
use zeroize::{Zeroize, Zeroizing};

use super::connection::{Connection, Link};
use super::failure::Failure;
use super::object::{Class, Wanted};
use super::token::Token;
use super::uri::Uri;
use crate::error::{Error, ErrorKind};

/// A symmetric key that stays in its token and signs there with HMAC-SHA256.
///
/// It goes into [`SymmetricKeyAttestation::from_signer`](crate::SymmetricKeyAttestation::from_signer). The token waits on a thread of its own, so
/// signing keeps no other task waiting.
#[derive(Clone)]
pub struct SecretKey(Arc<Inner>);

struct Inner {
    link: Arc<Link>,
    place: KeyPlace,
}

/// Where a key is: how a new session finds it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum KeyPlace {
    Stored(Wanted),
    /// HMAC of the text under another key, which is again a key.
    Derived {
        from: Box<Self>,
        text: String,
    },
}

impl Token {
    /// The secret key that `object` and `id` of the URI name: the only one there is, when they name none.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] when there is none or more than one, or when it or the token does not do HMAC-SHA256.
    pub async fn secret_key(&self, uri: &Uri) -> Result<SecretKey, Error> {
        self.stored_key(Wanted::new(Class::SecretKey, uri)).await
    }

    pub(super) async fn stored_key(&self, wanted: Wanted) -> Result<SecretKey, Error> {
        self.tried_key(move |connection| connection.look_up(&wanted))
            .await
    }

    /// What does not work is found now, not at the first registration.
    async fn tried_key(
        &self,
        place: impl Fn(&mut Connection) -> Result<KeyPlace, Failure> + Send + 'static,
    ) -> Result<SecretKey, Error> {
        let link = self.0.clone();
        self.with("make an HMAC-SHA256", move |connection| {
            let place = place(connection)?;
            hmac(connection, &place, b"")?;
            Ok(SecretKey(Arc::new(Inner {
                link: link.clone(),
                place,
            })))
        })
        .await
    }
}

impl SecretKey {
    /// Of a group's key: the key of one device of the group, which is an object of the token as well.
    ///
    /// The token makes the HMAC that is the device's key. It comes out, goes back in at once as a session object that is sensitive and not
    /// extractable, and is wiped here: for that moment, and again after a lost session, it is in memory. The group's key never is. The
    /// object is gone when the last clone of the result is, or with the session.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] when the token takes no such object: then there is
    /// [`device_key_in_memory`](Self::device_key_in_memory).
    pub async fn device_key(&self, registration_id: &RegistrationId) -> Result<Self, Error> {
        let place = KeyPlace::Derived {
            from: Box::new(self.0.place.clone()),
            text: registration_id.as_str().to_owned(),
        };
        Token(self.0.link.clone())
            .tried_key(move |_| Ok(place.clone()))
            .await
    }

    /// Of a group's key: the key of one device of the group, out of the token, for a device to have or a token that takes none.
    ///
    /// # Errors
    /// [`ErrorKind::Signing`] when the token cannot sign.
    pub async fn device_key_in_memory(
        &self,
        registration_id: &RegistrationId,
    ) -> Result<SymmetricKey, Error> {
        let key = self
            .hmac(registration_id.as_str().as_bytes().to_vec())
            .await?;
        SymmetricKey::from_bytes(key.to_vec()).map_err(|error| {
            Error::new(ErrorKind::Signing, "the HMAC is no key").with_source(error)
        })
    }

    async fn hmac(&self, data: Vec<u8>) -> Result<Zeroizing<[u8; 32]>, Error> {
        let place = self.0.place.clone();
        Token(self.0.link.clone())
            .with("make an HMAC-SHA256", move |connection| {
                hmac(connection, &place, &data)
            })
            .await
    }
}

#[async_trait]
impl Sign for SecretKey {
    async fn sign(&self, data: &[u8]) -> Result<Signature, SignError> {
        match self.hmac(data.to_vec()).await {
            Ok(hmac) => Ok(Signature(*hmac)),
            Err(error) => Err(
                SignError::new("the secret key in the PKCS#11 token did not sign")
                    .with_source(error),
            ),
        }
    }
}

fn hmac(
    connection: &mut Connection,
    place: &KeyPlace,
    data: &[u8],
) -> Result<Zeroizing<[u8; 32]>, Failure> {
    let object = connection.key(place)?;
    let mac = connection
        .session
        .sign(&Mechanism::Sha256Hmac, object, data)?;
    let mac = Zeroizing::new(mac);
    let mac = <[u8; 32]>::try_from(mac.as_slice()).map_err(|_| {
        Error::new(
            ErrorKind::Signing,
            format!("the token's HMAC-SHA256 has {} bytes", mac.len()),
        )
    })?;
    Ok(Zeroizing::new(mac))
}

impl KeyPlace {
    pub(super) fn find(&self, connection: &mut Connection) -> Result<ObjectHandle, Failure> {
        match self {
            Self::Stored(wanted) => wanted.one(&connection.session),
            Self::Derived { from, text } => {
                let key = hmac(connection, from, text.as_bytes())?;
                let session = &connection.session;
                let mut template = sensitive_key(&*key, false);
                let object = session.create_object(&template);
                wipe(&mut template);
                Ok(object?)
            }
        }
    }
}

/// The attributes of a secret key that signs and does not come out.
pub(super) fn sensitive_key(key: &[u8], stays: bool) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(stays),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Value(key.to_vec()),
    ]
}

/// Wipes the key out of its attributes.
pub(super) fn wipe(template: &mut [Attribute]) {
    for attribute in template {
        if let Attribute::Value(value) = attribute {
            value.zeroize();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let KeyPlace::Derived { .. } = self.place {
            self.link.forget(&self.place);
        }
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey")
            .field("place", &self.0.place)
            .finish_non_exhaustive()
    }
}
