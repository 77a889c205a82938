//! The steps that only TPM attestation has: the challenge, the hub key, and the failure of a TPM that is not enrolled.

use dps_types::enrollment::TpmAttestation;
use dps_types::tpm::{AuthenticationKey, TpmPublic};
use dps_types::{
    DeviceRegistrationResult, HubHostname, RegistrationOperationStatus, RegistrationStatus,
    TpmRegistrationResult,
};

use super::{Device, Engine, in_progress, operation};
use crate::attest::tpm::{HmacKey, TpmKeys, TpmProof};
use crate::attest::{Candidates, EnrollmentRef, Presented, Proof};
use crate::service_error::ServiceError;
use crate::state::{Outcome, Record};

impl Engine {
    /// The key that the TPM with these keys must open, for a transport that sends the challenge before any request.
    pub(crate) async fn challenge_key(
        &self,
        device: &Device<'_>,
        keys: &TpmAttestation,
    ) -> Result<Box<AuthenticationKey>, ServiceError> {
        match Box::pin(self.authenticate(device, Some(keys), None)).await {
            Err(mut error) => match error.challenge.take() {
                Some(key) => Ok(key),
                None => Err(error),
            },
            // A device that has presented nothing is never authenticated.
            Ok(_) => Err(ServiceError::unauthorized()),
        }
    }

    /// Returns a challenge for any TPM with these keys, or the error for keys that are not valid.
    pub(super) async fn challenge(
        &self,
        device: &Device<'_>,
        shown: &TpmAttestation,
        enrolled: Option<&TpmPublic>,
    ) -> ServiceError {
        let keys = match TpmKeys::parse(shown) {
            Ok(keys) => keys,
            Err(message) => return ServiceError::invalid(message),
        };
        let id = device.registration_id;
        tracing::debug!(registration_id = %id, "challenge for a TPM");
        let is_enrolled = enrolled == Some(keys.endorsement_key());
        let (source, now) = (device.source, self.now());
        let made = self.challenges.make(id, keys, is_enrolled, source, now);
        match made.await {
            Ok(key) => ServiceError::challenge(key),
            Err(error) => error,
        }
    }

    /// The TPM whose challenge the device answers.
    pub(super) async fn answered(
        &self,
        device: &Device<'_>,
    ) -> Result<Option<TpmProof>, ServiceError> {
        match &device.presented {
            Presented::Token(token) => {
                let (id, now) = (device.registration_id, self.now());
                self.challenges.answered(id, token, now).await
            }
            _ => Ok(None),
        }
    }

    /// Whether a device that is refused gets a challenge instead: one that shows no token, or whose challenge was
    /// forgotten. A wrong answer does not replace the challenge.
    pub(super) async fn may_challenge(
        &self,
        device: &Device<'_>,
        shown: &TpmAttestation,
        answered: Option<&TpmProof>,
    ) -> Result<bool, ServiceError> {
        match (&device.presented, TpmKeys::parse(shown)) {
            (Presented::Nothing, _) => Ok(true),
            (Presented::Token(_), _) if answered.is_some() => Ok(false),
            (Presented::Token(_), Ok(keys)) => {
                let (id, now) = (device.registration_id, self.now());
                Ok(!self.challenges.has(id, &keys, now).await?)
            }
            (Presented::Token(_), Err(_)) => Ok(true),
            (Presented::Chain(_), _) => Ok(false),
        }
    }

    /// Stores the registration of a TPM that is not enrolled. It has failed, and the first poll reports the failure.
    pub(super) async fn register_not_enrolled(
        &self,
        device: &Device<'_>,
        proof: TpmProof,
    ) -> Result<RegistrationOperationStatus, ServiceError> {
        let now = self.instance.state.now();
        tracing::warn!(registration_id = %device.registration_id, "a TPM that is not enrolled");
        let record = Record {
            registration_id: device.registration_id.clone(),
            enrollment: EnrollmentRef::Individual,
            proof: Proof::Tpm(Box::new(proof)),
            created: now,
            last_updated: now,
            etag: self.instance.state.new_version(),
            operation: operation::new_id(&self.instance.id_scope, self.instance.state.random()),
            pending: None,
            hub: None,
            device_id: None,
            hub_key: None,
            credential: None,
            issued_chain: Vec::new(),
            outcome: Some(Outcome::Failed(ServiceError::not_enrolled().into())),
        };
        let status = in_progress(&record);
        self.challenges.keep_failed(record, self.now()).await?;
        Ok(status)
    }
}

/// The endorsement key in the individual enrollment of a TPM.
pub(super) fn enrolled_key(candidates: &Candidates) -> Option<TpmPublic> {
    match candidates {
        Candidates::Individual(enrollment) => {
            let tpm = enrollment.attestation.tpm.as_ref()?;
            TpmPublic::from_base64(&tpm.endorsement_key).ok()
        }
        Candidates::Groups(_) => None,
    }
}

/// A TPM that repeats its keys must show those that it was challenged for.
pub(super) fn check_keys(proof: &TpmProof, shown: &TpmAttestation) -> Result<(), ServiceError> {
    match TpmKeys::parse(shown).map_err(ServiceError::invalid)? == proof.keys {
        true => Ok(()),
        false => Err(ServiceError::unauthorized()),
    }
}

/// Puts the hub key into the answer, wrapped for the keys that the TPM proves itself with now.
pub(super) fn deliver(result: &mut DeviceRegistrationResult, record: &Record, proof: &Proof) {
    if record.status() == RegistrationStatus::Assigned
        && let (Some(tpm), Some(key)) = (proof.tpm(), kept_hub_key(record, proof))
    {
        let mut delivered = TpmRegistrationResult::default();
        delivered.authentication_key = Some(tpm.keys.wrap(&key).to_base64());
        result.tpm = Some(delivered);
    }
}

/// The hub key of a device that is assigned to `hub`: it stays as long as the device does.
pub(super) fn hub_key(record: &Record, hub: &HubHostname) -> Option<HmacKey> {
    record.proof.tpm()?;
    let kept = record.hub_key.clone();
    let kept = kept.filter(|_| record.hub.as_ref() == Some(hub));
    Some(kept.unwrap_or_else(HmacKey::generate))
}

/// The hub key that a device with this proof keeps: another TPM must not receive it.
pub(super) fn kept_hub_key(known: &Record, proof: &Proof) -> Option<HmacKey> {
    let (before, now) = (known.proof.tpm()?, proof.tpm()?);
    let same = before.keys.endorsement_key() == now.keys.endorsement_key();
    known.hub_key.clone().filter(|_| same)
}
