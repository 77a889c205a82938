//! TPM attestation: the device proves its identity by opening the service's challenge with its TPM.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use dps_types::RegistrationId;
use dps_types::sas::{Sign, SignError, Signature};
use dps_types::tpm::{AuthenticationKey, TpmPublic};
use tracing::debug;

use super::handle::Tpm;
use super::hub_key;
use super::keys;
use super::wrapped_key::{WrappedKey, message};
use crate::attestation::{Attestation, Proof, TpmKeys};
use crate::error::Error;

/// TPM attestation, for individual enrollments.
///
/// The key of a challenge is held in memory, encrypted by the TPM, and is loaded for each signature. Only the hub key, which comes
/// with the assignment, is stored in the TPM, so a failed registration does not change it.
///
/// As a [`Sign`] it signs with the key of the last challenge. Before the first challenge and after the assignment it signs with the
/// hub key, as [`Tpm::hub_signer`] does. Clones share the key of the challenge. Registrations of one device must not overlap,
/// because the key of the later challenge would sign for both.
///
/// Source: azure-docs `iot-dps/concepts-tpm-attestation.md`.
///
/// ```no_run
/// # async fn attestation() -> Result<(), dps_device::Error> {
/// use dps_device::Attestation;
/// use dps_device::tpm::{Tpm, TpmAttestation, TpmOptions};
///
/// let tpm = Tpm::open(TpmOptions::default()).await?;
/// let attestation = TpmAttestation::new(&tpm).await?;
/// println!("enroll {} with {}", attestation.registration_id(), attestation.endorsement_key().to_base64());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TpmAttestation {
    tpm: Tpm,
    registration_id: RegistrationId,
    endorsement_key: TpmPublic,
    storage_root_key: TpmPublic,
    challenge_key: Arc<Mutex<Option<Arc<WrappedKey>>>>,
}

impl TpmAttestation {
    /// A device with this TPM. Its registration id is the one that Azure's SDKs use: the
    /// [`TpmPublic::default_registration_id`] of the endorsement key.
    ///
    /// Uses the endorsement key and the storage root key in the TPM. A key that is missing is created and stored, which may take a
    /// minute.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if a handle has another kind of object, an
    /// authorization value is wrong, or the TPM has no space left. [`ErrorKind::Signing`](crate::ErrorKind::Signing) if the TPM
    /// fails. The source is a [`TpmError`](super::TpmError).
    pub async fn new(tpm: &Tpm) -> Result<Self, Error> {
        let (endorsement_key, storage_root_key) = tpm
            .run(|connection| {
                Ok((
                    keys::endorsement_key(connection)?,
                    keys::storage_root_key(connection)?,
                ))
            })
            .await
            .map_err(|error| error.into_error("the keys of the TPM cannot be used"))?;
        Ok(Self {
            tpm: tpm.clone(),
            registration_id: endorsement_key.default_registration_id(),
            endorsement_key,
            storage_root_key,
            challenge_key: Arc::default(),
        })
    }

    /// Uses this registration id instead of the default one: the registration id of the enrollment.
    #[must_use]
    pub fn with_registration_id(mut self, registration_id: RegistrationId) -> Self {
        self.registration_id = registration_id;
        self
    }

    /// The public part of the endorsement key. The enrollment contains its [`TpmPublic::to_base64`].
    pub fn endorsement_key(&self) -> &TpmPublic {
        &self.endorsement_key
    }

    /// The TPM.
    pub fn tpm(&self) -> &Tpm {
        &self.tpm
    }

    fn set_challenge_key(&self, key: Option<WrappedKey>) {
        *self.lock() = key.map(Arc::new);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<WrappedKey>>> {
        self.challenge_key
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attestation for TpmAttestation {
    fn registration_id(&self) -> &RegistrationId {
        &self.registration_id
    }

    fn proof(&self) -> Proof<'_> {
        Proof::Tpm(self)
    }
}

#[async_trait]
impl TpmKeys for TpmAttestation {
    fn endorsement_key(&self) -> &TpmPublic {
        &self.endorsement_key
    }

    fn storage_root_key(&self) -> &TpmPublic {
        &self.storage_root_key
    }

    async fn activate(&self, challenge: &AuthenticationKey) -> Result<(), SignError> {
        let challenge = challenge.clone();
        let key = self
            .tpm
            .run(move |connection| WrappedKey::open(connection, &challenge))
            .await
            .map_err(|error| error.sign_error("the TPM cannot open the service's challenge"))?;
        self.set_challenge_key(Some(key));
        debug!("the TPM opened the challenge");
        Ok(())
    }

    async fn keep_hub_key(&self, key: &AuthenticationKey) -> Result<(), SignError> {
        let key = key.clone();
        self.tpm
            .run(move |connection| {
                let key = WrappedKey::open(connection, &key)?;
                hub_key::store(connection, &key)
            })
            .await
            .map_err(|error| error.sign_error("the TPM cannot store the hub key"))?;
        self.set_challenge_key(None);
        Ok(())
    }

    async fn sign_for_hub(&self, data: &[u8]) -> Result<Signature, SignError> {
        self.tpm.hub_signer().sign(data).await
    }
}

#[async_trait]
impl Sign for TpmAttestation {
    async fn sign(&self, data: &[u8]) -> Result<Signature, SignError> {
        let key = self.lock().clone();
        let Some(key) = key else {
            return self.tpm.hub_signer().sign(data).await;
        };
        let sign = async {
            let data = message(data)?;
            self.tpm
                .run(move |connection| key.sign(connection, data))
                .await
        };
        sign.await
            .map_err(|error| error.sign_error("the TPM cannot sign with the key of the challenge"))
    }
}

impl fmt::Debug for TpmAttestation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TpmAttestation")
            .field("registration_id", &self.registration_id)
            .field("tpm", &self.tpm)
            .finish_non_exhaustive()
    }
}
