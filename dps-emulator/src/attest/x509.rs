//! Certificates: the very one that is enrolled, or a chain to one that signed. The most specific signer decides.

use dps_types::RegistrationId;
use dps_types::enrollment::{
    AttestationMechanism, EnrollmentGroup, X509Attestation, X509CertificateWithInfo,
    X509Certificates,
};

use super::{Certificate, PresentedChain, Question};
use crate::service_error::ServiceError;
use crate::state::Proof;

/// A CA certificate of the instance whose possession is proven.
#[derive(Debug, Clone)]
pub(crate) struct VerifiedCa {
    /// What `caReferences` call it.
    pub(crate) name: String,
    pub(crate) certificate: Certificate,
}

/// The leaf must be one of the enrolled certificates, or signed by an enrolled one.
pub(super) fn individual(
    attestation: &AttestationMechanism,
    chain: &PresentedChain,
    question: Question<'_>,
) -> Result<Proof, ServiceError> {
    check_leaf(chain, question)?;
    let Some(x509) = &attestation.x509 else {
        return Err(ServiceError::invalid_certificate());
    };
    let enrolled = certificates(x509.client_certificates.as_ref());
    let thumbprint = chain.leaf().sha256_thumbprint();
    let same = enrolled
        .iter()
        .any(|certificate| certificate.sha256_thumbprint() == thumbprint);
    match same || distance(x509, chain, question).is_some() {
        true => Ok(proof(chain)),
        false => Err(ServiceError::invalid_certificate()),
    }
}

/// Of the groups whose signer is in the chain, the one nearest to the leaf decides, also when it is disabled:
/// disabling an intermediate's group blocks its devices although the root's group is enabled.
pub(super) fn group(
    groups: Vec<EnrollmentGroup>,
    chain: &PresentedChain,
    question: Question<'_>,
) -> Result<(EnrollmentGroup, Proof), ServiceError> {
    check_leaf(chain, question)?;
    let distance =
        |group: &EnrollmentGroup| distance(group.attestation.x509.as_ref()?, chain, question);
    let nearest = groups
        .into_iter()
        .filter_map(|group| Some((distance(&group)?, group)))
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((_, group)) => Ok((group, proof(chain))),
        None => Err(ServiceError::new(
            dps_types::ErrorCode::UNAUTHORIZED,
            "CA certificate not found.",
        )),
    }
}

/// The leaf's common name is the registration id, and it is valid now.
fn check_leaf(chain: &PresentedChain, question: Question<'_>) -> Result<(), ServiceError> {
    let leaf = chain.leaf();
    let name = leaf
        .common_name()
        .and_then(|name| RegistrationId::new(name).ok());
    match name.as_ref() == Some(question.registration_id) && leaf.is_valid_at(question.now) {
        true => Ok(()),
        false => Err(ServiceError::invalid_certificate()),
    }
}

/// How many certificates lie between the leaf and the nearest signer that the attestation names.
fn distance(
    x509: &X509Attestation,
    chain: &PresentedChain,
    question: Question<'_>,
) -> Option<usize> {
    let signing = certificates(x509.signing_certificates.as_ref())
        .into_iter()
        .filter_map(|anchor| {
            let distance = chain.distance_to(&anchor, question.now).ok()?;
            is_trusted(&anchor, distance, chain, question).then_some(distance)
        });
    let references = x509
        .ca_references
        .iter()
        .flat_map(|names| [&names.primary, &names.secondary])
        .flatten();
    let referenced = references.filter_map(|name| {
        let ca = question
            .verified_cas
            .iter()
            .find(|ca| ca.name.eq_ignore_ascii_case(name))?;
        chain.distance_to(&ca.certificate, question.now).ok()
    });
    signing.chain(referenced).min()
}

/// Whether an inline signing certificate may be believed. The service believes only what chains to a CA whose
/// possession was proven, which therefore is no nearer to the leaf; unless asked to, the emulator believes the operator.
fn is_trusted(
    anchor: &Certificate,
    distance: usize,
    chain: &PresentedChain,
    question: Question<'_>,
) -> bool {
    !question.require_verified_ca
        || question.verified_cas.iter().any(|ca| {
            ca.certificate.sha256_thumbprint() == anchor.sha256_thumbprint()
                || chain
                    .distance_to(&ca.certificate, question.now)
                    .is_ok_and(|ca| ca >= distance)
        })
}

fn certificates(pair: Option<&X509Certificates>) -> Vec<Certificate> {
    let texts = |certificate: &X509CertificateWithInfo| {
        Certificate::from_text(certificate.certificate.as_ref()?).ok()
    };
    pair.iter()
        .flat_map(|pair| [&pair.primary, &pair.secondary])
        .flatten()
        .filter_map(texts)
        .collect()
}

fn proof(chain: &PresentedChain) -> Proof {
    Proof::X509 {
        leaf: chain.leaf().der_base64(),
    }
}
