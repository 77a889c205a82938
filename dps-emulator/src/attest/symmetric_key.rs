//! Symmetric key attestation: the token is signed with the enrollment's key, or with a key derived from the group's.

use std::sync::Arc;
use std::time::Duration;

use dps_types::enrollment::AttestationMechanism;
use dps_types::protocol::device;
use dps_types::sas::SasToken;
use dps_types::{RegistrationId, SymmetricKey};

use super::{Context, EnrolledGroup, Proof, elapsed};
use crate::service_error::ServiceError;

/// The time after its expiry in which a token is still accepted, for devices with a slow clock.
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// Requires that the primary or secondary key signed the token.
pub(super) fn individual(
    attestation: &AttestationMechanism,
    token: &SasToken,
    context: &Context,
) -> Result<Proof, ServiceError> {
    check_claims(token, context)?;
    match keys(attestation).iter().any(|key| token.verify(key)) {
        true => Ok(Proof::SymmetricKey),
        false => Err(ServiceError::unauthorized().with_reason(
            "neither key of the individual enrollment made the token's signature (sig)",
        )),
    }
}

/// Returns the group whose primary or secondary key, derived for the device, signed the token.
pub(super) fn group(
    groups: Vec<Arc<EnrolledGroup>>,
    token: &SasToken,
    context: &Context,
) -> Result<(Arc<EnrolledGroup>, Proof), ServiceError> {
    check_claims(token, context)?;
    let id = &context.registration_id;
    let tried = groups.len();
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
        // Most devices derive the key from the id as it is; some convert it to lower case first.
        if lower.as_ref().is_some_and(signed) {
            return Ok((group, Proof::LowerCaseKey));
        }
    }
    Err(ServiceError::unauthorized().with_reason(match tried {
        0 => "there is no individual enrollment with this id and no enrollment group with symmetric keys".to_owned(),
        1 => "there is no individual enrollment with this id; 1 enrollment group was tried, and no derived key made the \
              token's signature (sig)"
            .to_owned(),
        tried => format!(
            "there is no individual enrollment with this id; {tried} enrollment groups were tried, and no derived key made \
             the token's signature (sig)"
        ),
    }))
}

/// Requires that the token is for this device's registration and has not ended. The policy name may be missing: the
/// Python client leaves it out.
pub(super) fn check_claims(token: &SasToken, context: &Context) -> Result<(), ServiceError> {
    let refused = |reason: String| Err(ServiceError::unauthorized().with_reason(reason));
    let resource = device::resource(&context.id_scope, &context.registration_id);
    if !token.covers(&resource) {
        return refused(format!(
            "the token is for the resource (sr) '{}', and this registration is '{resource}'",
            token.resource()
        ));
    }
    let earliest = context.now.checked_sub(CLOCK_SKEW);
    if earliest.is_some_and(|earliest| token.expires_at() < earliest) {
        let end = elapsed::relative(token.expires_at(), context.now);
        return refused(format!("the token ended {end}"));
    }
    match token.policy() {
        Some(policy) if policy != device::SAS_POLICY => refused(format!(
            "the token names the policy (skn) '{policy}'; for devices it is '{}'",
            device::SAS_POLICY
        )),
        _ => Ok(()),
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
