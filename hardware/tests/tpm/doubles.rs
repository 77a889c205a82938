//! TPMs with a flaw.

use std::sync::Mutex;

use async_trait::async_trait;
use dps_device::Attestation;
use dps_device::attestation::{Proof, TpmKeys};
use dps_device::tpm::TpmAttestation;
use dps_hardware::Swtpm;
use dps_types::RegistrationId;
use dps_types::sas::{Sign, SignError, Signature};
use dps_types::tpm::{AuthenticationKey, TpmPublic};

/// Shows the keys of one TPM and opens with another.
#[derive(Debug)]
pub(crate) struct Mistaken {
    pub(crate) shown: TpmAttestation,
    pub(crate) real: TpmAttestation,
}

/// Loses power after each challenge.
#[derive(Debug)]
pub(crate) struct Restarting {
    pub(crate) keys: TpmAttestation,
    pub(crate) swtpm: Mutex<Swtpm>,
}

impl Attestation for Mistaken {
    fn registration_id(&self) -> &RegistrationId {
        self.shown.registration_id()
    }

    fn proof(&self) -> Proof<'_> {
        Proof::Tpm(self)
    }
}

#[async_trait]
impl Sign for Mistaken {
    async fn sign(&self, data: &[u8]) -> Result<Signature, SignError> {
        self.real.sign(data).await
    }
}

#[async_trait]
impl TpmKeys for Mistaken {
    fn endorsement_key(&self) -> &TpmPublic {
        self.shown.endorsement_key()
    }

    fn storage_root_key(&self) -> &TpmPublic {
        self.shown.storage_root_key()
    }

    async fn activate(&self, challenge: &AuthenticationKey) -> Result<(), SignError> {
        self.real.activate(challenge).await
    }

    async fn keep_hub_key(&self, key: &AuthenticationKey) -> Result<(), SignError> {
        self.real.keep_hub_key(key).await
    }
}

impl Attestation for Restarting {
    fn registration_id(&self) -> &RegistrationId {
        self.keys.registration_id()
    }

    fn proof(&self) -> Proof<'_> {
        Proof::Tpm(self)
    }
}

#[async_trait]
impl Sign for Restarting {
    async fn sign(&self, data: &[u8]) -> Result<Signature, SignError> {
        self.keys.sign(data).await
    }
}

#[async_trait]
impl TpmKeys for Restarting {
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
