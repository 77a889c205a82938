//! The source of the key pairs of certificate requests, which finds them again after a restart.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::key_pair::KeyPair;
use crate::attestation::key_kind::KeyKind;
use crate::error::Error;

/// The key pairs of a device: generates them, lists them, opens them again after a restart, and removes them. [`MemoryKeySource`] is
/// one; keys in hardware have their own.
///
/// Each key pair has a name, which is stored with its certificate. The name of a key in hardware is its place; that of a
/// key in memory is the key itself, so names are secrets.
///
/// A certificate request and the use of the key are methods of the [`KeyPair`]. A source holds no certificates: a
/// [`CredentialStore`](super::CredentialStore) keeps the chain with the name of the key.
#[async_trait]
pub trait KeySource: fmt::Debug + Send + Sync {
    /// Generates a new key pair and returns its name.
    ///
    /// `in_use` has the names of the key pairs that must stay usable. A source with a limited number of places replaces one that is
    /// not in this list, also if a power failure has left only a part of it.
    ///
    /// # Errors
    /// If the key pair cannot be generated.
    async fn generate(&self, in_use: &[&str]) -> Result<(Zeroizing<String>, KeyPair), Error>;

    /// Opens the key pair with this name.
    ///
    /// A device that starts tries again if this fails with the kind [`Signing`](crate::ErrorKind::Signing) or
    /// [`Deadline`](crate::ErrorKind::Deadline), unless [`list`](Self::list) shows that the key pair is missing.
    ///
    /// # Errors
    /// If there is no such key pair, or it cannot be used.
    async fn open(&self, name: &str) -> Result<KeyPair, Error>;

    /// Lists the names of the key pairs that this source holds. A source whose names are the keys holds none.
    ///
    /// # Errors
    /// If the hardware fails.
    async fn list(&self) -> Result<Vec<Zeroizing<String>>, Error>;

    /// Removes the key pair with this name permanently. A missing key pair is not an error, and neither is a name that is the key itself.
    ///
    /// A device removes a key when its hub has accepted the certificate of the next one.
    ///
    /// # Errors
    /// If the key pair may still be there, or if the name is not that of a place of this source.
    async fn remove(&self, name: &str) -> Result<(), Error>;
}

/// Key pairs in memory, which are stored with their certificates.
///
/// ```
/// use dps_device::certificate::{KeyKind, MemoryKeySource};
///
/// let keys = MemoryKeySource::new(KeyKind::P256);
/// # drop(keys);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct MemoryKeySource {
    kind: KeyKind,
}

impl MemoryKeySource {
    /// Generates keys of this kind, which is P-256 or P-384. The default is P-256.
    pub fn new(kind: KeyKind) -> Self {
        Self { kind }
    }

    /// The name of the key pair with this private key (PKCS#8, DER), for a store that keeps keys in a format of its own. It is not
    /// checked here.
    pub fn name(pkcs8: &[u8]) -> Zeroizing<String> {
        let mut name = Zeroizing::new(String::with_capacity(PREFIX.len() + 2 * pkcs8.len() + 4));
        name.push_str(PREFIX);
        STANDARD.encode_string(pkcs8, &mut name);
        name
    }
}

const PREFIX: &str = "pkcs8:";

#[async_trait]
impl KeySource for MemoryKeySource {
    async fn generate(&self, _: &[&str]) -> Result<(Zeroizing<String>, KeyPair), Error> {
        let key = KeyPair::generate(self.kind)?;
        let name = Self::name(key.pkcs8().unwrap_or_default());
        Ok((name, key))
    }

    async fn open(&self, name: &str) -> Result<KeyPair, Error> {
        let pkcs8 = name
            .strip_prefix(PREFIX)
            .and_then(|text| STANDARD.decode(text).ok())
            .ok_or_else(|| {
                Error::configuration("the stored name is not that of a key in memory")
            })?;
        KeyPair::from_pkcs8(Zeroizing::new(pkcs8))
    }

    async fn list(&self) -> Result<Vec<Zeroizing<String>>, Error> {
        Ok(Vec::new())
    }

    async fn remove(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }
}

/// The first place whose name is not in use, with its name.
#[cfg(any(feature = "pkcs11", feature = "tpm"))]
pub(super) fn free_place<T>(
    places: impl IntoIterator<Item = (String, T)>,
    in_use: &[&str],
) -> Result<(String, T), Error> {
    let mut taken = Vec::new();
    for (name, place) in places {
        if !in_use.contains(&name.as_str()) {
            return Ok((name, place));
        }
        taken.push(name);
    }
    Err(Error::configuration(format!(
        "a new key pair has no place, because these are in use: {}",
        taken.join(", ")
    )))
}

macro_rules! forward {
    ($($pointer:ty),+) => {$(
        #[async_trait]
        impl<S: KeySource + ?Sized> KeySource for $pointer {
            async fn generate(&self, in_use: &[&str]) -> Result<(Zeroizing<String>, KeyPair), Error> {
                (**self).generate(in_use).await
            }

            async fn open(&self, name: &str) -> Result<KeyPair, Error> {
                (**self).open(name).await
            }

            async fn list(&self) -> Result<Vec<Zeroizing<String>>, Error> {
                (**self).list().await
            }

            async fn remove(&self, name: &str) -> Result<(), Error> {
                (**self).remove(name).await
            }
        }
    )+};
}

forward!(&S, Box<S>, Arc<S>);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_in_memory_is_opened_by_its_name() {
        for kind in [KeyKind::P256, KeyKind::P384] {
            let keys = MemoryKeySource::new(kind);
            let (name, key) = keys.generate(&[]).await.unwrap();
            assert_eq!(
                keys.open(&name).await.unwrap().public_key(),
                key.public_key()
            );
            let (other, _) = keys.generate(&[&name]).await.unwrap();
            assert_ne!(name, other);
        }
    }

    #[tokio::test]
    async fn a_damaged_name_is_an_error_that_does_not_show_it() {
        for name in ["", "pkcs8:", "pkcs8:AQID", "tpm:81000010", "pkcs8:!secret"] {
            let error = MemoryKeySource::default().open(name).await.unwrap_err();
            assert!(!format!("{error:#}").contains("secret"), "{error:#}");
        }
    }
}
