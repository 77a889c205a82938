//! The trait for a store that keeps the issued certificates of a device over restarts.

use std::fmt;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;

use super::credential::Credential;

/// A place where a device keeps its issued certificates over restarts. [`CredentialFile`](super::CredentialFile) is one.
///
/// It holds two: the `current` one, which has connected to a hub, and the `next` one, which has not yet. A power failure
/// during any of the methods must leave the state before it or the state after it.
#[async_trait]
pub trait CredentialStore: fmt::Debug + Send + Sync {
    /// Loads what is stored. A damaged credential is left out, and the other one is still returned.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn load(&self) -> io::Result<StoredCredentials>;

    /// Checks that a new credential can be stored. The device calls it before each renewal, because the service issues a limited number
    /// of certificates in a day. `in_use` has the names of the key pairs that must stay usable, as in
    /// [`KeySource::generate`](super::KeySource::generate). By default nothing is checked.
    ///
    /// # Errors
    /// If a new credential cannot be stored now.
    async fn check_writable(&self, in_use: &[&str]) -> io::Result<()> {
        let _ = in_use;
        Ok(())
    }

    /// Stores a new credential as the next one, and replaces the next one that may be there. The current one stays.
    ///
    /// # Errors
    /// If the credential may not be stored.
    async fn save_next(&self, credential: &Credential) -> io::Result<()>;

    /// Makes the next credential the current one, because it has connected to a hub. Nothing changes if there is no next one.
    ///
    /// # Errors
    /// If the next credential may still be the next one.
    async fn confirm_next(&self) -> io::Result<()>;

    /// Removes both. An empty store is not an error.
    ///
    /// # Errors
    /// If one of them may still be there.
    async fn clear(&self) -> io::Result<()>;
}

/// The contents of a [`CredentialStore`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredCredentials {
    /// The credential that has connected to a hub.
    pub current: Option<Credential>,
    /// A newer credential that has not connected yet. It is tried first.
    pub next: Option<Credential>,
}

impl StoredCredentials {
    /// An empty store.
    pub fn new(current: Option<Credential>, next: Option<Credential>) -> Self {
        Self { current, next }
    }
}

macro_rules! forward {
    ($($pointer:ty),+) => {$(
        #[async_trait]
        impl<S: CredentialStore + ?Sized> CredentialStore for $pointer {
            async fn load(&self) -> io::Result<StoredCredentials> {
                (**self).load().await
            }

            async fn check_writable(&self, in_use: &[&str]) -> io::Result<()> {
                (**self).check_writable(in_use).await
            }

            async fn save_next(&self, credential: &Credential) -> io::Result<()> {
                (**self).save_next(credential).await
            }

            async fn confirm_next(&self) -> io::Result<()> {
                (**self).confirm_next().await
            }

            async fn clear(&self) -> io::Result<()> {
                (**self).clear().await
            }
        }
    )+};
}

forward!(&S, Box<S>, Arc<S>);
