//! The two keys of issued certificates in hardware: one source for tokens and TPMs, which also stores a chain with each key.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use dps_device::certificate::{Credential, KeyPair, KeySource};
use dps_device::{Error, ErrorKind};
use zeroize::Zeroizing;

use super::replaced::Replaced;
use crate::files::chain_pem;

/// Keys in hardware that stores a chain with each of them.
#[async_trait]
pub(super) trait ChainsWithKeys: std::fmt::Debug + Send + Sync {
    /// The keys, without their chains.
    fn keys(&self) -> &dyn KeySource;

    /// The chain that is stored with a key, if it has one that belongs to the key.
    ///
    /// # Errors
    /// If the hardware fails, or the key cannot be used.
    async fn read_chain(&self, name: &str) -> Result<Option<Vec<Vec<u8>>>, Error>;

    /// Stores a chain with a key, in place of an earlier one.
    async fn write_chain(&self, name: &str, chain: &[&[u8]]) -> Result<(), Error>;

    /// Removes the chain of a key that was removed.
    async fn remove_chain(&self, name: &str) -> Result<(), Error>;

    /// Checks that a chain of this many bytes can be stored with the next key.
    ///
    /// # Errors
    /// If it cannot, or the hardware fails.
    async fn check_place(&self, in_use: &[&str], bytes: usize) -> Result<(), Error>;

    /// The name of a key as the user knows it.
    fn shown(&self, name: &str) -> String;
}

#[derive(Debug, Clone)]
pub(super) struct HardwareKeys(Arc<dyn ChainsWithKeys>);

impl HardwareKeys {
    pub(super) fn new(hardware: Arc<dyn ChainsWithKeys>) -> Self {
        Self(hardware)
    }

    pub(super) fn chains(&self) -> &dyn ChainsWithKeys {
        &*self.0
    }
}

#[async_trait]
impl KeySource for HardwareKeys {
    async fn generate(&self, in_use: &[&str]) -> Result<(Zeroizing<String>, KeyPair), Error> {
        self.0.keys().generate(in_use).await
    }

    async fn open(&self, name: &str) -> Result<KeyPair, Error> {
        self.0.keys().open(name).await
    }

    async fn list(&self) -> Result<Vec<Zeroizing<String>>, Error> {
        self.0.keys().list().await
    }

    /// Removes the key, and then its chain, which is useless without the key.
    async fn remove(&self, name: &str) -> Result<(), Error> {
        self.0.keys().remove(name).await?;
        self.0.remove_chain(name).await
    }
}

/// Checks before a chain is stored that it belongs to its key: another program may have replaced or removed the key.
///
/// # Errors
/// [`Replaced::Key`] if it has, or the error of a key that cannot be opened.
pub(super) async fn check_key(keys: &dyn KeySource, credential: &Credential) -> io::Result<()> {
    let name = credential.key();
    let key = match keys.open(name).await {
        Ok(key) => key,
        Err(error) => {
            let is_missing = !has_no_answer(&error)
                && matches!(keys.list().await, Ok(names) if names.iter().all(|other| **other != name));
            return Err(match is_missing {
                true => Replaced::Key.into(),
                false => io::Error::other(error),
            });
        }
    };
    match key.identity(chain_pem(credential.chain())) {
        Ok(_) => Ok(()),
        Err(_) => Err(Replaced::Key.into()),
    }
}

/// True if the error does not show that the key is missing, foreign or unusable with the options: the hardware that holds the key
/// failed, and the key may work later. Such a key is not replaced.
pub(super) fn has_no_answer(error: &Error) -> bool {
    !is_of_the_key(error.kind())
}

/// The kinds of errors that stay until the key or the options change. Any other one is taken for a failure of the hardware.
fn is_of_the_key(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Certificate
            | ErrorKind::InvalidConfiguration
            | ErrorKind::KeyPolicy
            | ErrorKind::Unsupported
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_error_of_the_key_itself_allows_its_replacement() {
        for kind in [
            ErrorKind::Certificate,
            ErrorKind::InvalidConfiguration,
            ErrorKind::KeyPolicy,
        ] {
            assert!(is_of_the_key(kind), "{kind:?}");
        }
        for kind in [
            ErrorKind::Connect,
            ErrorKind::Deadline,
            ErrorKind::Signing,
            ErrorKind::Store,
        ] {
            assert!(!is_of_the_key(kind), "{kind:?}");
        }
    }
}
