//! TPM attestation: only the TPM with the enrolled endorsement key can open its challenge and sign with the key inside.
//!
//! A TPM requires an individual enrollment. DPS challenges every TPM, enrolled or not, and reports a missing enrollment
//! after the challenge is answered. Source: azure-docs `iot-dps/concepts-tpm-attestation.md`.

mod keys;
pub(crate) mod wrap;
mod wrapping_key;

use dps_types::enrollment::AttestationMechanism;
use dps_types::sas::SasToken;
use dps_types::tpm::TpmPublic;

pub(crate) use keys::{HmacKey, TpmKeys, TpmProof, check_endorsement_key};

use super::{Context, Proof, symmetric_key};
use crate::service_error::ServiceError;

/// Requires that the token is signed with the key of a challenge, and that the challenge was made for the enrolled TPM.
pub(super) fn individual(
    attestation: &AttestationMechanism,
    token: &SasToken,
    context: &Context,
) -> Result<Proof, ServiceError> {
    let proof = signer(token, context)?;
    let refused = |reason| ServiceError::unauthorized().with_reason(reason);
    let enrolled = attestation.tpm.as_ref().map(|tpm| &tpm.endorsement_key);
    let enrolled = enrolled.and_then(|key| TpmPublic::from_base64(key).ok());
    match enrolled {
        Some(key) if key == *proof.keys.endorsement_key() => {
            Ok(Proof::Tpm(Box::new(proof.clone())))
        }
        Some(_) => Err(refused(
            "the TPM's endorsement key is not the one in the enrollment",
        )),
        None => Err(refused(
            "the enrollment's endorsement key is not the public key of a TPM",
        )),
    }
}

/// Returns the TPM whose key signed the token.
pub(super) fn signer<'a>(
    token: &SasToken,
    context: &'a Context,
) -> Result<&'a TpmProof, ServiceError> {
    symmetric_key::check_claims(token, context)?;
    let mut known = context.tpm.iter();
    let signer = known.find(|proof| token.verify(&proof.key));
    signer.ok_or_else(|| {
        let reason = match context.tpm.is_empty() {
            true => {
                "there is no open challenge for this registration id: it was answered, is older than ten minutes, or \
                 belongs to an earlier run"
            }
            false => "the token is not signed with the key of the TPM's challenge",
        };
        ServiceError::unauthorized().with_reason(reason)
    })
}
