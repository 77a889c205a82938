//! Faulty TPMs.

use std::sync::Mutex;

use async_trait::async_trait;
use dps_device::Attestation;
use dps_device::attestation::{Proof, TpmKeys};
use dps_device::tpm::TpmAttestation;
use dps_hardware::Swtpm;
use dps_types::RegistrationId;
use dps_types::sas::{Sign, SignError, Signature};
use dps_types::tpm::{AuthenticationKey, TpmPublic};

/// Presents the keys of one TPM and opens keys with another.
#[derive(Debug)]
pub(crate) struct MixedUpTpm {
    pub(crate) presented: TpmAttestation,
    pub(crate) used: TpmAttestation,
}

/// Loses power after each challenge.
#[derive(Debug)]
pub(crate) struct RestartingTpm {
    pub(crate) keys: TpmAttestation,
    pub(crate) swtpm: Mutex<Swtpm>,
}

impl Attestation for MixedUpTpm {
    fn registration_id(&self) -> &RegistrationId {
        self.presented.registration_id()
    }

    fn proof(&self) -> Proof<'_> {
        Proof::Tpm(self)
    }
}

#[async_trait]
impl Sign for MixedUpTpm {
    async fn sign(&self, data: &[u8]) -> Result<Signature, SignError> {
        self.used.sign(data).await
    }
}

#[async_trait]
impl TpmKeys for MixedUpTpm {
    fn endorsement_key(&self) -> &TpmPublic {
        self.presented.endorsement_key()
    }

    fn storage_root_key(&self) -> &TpmPublic {
        self.presented.storage_root_key()
    }

    async fn activate(&self, challenge: &AuthenticationKey) -> Result<(), SignError> {
        self.used.activate(challenge).await
    }

    async fn keep_hub_key(&self, key: &AuthenticationKey) -> Result<(), SignError> {
        self.used.keep_hub_key(key).await
    }
}

impl Attestation for RestartingTpm {
    fn registration_id(&self) -> &RegistrationId {
        self.keys.registration_id()
    }

    fn proof(&self) -> Proof<'_> {
        Proof::Tpm(self)
    }
}

#[async_trait]
impl Sign for RestartingTpm {
    async fn sign(&self, data: &[u8]) -> Result<Signature, SignError> {
        self.keys.sign(data).await
    }
}

#[async_trait]
impl TpmKeys for RestartingTpm {
    fn endorsement_key(&self) -> &TpmPublic {
        self.keys.endorsement_key()
    }

    fn storage_root_key(&self) -> &TpmPublic {
        self.keys.storage_root_key()
    }

    async fn activate(&self, challenge: &AuthenticationKey) -> Result<(), SignError> {
        self.keys.activate(challenge).await?;
        self.swtpm.lock().unwrap().restart();
        Ok(())
    }

    async fn keep_hub_key(&self, key: &AuthenticationKey) -> Result<(), SignError> {
        self.keys.keep_hub_key(key).await
    }
}
