//! TPMs: only the one with the enrolled endorsement key can open its challenge, and sign with the key inside.
//!
//! TPMs have individual enrollments alone. Whoever shows the keys of a TPM is challenged, enrolled or not: so the service
//! does, and an answer to a challenge finds out. Source: azure-docs `iot-dps/concepts-tpm-attestation.md`.

mod challenges;
mod keys;
mod wrap;

use dps_types::enrollment::AttestationMechanism;
use dps_types::sas::SasToken;
use dps_types::tpm::TpmPublic;

pub(crate) use challenges::Challenges;
pub(crate) use keys::{HmacKey, TpmKeys, TpmProof, endorsement_key};

use super::{Question, symmetric_key};
use crate::service_error::ServiceError;
use crate::state::Proof;

/// The token must be signed with the key of a challenge, and the challenge be for the enrolled TPM.
pub(super) fn individual(
    attestation: &AttestationMechanism,
    token: &SasToken,
    question: Question<'_>,
) -> Result<Proof, ServiceError> {
    let proof = signer(token, question)?;
    let enrolled = attestation.tpm.as_ref();
    let enrolled = enrolled.and_then(|tpm| TpmPublic::from_base64(&tpm.endorsement_key).ok());
    match enrolled {
        Some(key) if key == *proof.keys.endorsement_key() => {
            Ok(Proof::Tpm(Box::new(proof.clone())))
        }
        _ => Err(ServiceError::unauthorized()),
    }
}

/// The TPM whose key signed the token.
pub(super) fn signer<'a>(
    token: &SasToken,
    question: Question<'a>,
) -> Result<&'a TpmProof, ServiceError> {
    symmetric_key::check_claim(token, question)?;
    let mut known = question.tpm.iter();
    known
        .find(|proof| token.verify(&proof.key))
        .ok_or_else(ServiceError::unauthorized)
}
