//! Key pairs in a TPM.

use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::key_pair::KeyPair;
use super::key_source::{KeySource, free_place};
use crate::attestation::key_kind::KeyKind;
use crate::error::Error;
use crate::tpm::{KeyAuth, KeyPairOptions, PcrPolicy, PersistentHandle, Tpm, TpmError};

/// Key pairs in a TPM. The private keys never leave it.
///
/// A source for issued certificates uses two handles. A new key replaces the one that is not in use.
#[derive(Clone)]
pub struct TpmKeySource {
    tpm: Tpm,
    handles: Vec<PersistentHandle>,
    auth: KeyAuth,
    policy: Option<PcrPolicy>,
    kind: KeyKind,
    refused: Arc<Mutex<Vec<(PersistentHandle, Error)>>>,
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
        Ok(Self::selected(tpm, handles, kind))
    }

    /// Keys at these handles, for a program that manages keys. A new key gets the first of them that is not in use.
    pub fn selected(
        tpm: Tpm,
        handles: impl IntoIterator<Item = PersistentHandle>,
        kind: KeyKind,
    ) -> Self {
        Self {
            tpm,
            handles: handles.into_iter().collect(),
            auth: KeyAuth::default(),
            policy: None,
            kind,
            refused: Arc::default(),
        }
    }

    /// Sets the authorization value of the keys: see [`KeyPairOptions::with_auth`]. The default is empty.
    ///
    /// A wrong value is tried once for each key: a TPM counts wrong values, and is locked after some of them.
    #[must_use]
    pub fn with_auth(mut self, value: KeyAuth) -> Self {
        self.auth = value;
        self.refused = Arc::default();
        self
    }

    /// Sets the policy of the keys: see [`KeyPairOptions::with_pcr_policy`]. By default they have none.
    ///
    /// A key that was generated with another policy cannot be opened. It keeps its place while its certificate is in use.
    #[must_use]
    pub fn with_pcr_policy(mut self, policy: PcrPolicy) -> Self {
        self.policy = Some(policy);
        self
    }

    fn at(&self, handle: PersistentHandle) -> KeyPairOptions {
        let key = self.tpm.key_pair().with_handle(handle);
        let key = key.with_auth(self.auth.clone());
        match &self.policy {
            Some(policy) => key.with_pcr_policy(policy.clone()),
            None => key,
        }
    }

    /// The handle with this name, if it is one of this source.
    fn handle(&self, name: &str) -> Result<PersistentHandle, Error> {
        let mut handles = self.handles.iter();
        let handle = handles.find(|handle| format!("{PREFIX}{handle}") == name);
        handle.copied().ok_or_else(|| {
            Error::configuration("the stored name is not that of a key at the handles of this TPM")
        })
    }

    /// The keys that refused the authorization value.
    fn refused(&self) -> MutexGuard<'_, Vec<(PersistentHandle, Error)>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the TPM has counted a wrong authorization value of a key.
fn is_wrong_value(error: &Error) -> bool {
    let is_refusal = |cause: &(dyn StdError + 'static)| {
        let error = cause.downcast_ref::<TpmError>();
        error.is_some_and(TpmError::is_wrong_value)
    };
    dps_tls::causes(error).any(is_refusal)
}

#[async_trait]
impl KeySource for TpmKeySource {
    async fn generate(&self, in_use: &[&str]) -> Result<(Zeroizing<String>, KeyPair), Error> {
        let handles = self.handles.iter();
        let places = handles.map(|handle| (format!("{PREFIX}{handle}"), *handle));
        let (name, handle) = free_place(places, in_use)?;
        let key = self.at(handle).replace(self.kind).await?;
        self.refused().retain(|(refused, _)| *refused != handle);
        Ok((Zeroizing::new(name), key.into()))
    }

    async fn open(&self, name: &str) -> Result<KeyPair, Error> {
        let handle = self.handle(name)?;
        let refusal = self.refused().iter().find(|(it, _)| *it == handle).cloned();
        if let Some((_, error)) = refusal {
            return Err(error);
        }
        let opened = self.at(handle).open().await;
        if let Err(error) = &opened
            && is_wrong_value(error)
        {
            self.refused().push((handle, error.clone()));
        }
        Ok(opened?.into())
    }

    async fn list(&self) -> Result<Vec<Zeroizing<String>>, Error> {
        let stored = self.tpm.key_pairs_of_any_policy().await?;
        let held = self.handles.iter().filter(|handle| stored.contains(handle));
        Ok(held
            .map(|handle| Zeroizing::new(format!("{PREFIX}{handle}")))
            .collect())
    }

    async fn remove(&self, name: &str) -> Result<(), Error> {
        self.at(self.handle(name)?).remove().await
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
