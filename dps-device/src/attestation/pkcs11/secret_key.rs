//! A symmetric key in a token, which signs with HMAC-SHA256 there: the key of a device, or the key of an enrollment group.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use dps_types::sas::{Sign, SignError, Signature};
use dps_types::{RegistrationId, SymmetricKey};
use zeroize::Zeroizing;

use super::connection::{Connection, Link};
use super::failure::Failure;
use super::key_place::KeyPlace;
use super::object::{Class, Selector};
use super::token::Token;
use super::uri::Uri;
use crate::error::{Error, ErrorKind};

/// A symmetric key that stays in its token and signs there with HMAC-SHA256.
///
/// Pass it to [`SymmetricKeyAttestation::from_signer`](crate::SymmetricKeyAttestation::from_signer). It signs on the thread of the
/// token, so it does not block other tasks.
#[derive(Clone)]
pub struct SecretKey(Arc<Inner>);

struct Inner {
    link: Arc<Link>,
    place: KeyPlace,
}

impl Token {
    /// Finds the secret key with the `object` and `id` of the URI. If the URI has neither, the token must have one secret key.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] if no key or more than one key matches, or if the key or the token does not support
    /// HMAC-SHA256.
    pub async fn secret_key(&self, uri: &Uri) -> Result<SecretKey, Error> {
        self.stored_key(Selector::new(Class::SecretKey, uri)).await
    }

    pub(super) async fn stored_key(&self, selector: Selector) -> Result<SecretKey, Error> {
        self.checked_key(move |connection| connection.look_up(&selector))
            .await
    }

    /// Signs once, so that an unsuitable key is found here and not at the first registration.
    async fn checked_key(
        &self,
        place: impl Fn(&mut Connection) -> Result<KeyPlace, Failure> + Send + 'static,
    ) -> Result<SecretKey, Error> {
        let place = self
            .with("sign with HMAC-SHA256", move |connection| {
                let place = place(connection)?;
                connection.hmac(&place, b"")?;
                Ok(place)
            })
            .await?;
        let link = self.0.clone();
        Ok(SecretKey(Arc::new(Inner { link, place })))
    }
}

impl SecretKey {
    /// Derives the key of a device from this group key, and puts it into the token.
    ///
    /// The token computes the HMAC that is the device key. The device key leaves the token, is imported at once as a sensitive session
    /// object that cannot be extracted, and is wiped from memory. So it is in memory for a moment, now and after each lost session; the
    /// group key never is. The object is removed when the last clone of the result is dropped, or with the session.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] if the token does not accept the object. Use
    /// [`device_key_in_memory`](Self::device_key_in_memory) with such a token.
    pub async fn device_key(&self, registration_id: &RegistrationId) -> Result<Self, Error> {
        let place = KeyPlace::Derived {
            from: Box::new(self.0.place.clone()),
            text: registration_id.as_str().to_owned(),
        };
        Token(self.0.link.clone())
            .checked_key(move |_| Ok(place.clone()))
            .await
    }

    /// Derives the key of a device from this group key, and returns it.
    ///
    /// # Errors
    /// [`ErrorKind::Signing`] if the token cannot sign.
    pub async fn device_key_in_memory(
        &self,
        registration_id: &RegistrationId,
    ) -> Result<SymmetricKey, Error> {
        let key = self
            .hmac(registration_id.as_str().as_bytes().to_vec())
            .await?;
        SymmetricKey::from_bytes(key.to_vec()).map_err(|error| {
            Error::new(ErrorKind::Signing, "the HMAC is not a valid key").with_source(error)
        })
    }

    async fn hmac(&self, data: Vec<u8>) -> Result<Zeroizing<[u8; 32]>, Error> {
        let place = self.0.place.clone();
        Token(self.0.link.clone())
            .with("sign with HMAC-SHA256", move |connection| {
                connection.hmac(&place, &data)
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
                SignError::new("the secret key in the PKCS#11 token cannot sign")
                    .with_source(error),
            ),
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
