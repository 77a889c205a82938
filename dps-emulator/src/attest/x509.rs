//! X.509 attestation: the enrolled certificate itself, or a chain to an enrolled signer. The signer nearest to the leaf decides.

use std::sync::Arc;

use dps_types::enrollment::{AttestationMechanism, X509Attestation};
use dps_types::{ErrorCode, RegistrationId};

use super::chain::Distances;
use super::chain_error::ChainError;
use super::enrolled_group::{EnrolledGroup, certificates};
use super::path::{SignatureBudget, check_handshake_key, check_readable, check_validity};
use super::{Context, PresentedChain, Proof};
use crate::certificate::Certificate;
use crate::error::{Error, ErrorKind};
use crate::service_error::ServiceError;

/// A CA certificate of the instance with a proof of possession.
#[derive(Debug, Clone)]
pub struct VerifiedCa {
    /// The name that `caReferences` use.
    pub(crate) name: String,
    pub(crate) certificate: Certificate,
}

impl VerifiedCa {
    /// A CA certificate in PEM, under the name that `caReferences` in enrollments use.
    ///
    /// # Errors
    /// If the certificate cannot be read.
    pub fn from_pem(name: impl Into<String>, pem: &str) -> Result<Self, Error> {
        let name = name.into();
        match Certificate::issuer_from_text(pem) {
            Ok(certificate) => Ok(Self { name, certificate }),
            Err(error) => {
                let reason = format!("the certificate of the CA '{name}' cannot be read");
                Err(Error::new(ErrorKind::Configuration, reason).with_source(error))
            }
        }
    }
}

/// Requires that the leaf is one of the enrolled certificates, or signed by an enrolled signing certificate.
pub(super) fn individual(
    attestation: &AttestationMechanism,
    chain: &PresentedChain,
    context: &Context,
) -> Result<Proof, ServiceError> {
    check_leaf(chain, context)?;
    let refused = |reason: String| ServiceError::invalid_certificate().with_reason(reason);
    let Some(x509) = &attestation.x509 else {
        let reason = "the individual enrollment has no X.509 certificates";
        return Err(refused(reason.to_owned()));
    };
    let thumbprint = chain.leaf().sha256_thumbprint();
    let enrolled = certificates(x509.client_certificates.as_ref());
    if enrolled
        .iter()
        .any(|it| it.sha256_thumbprint() == thumbprint)
    {
        return Ok(proof(chain));
    }
    let inline = certificates(x509.signing_certificates.as_ref());
    let signers = Signers::of(x509, &inline, context);
    if signers.is_empty() {
        let enrolled: Vec<&str> = enrolled
            .iter()
            .map(Certificate::sha256_thumbprint)
            .collect();
        return Err(refused(format!(
            "the client certificate '{}' has the SHA-256 thumbprint {thumbprint}; the enrolled thumbprints are [{}]",
            chain.leaf().subject(),
            enrolled.join(", ")
        )));
    }
    let distances = distances(&[&signers], chain, context, &SignatureBudget::default())
        .map_err(|error| refused(error.to_string()))?;
    match signers.nearest(&distances, context) {
        Ok(_) => Ok(proof(chain)),
        Err(reason) => Err(refused(reason.to_owned())),
    }
}

/// Returns the group whose signer is nearest to the leaf, even if that group is disabled: disabling an intermediate's group
/// blocks its devices although the root's group is enabled.
pub(super) fn group(
    groups: &[Arc<EnrolledGroup>],
    chain: &PresentedChain,
    context: &Context,
) -> Result<(Arc<EnrolledGroup>, Proof), ServiceError> {
    group_within(groups, chain, context, &SignatureBudget::default())
}

fn group_within(
    groups: &[Arc<EnrolledGroup>],
    chain: &PresentedChain,
    context: &Context,
    budget: &SignatureBudget,
) -> Result<(Arc<EnrolledGroup>, Proof), ServiceError> {
    check_leaf(chain, context)?;
    let count = groups.len();
    let refused = |reason: &dyn std::fmt::Display| {
        let leaf = chain.leaf().subject();
        ServiceError::new(ErrorCode::UNAUTHORIZED, "CA certificate not found.").with_reason(format!(
            "there is no individual enrollment with this id, and the client certificate '{leaf}' matches none of the {count} \
             X.509 enrollment groups: {reason}"
        ))
    };
    let groups: Vec<(Signers<'_>, &Arc<EnrolledGroup>)> = groups
        .iter()
        .filter_map(|group| {
            let x509 = group.attestation.x509.as_ref()?;
            let signers = Signers::of(x509, group.signing_certificates(), context);
            Some((signers, group))
        })
        .collect();
    let signers: Vec<&Signers<'_>> = groups.iter().map(|(signers, _)| signers).collect();
    let distances = distances(&signers, chain, context, budget).map_err(|error| refused(&error))?;
    let mut untrusted = None;
    let nearest = groups
        .into_iter()
        .filter_map(
            |(signers, group)| match signers.nearest(&distances, context) {
                Ok(distance) => Some((distance, group)),
                Err(reason) => {
                    untrusted = untrusted.or(signers.is_above(&distances).then_some(reason));
                    None
                }
            },
        )
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((_, group)) => Ok((Arc::clone(group), proof(chain))),
        None => Err(refused(
            &untrusted.unwrap_or("no group has a signer of the chain"),
        )),
    }
}

