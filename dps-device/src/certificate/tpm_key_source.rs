//! Key pairs in a TPM.

use std::fmt;

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::key_pair::KeyPair;
use super::key_source::{KeySource, free_place};
use crate::attestation::key_kind::KeyKind;
use crate::error::Error;
use crate::tpm::{KeyPairOptions, PersistentHandle, Tpm};

/// Key pairs in a TPM. The private keys never leave it.
///
/// It uses two handles. A new key replaces the one that is not in use.
#[derive(Clone)]
pub struct TpmKeySource {
    tpm: Tpm,
    handles: [PersistentHandle; 2],
    auth: Zeroizing<Vec<u8>>,
    kind: KeyKind,
}

const PREFIX: &str = "tpm:";

impl TpmKeySource {
    /// Keys at these two handles, which must be different. A key that is there is replaced when a key is generated.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if the handles are the same.
    pub fn new(tpm: Tpm, handles: [PersistentHandle; 2], kind: KeyKind) -> Result<Self, Error> {
        if handles[0] == handles[1] {
            return Err(Error::configuration(
                "the keys of certificates require two different handles of the TPM",
            ));
        }
        Ok(Self {
            tpm,
            handles,
            auth: Zeroizing::default(),
            kind,
        })
    }

    /// Sets the authorization value of the keys. The default is empty.
    #[must_use]
    pub fn with_auth(mut self, value: impl AsRef<[u8]>) -> Self {
        self.auth = Zeroizing::new(value.as_ref().to_vec());
        self
    }

    fn names(&self) -> [String; 2] {
        self.handles.map(|handle| format!("{PREFIX}{handle}"))
    }

    fn at(&self, handle: PersistentHandle) -> KeyPairOptions {
        self.tpm
            .key_pair()
            .with_handle(handle)
            .with_auth(&self.auth)
    }
}

#[async_trait]
impl KeySource for TpmKeySource {
    async fn generate(&self, in_use: &[&str]) -> Result<(Zeroizing<String>, KeyPair), Error> {
        let names = self.names();
        let index = free_place(&names, in_use)?;
        let place = self.at(self.handles[index]);
        place.clone().remove().await?;
        let key = place.create(self.kind).await?;
        Ok((Zeroizing::new(names[index].clone()), key.into()))
    }

    async fn open(&self, name: &str) -> Result<KeyPair, Error> {
        let names = self.names();
        let index = names
            .iter()
            .position(|known| known == name)
            .ok_or_else(|| {
                Error::configuration(
                    "the stored name is not that of a key at the handles of this TPM",
                )
            })?;
        Ok(self.at(self.handles[index]).open().await?.into())
    }
}

impl fmt::Debug for TpmKeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TpmKeySource")
            .field("handles", &self.handles)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
