//! Symmetric keys: a token signed by the enrollment's key, or by the one derived for the device.

use std::time::Duration;

use dps_types::enrollment::{AttestationMechanism, EnrollmentGroup};
use dps_types::protocol::device;
use dps_types::sas::SasToken;
use dps_types::{RegistrationId, SymmetricKey};

use super::Question;
use crate::service_error::ServiceError;
use crate::state::Proof;

/// How far the clock of a device may be behind.
const SKEW: Duration = Duration::from_secs(5 * 60);

/// The token must be signed by the primary or secondary key.
pub(super) fn individual(
    attestation: &AttestationMechanism,
    token: &SasToken,
    question: Question<'_>,
) -> Result<Proof, ServiceError> {
    check_claim(token, question)?;
    match keys(attestation).iter().any(|key| token.verify(key)) {
        true => Ok(Proof::SymmetricKey),
        false => Err(ServiceError::unauthorized()),
    }
}

/// The token must be signed by a key derived from one of a group's: the signature finds the group.
pub(super) fn group(
    groups: Vec<EnrollmentGroup>,
    token: &SasToken,
    question: Question<'_>,
) -> Result<(EnrollmentGroup, Proof), ServiceError> {
    check_claim(token, question)?;
    let id = question.registration_id;
    let lower = lower_case(id).filter(|lower| lower.as_str() != id.as_str());
    for group in groups {
        let keys = keys(&group.attestation);
        let signed = |id: &RegistrationId| {
            keys.iter()
                .any(|key| token.verify(&key.derive_device_key(id)))
        };
        if signed(id) {
            return Ok((group, Proof::SymmetricKey));
        }
        // Devices derive from their id as it is; some first lower its case.
        if lower.as_ref().is_some_and(signed) {
            return Ok((group, Proof::LowerCaseKey));
        }
    }
    Err(ServiceError::unauthorized())
}

/// The claim must be to this device's registration, for now. The documented policy name may be left out
/// (the Python client does).
pub(super) fn check_claim(token: &SasToken, question: Question<'_>) -> Result<(), ServiceError> {
    let resource = device::resource(question.id_scope, question.registration_id);
    let alive = token.expires_at() + SKEW >= question.now;
    let policy = token
        .policy()
        .is_none_or(|policy| policy == device::SAS_POLICY);
    match token.covers(&resource) && alive && policy {
        true => Ok(()),
        false => Err(ServiceError::unauthorized()),
    }
}

fn keys(attestation: &AttestationMechanism) -> Vec<SymmetricKey> {
    let Some(keys) = &attestation.symmetric_key else {
        return Vec::new();
    };
    [&keys.primary_key, &keys.secondary_key]
        .into_iter()
        .flatten()
        .filter_map(|key| key.parse().ok())
        .collect()
}

pub(crate) fn lower_case(id: &RegistrationId) -> Option<RegistrationId> {
    RegistrationId::new(id.to_lowercase()).ok()
}
