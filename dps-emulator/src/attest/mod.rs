//! Attestation: verifies a device's token or certificate and finds the enrollment that applies.
//!
//! An individual enrollment takes precedence over every group. Source: azure-docs
//! `iot-dps/concepts-x509-attestation.md`, `concepts-symmetric-key-attestation.md`.

pub(crate) mod chain;
pub(crate) mod chain_error;
mod device_enrollment;
pub(crate) mod elapsed;
mod enrolled_group;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod path;
mod presented;
mod proof;
mod symmetric_key;
pub(crate) mod tpm;
mod verifier;
mod x509;

use std::sync::Arc;
use std::time::SystemTime;

use dps_types::enrollment::{AttestationType, IndividualEnrollment};
use dps_types::{IdScope, RegistrationId};

pub(crate) use chain::PresentedChain;
pub(crate) use device_enrollment::DeviceEnrollment;
pub(crate) use enrolled_group::EnrolledGroup;
pub(crate) use presented::Presented;
pub(crate) use proof::{EnrollmentRef, Proof};
pub(crate) use symmetric_key::lower_case;
use tpm::TpmProof;
pub(crate) use verifier::ChainVerifier;
pub use x509::VerifiedCa;

use crate::service_error::ServiceError;

/// A device whose proof is valid.
#[derive(Debug)]
pub(crate) enum Authenticated {
    Enrolled(Enrolled),
    /// A TPM without an enrollment. DPS challenges it and reports the failure on the first poll.
    NotEnrolled(TpmProof),
}

/// A device whose proof is valid, with its enrollment.
#[derive(Debug)]
pub(crate) struct Enrolled {
    pub(crate) enrollment: DeviceEnrollment,
    pub(crate) proof: Proof,
}

/// The enrollments that may apply to a device.
#[derive(Debug)]
pub(crate) enum Candidates {
    /// The individual enrollment with the device's registration id: no group applies.
    Individual(Box<IndividualEnrollment>),
    /// All enrollment groups: there is no individual enrollment.
    Groups(Vec<Arc<EnrolledGroup>>),
}

/// The request that a device authenticates, and the parts of the instance that the verification needs.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) id_scope: IdScope,
    pub(crate) registration_id: RegistrationId,
    pub(crate) now: SystemTime,
    /// CA certificates with a proof of possession.
    pub(crate) verified_cas: Vec<VerifiedCa>,
    /// True if a signing certificate in an enrollment must chain to one of `verified_cas`.
    pub(crate) require_verified_ca: bool,
    /// The TPMs that this device may be: the one of the challenge that it answers, and the one of its registration.
    pub(crate) tpm: Vec<TpmProof>,
}

/// Verifies the proof and returns the enrollment that it belongs to.
pub(crate) async fn authenticate(
    verifier: &ChainVerifier,
    candidates: Candidates,
    context: Context,
    presented: &Presented<'_>,
) -> Result<Authenticated, ServiceError> {
    match (candidates, presented) {
        (Candidates::Individual(enrollment), Presented::Token(token)) => {
            let attestation = &enrollment.attestation;
            let proof = match attestation.kind {
                AttestationType::SymmetricKey => {
                    symmetric_key::individual(attestation, token, &context)?
                }
                AttestationType::Tpm => tpm::individual(attestation, token, &context)?,
                _ => {
                    return Err(wrong_kind(
                        ServiceError::unauthorized(),
                        "a token",
                        attestation.kind.as_str(),
                    ));
                }
            };
            Ok(Authenticated::individual(enrollment, proof))
        }
        (Candidates::Individual(enrollment), Presented::Chain(chain)) => {
            let attestation = enrollment.attestation.clone();
            if attestation.kind != AttestationType::X509 {
                let error = ServiceError::invalid_certificate();
                return Err(wrong_kind(
                    error,
                    "a client certificate",
                    attestation.kind.as_str(),
                ));
            }
            let chain = (*chain).clone();
            let work = move || x509::individual(&attestation, &chain, &context);
            let proof = verifier.run(work).await?;
            Ok(Authenticated::individual(enrollment, proof))
        }
        (Candidates::Groups(groups), Presented::Token(token)) => {
            let groups = of_kind(groups, AttestationType::SymmetricKey);
            match symmetric_key::group(groups, token, &context) {
                Ok((group, proof)) => Ok(Authenticated::group(group, proof)),
                Err(error) => match tpm::signer(token, &context) {
                    Ok(proof) => Ok(Authenticated::NotEnrolled(proof.clone())),
                    Err(_) => Err(error),
                },
            }
        }
        (Candidates::Groups(groups), Presented::Chain(chain)) => {
            let (groups, chain) = (of_kind(groups, AttestationType::X509), (*chain).clone());
            let work = move || x509::group(&groups, &chain, &context);
            let (group, proof) = verifier.run(work).await?;
            Ok(Authenticated::group(group, proof))
        }
        (_, Presented::Nothing) => Err(ServiceError::invalid_certificate()
            .with_reason("the request has neither a token nor a client certificate")),
    }
}

/// A group uses the kind of attestation that its `type` names; other members of the document are ignored.
fn of_kind(groups: Vec<Arc<EnrolledGroup>>, kind: AttestationType) -> Vec<Arc<EnrolledGroup>> {
    let groups = groups.into_iter();
    groups
        .filter(|group| group.attestation.kind == kind)
        .collect()
}

fn wrong_kind(error: ServiceError, presented: &str, enrolled: &str) -> ServiceError {
    error.with_reason(format!(
        "the request has {presented}, and the individual enrollment has the attestation type '{enrolled}'"
    ))
}

impl Authenticated {
    fn individual(enrollment: Box<IndividualEnrollment>, proof: Proof) -> Self {
        Self::Enrolled(Enrolled {
            enrollment: DeviceEnrollment::Individual(enrollment),
            proof,
        })
    }

    fn group(group: Arc<EnrolledGroup>, proof: Proof) -> Self {
        Self::Enrolled(Enrolled {
            enrollment: DeviceEnrollment::Group(group),
            proof,
        })
    }

    /// Returns the device's enrollment, or 404201 for a TPM without one.
    pub(crate) fn enrolled(self) -> Result<Enrolled, ServiceError> {
        match self {
            Self::Enrolled(enrolled) => Ok(enrolled),
            Self::NotEnrolled(_) => Err(ServiceError::not_enrolled()
                .with_reason("the TPM answered its challenge, but has no individual enrollment")),
        }
    }

    /// The TPM's keys, if the device is a TPM.
    pub(crate) fn tpm(&self) -> Option<&TpmProof> {
        match self {
            Self::Enrolled(enrolled) => enrolled.proof.tpm(),
            Self::NotEnrolled(proof) => Some(proof),
        }
    }
}
