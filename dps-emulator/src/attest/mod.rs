//! Who is there? Tokens and certificates are really verified, and the enrollment that decides is found.
//!
//! An individual enrollment comes before any group, and then alone decides. Source: azure-docs
//! `iot-dps/concepts-x509-attestation.md`, `concepts-symmetric-key-attestation.md`.

pub(crate) mod certificate;
pub(crate) mod chain;
mod symmetric_key;
pub(crate) mod tpm;
mod x509;

use std::time::SystemTime;

use dps_types::enrollment::{AttestationType, EnrollmentGroup, IndividualEnrollment};
use dps_types::sas::SasToken;
use dps_types::{Enrollment, IdScope, RegistrationId};

pub(crate) use certificate::Certificate;
pub(crate) use chain::PresentedChain;
pub(crate) use symmetric_key::lower_case;
use tpm::TpmProof;
pub(crate) use x509::VerifiedCa;

use crate::service_error::ServiceError;
use crate::state::{Document, EnrollmentRef, Proof, State};

/// What a device shows.
#[derive(Debug, Clone)]
pub(crate) enum Presented<'a> {
    /// Neither a token nor a certificate.
    Nothing,
    Token(SasToken),
    Chain(&'a PresentedChain),
}

/// A device that is who it says.
#[derive(Debug)]
pub(crate) enum Known {
    Enrolled(Enrolled),
    /// A TPM that nobody enrolled: it was challenged like any other, and the service tells it only in the end.
    Stranger(TpmProof),
}

/// A device that is who it says, and its enrollment.
#[derive(Debug)]
pub(crate) struct Enrolled {
    pub(crate) enrollment: Enrollment,
    pub(crate) proof: Proof,
}

/// Where and when a device asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) id_scope: &'a IdScope,
    pub(crate) registration_id: &'a RegistrationId,
    pub(crate) now: SystemTime,
    /// CAs whose possession is proven.
    pub(crate) verified_cas: &'a [VerifiedCa],
    /// Whether a signing certificate in an enrollment must chain to one of them.
    pub(crate) require_verified_ca: bool,
    /// The TPMs that this device may be: of the challenge that it answers, and of its registration.
    pub(crate) tpm: &'a [TpmProof],
}

/// Finds the enrollment that this device's proof fits.
pub(crate) async fn authenticate(
    state: &State,
    question: Question<'_>,
    presented: &Presented<'_>,
) -> Result<Known, ServiceError> {
    let key = question.registration_id.to_lowercase();
    if let Some(enrollment) = state.enrollment::<IndividualEnrollment>(&key).await? {
        return individual(enrollment, question, presented).map(Known::Enrolled);
    }
    let groups = state.enrollments().await?;
    match (group(groups, question, presented), presented) {
        (Err(refusal), Presented::Token(token)) => match tpm::signer(token, question) {
            Ok(proof) => Ok(Known::Stranger(proof.clone())),
            Err(_) => Err(refusal),
        },
        (outcome, _) => outcome.map(Known::Enrolled),
    }
}

fn individual(
    enrollment: IndividualEnrollment,
    question: Question<'_>,
    presented: &Presented<'_>,
) -> Result<Enrolled, ServiceError> {
    let attestation = &enrollment.attestation;
    let proof = match (&attestation.kind, presented) {
        (AttestationType::SymmetricKey, Presented::Token(token)) => {
            symmetric_key::individual(attestation, token, question)?
        }
        (AttestationType::X509, Presented::Chain(chain)) => {
            x509::individual(attestation, chain, question)?
        }
        (AttestationType::Tpm, Presented::Token(token)) => {
            tpm::individual(attestation, token, question)?
        }
        (_, Presented::Token(_)) => return Err(ServiceError::unauthorized()),
        _ => return Err(ServiceError::invalid_certificate()),
    };
    Ok(Enrolled {
        enrollment: Enrollment::Individual(Box::new(enrollment)),
        proof,
    })
}

fn group(
    groups: Vec<EnrollmentGroup>,
    question: Question<'_>,
    presented: &Presented<'_>,
) -> Result<Enrolled, ServiceError> {
    // What a group's document holds beside its own type of attestation counts for nothing.
    let of = |kind: AttestationType| {
        let same = move |group: &EnrollmentGroup| group.attestation.kind == kind;
        groups.into_iter().filter(same).collect()
    };
    let (group, proof) = match presented {
        Presented::Token(token) => {
            symmetric_key::group(of(AttestationType::SymmetricKey), token, question)?
        }
        Presented::Chain(chain) => x509::group(of(AttestationType::X509), chain, question)?,
        Presented::Nothing => return Err(ServiceError::invalid_certificate()),
    };
    Ok(Enrolled {
        enrollment: Enrollment::Group(Box::new(group)),
        proof,
    })
}

impl Known {
    /// The enrollment of the device, which it needs now.
    pub(crate) fn enrolled(self) -> Result<Enrolled, ServiceError> {
        match self {
            Self::Enrolled(enrolled) => Ok(enrolled),
            Self::Stranger(_) => Err(ServiceError::not_enrolled()),
        }
    }

    /// The keys of the TPM, when it is one.
    pub(crate) fn tpm(&self) -> Option<&TpmProof> {
        match self {
            Self::Enrolled(enrolled) => enrolled.proof.tpm(),
            Self::Stranger(proof) => Some(proof),
        }
    }
}

impl Enrolled {
    pub(crate) fn is_disabled(&self) -> bool {
        match &self.enrollment {
            Enrollment::Individual(enrollment) => enrollment.terms().is_disabled(),
            Enrollment::Group(group) => group.terms().is_disabled(),
            _ => false,
        }
    }

    pub(crate) fn reference(&self) -> EnrollmentRef {
        match &self.enrollment {
            Enrollment::Group(group) => EnrollmentRef::Group(group.enrollment_group_id.clone()),
            _ => EnrollmentRef::Individual,
        }
    }
}