/// Requires that the leaf's common name is the registration id, that the leaf is valid now, and that its key may sign TLS
/// handshakes.
fn check_leaf(chain: &PresentedChain, context: &Context) -> Result<(), ServiceError> {
    let leaf = chain.leaf();
    let refused = |reason: String| ServiceError::invalid_certificate().with_reason(reason);
    let id = &context.registration_id;
    let name = leaf.common_name();
    let named = name.and_then(|name| RegistrationId::new(name).ok());
    if named.as_ref() != Some(id) {
        return Err(refused(format!(
            "the client certificate's common name is '{}', and the registration id is '{id}'",
            name.unwrap_or_default()
        )));
    }
    check_validity(leaf, context.now)
        .and_then(|()| check_handshake_key(leaf))
        .and_then(|()| check_readable(leaf))
        .map_err(|error| refused(error.to_string()))
}

/// The certificates that an enrollment trusts to sign.
struct Signers<'a> {
    /// The ones in the enrollment itself.
    inline: &'a [Certificate],
    /// The instance's CA certificates that the enrollment refers to.
    referenced: Vec<&'a Certificate>,
}

impl<'a> Signers<'a> {
    fn of(x509: &X509Attestation, inline: &'a [Certificate], context: &'a Context) -> Self {
        let names = x509
            .ca_references
            .iter()
            .flat_map(|names| [&names.primary, &names.secondary])
            .flatten();
        let referenced = names.filter_map(|name| {
            let mut cas = context.verified_cas.iter();
            cas.find(|ca| ca.name.eq_ignore_ascii_case(name))
        });
        Self {
            inline,
            referenced: referenced.map(|ca| &ca.certificate).collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.inline.is_empty() && self.referenced.is_empty()
    }

    fn all(&self) -> impl Iterator<Item = &'a Certificate> {
        self.inline.iter().chain(self.referenced.iter().copied())
    }

    fn is_above(&self, distances: &Distances) -> bool {
        self.all()
            .any(|signer| distances.contains_key(signer.sha256_thumbprint()))
    }

    /// Returns the number of intermediates between the leaf and the nearest trusted signer, or the reason why no signer is trusted.
    fn nearest(&self, distances: &Distances, context: &Context) -> Result<usize, &'static str> {
        let distance = |signer: &Certificate| distances.get(signer.sha256_thumbprint()).copied();
        let inline = self.inline.iter().filter_map(distance);
        let trusted = inline.filter(|distance| is_trusted(*distance, distances, context));
        let referenced = self.referenced.iter().copied().filter_map(distance);
        trusted.chain(referenced).min().ok_or(
            "the signing certificate of the enrollment does not chain to a verified CA certificate of the instance",
        )
    }
}

/// Returns true if an inline signing certificate at this distance is trusted.
///
/// The service requires that it chains to a CA with a proof of possession, which then is not nearer to the leaf. Unless it is
/// configured to do the same, the emulator trusts the operator.
fn is_trusted(distance: usize, distances: &Distances, context: &Context) -> bool {
    !context.require_verified_ca
        || context.verified_cas.iter().any(|ca| {
            distances
                .get(ca.certificate.sha256_thumbprint())
                .is_some_and(|ca| *ca >= distance)
        })
}

/// Finds all signers above the leaf, and all verified CAs, in one search.
fn distances(
    signers: &[&Signers<'_>],
    chain: &PresentedChain,
    context: &Context,
    budget: &SignatureBudget,
) -> Result<Distances, ChainError> {
    let verified = context.verified_cas.iter().map(|ca| &ca.certificate);
    let verified = verified.filter(|_| context.require_verified_ca);
    let mut anchors: Vec<&Certificate> = signers
        .iter()
        .flat_map(|signers| signers.all())
        .chain(verified)
        .collect();
    anchors.sort_by(|a, b| a.sha256_thumbprint().cmp(b.sha256_thumbprint()));
    anchors.dedup();
    chain.anchors_above(&anchors, context.now, budget)
}

fn proof(chain: &PresentedChain) -> Proof {
    Proof::X509 {
        leaf: chain.leaf().der_base64(),
    }
}
