//! Validates one path as RFC 5280, 6.1 requires.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::name_constraints::check_common_name;
use super::signatures::{Signatures, Verified};
use crate::attest::chain_error::{ChainError, ChainRule};
use crate::attest::elapsed;
use crate::certificate::Certificate;

/// Validates one path, from the leaf up to the anchor.
pub(super) fn validate(
    leaf: &Certificate,
    intermediates: &[&Certificate],
    anchor: &Certificate,
    now: SystemTime,
    signatures: Signatures<'_>,
) -> Result<(), ChainError> {
    check_client(leaf)?;
    check_validity(leaf, now)?;
    for (below, certificate) in intermediates.iter().copied().chain([anchor]).enumerate() {
        check_validity(certificate, now)?;
        check_authority(certificate, below)?;
    }
    let mut issuers = intermediates.iter().copied().chain([anchor]);
    if let Some(other) = issuers.find(|it| !it.is_for_tls_clients()) {
        return Err(ChainError::new(
            ChainRule::NotForClients,
            format!("the extendedKeyUsage of '{}'", other.subject()),
        ));
    }
    if let Some(old) = intermediates.iter().find(|it| !it.is_version_3()) {
        return Err(ChainError::new(
            ChainRule::NotPermitted,
            format!(
                "'{}' is of X.509 version {}",
                old.subject(),
                old.info().version
            ),
        ));
    }
    for issuer in intermediates.iter().copied() {
        check_readable(issuer)?;
    }
    check_anchor(anchor)?;
    if anchor == leaf {
        let detail = format!("'{}' signed itself", leaf.subject());
        return Err(ChainError::new(ChainRule::NotPermitted, detail));
    }
    match leaf.is_version_3() {
        true => {
            check_with_webpki(leaf, intermediates, anchor, now, signatures)?;
            check_common_name(leaf, intermediates.iter().copied().chain([anchor]))
        }
        false => check_issuers_of_old_leaf(leaf, intermediates, anchor),
    }
}

/// Requires that the certificate may authenticate a TLS client.
fn check_client(leaf: &Certificate) -> Result<(), ChainError> {
    let fault = if leaf.is_version_3() && leaf.is_authority() {
        Some("is a CA certificate")
    } else if !leaf.is_for_tls_clients() {
        Some("has an extendedKeyUsage without clientAuth")
    } else {
        None
    };
    match fault {
        Some(fault) => Err(ChainError::new(
            ChainRule::NotForClients,
            format!("'{}' {fault}", leaf.subject()),
        )),
        None => check_handshake_key(leaf),
    }
}

/// Requires that `keyUsage` allows the signature of a TLS handshake.
pub(in crate::attest) fn check_handshake_key(leaf: &Certificate) -> Result<(), ChainError> {
    match leaf.key_may_sign_handshakes() {
        true => Ok(()),
        false => Err(ChainError::new(
            ChainRule::NotForClients,
            format!(
                "'{}' has a keyUsage without digitalSignature",
                leaf.subject()
            ),
        )),
    }
}

pub(in crate::attest) fn check_validity(
    certificate: &Certificate,
    now: SystemTime,
) -> Result<(), ChainError> {
    let info = certificate.info();
    let (rule, moment, verb) = if certificate.has_expired(now) {
        (ChainRule::Expired, info.not_after_utc, "ended")
    } else if certificate.is_early(now) {
        (ChainRule::NotYetValid, info.not_before_utc, "starts")
    } else {
        return Ok(());
    };
    let when = elapsed::relative(moment, now);
    let detail = format!("the validity of '{}' {verb} {when}", certificate.subject());
    Err(ChainError::new(rule, detail))
}

/// Requires that the certificate may sign others, with this number of intermediates below it.
fn check_authority(issuer: &Certificate, intermediates: usize) -> Result<(), ChainError> {
    let fault = if !issuer.is_authority() {
        "is not a CA certificate (basicConstraints)"
    } else if !issuer.key_may_sign_certificates() {
        "has a keyUsage without keyCertSign"
    } else if !issuer.allows_path_length(intermediates) {
        "has a pathLenConstraint that the chain exceeds"
    } else {
        return Ok(());
    };
    let detail = format!("'{}' {fault}", issuer.subject());
    Err(ChainError::new(ChainRule::NotPermitted, detail))
}

/// Refuses an anchor with an unknown critical extension, which webpki ignores in a trust anchor.
fn check_anchor(anchor: &Certificate) -> Result<(), ChainError> {
    match anchor.may_be_anchor() {
        true => Ok(()),
        false => Err(ChainError::new(
            ChainRule::Malformed,
            format!("'{}' has an unknown critical extension", anchor.subject()),
        )),
    }
}

/// Checks what only webpki reads, such as name constraints, and everything else once more.
fn check_with_webpki(
    leaf: &Certificate,
    intermediates: &[&Certificate],
    anchor: &Certificate,
    now: SystemTime,
    signatures: Signatures<'_>,
) -> Result<(), ChainError> {
    let since_1970 = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let verified: Vec<Verified<'_>> = ALL_VERIFICATION_ALGS
        .iter()
        .map(|algorithm| Verified {
            algorithm: *algorithm,
            signatures,
        })
        .collect();
    let algorithms: Vec<&dyn SignatureVerificationAlgorithm> = verified
        .iter()
        .map(|it| it as &dyn SignatureVerificationAlgorithm)
        .collect();
    let intermediates: Vec<CertificateDer<'_>> =
        intermediates.iter().map(|it| it.der().clone()).collect();
    let verify = || {
        let trusted = [anchor_from_trusted_cert(anchor.der())?];
        EndEntityCert::try_from(leaf.der())?
            .verify_for_usage(
                &algorithms,
                &trusted,
                &intermediates,
                UnixTime::since_unix_epoch(since_1970),
                KeyUsage::client_auth(),
                None,
                None,
            )
            .map(drop)
    };
    verify().map_err(|error| ChainError::from_webpki(&error, leaf))
}

/// Checks the issuers of a certificate without extensions, which webpki does not read. Its signatures were verified when
/// the path was found.
///
/// Name constraints cannot be applied to a certificate without alternative names in a way that all implementations share,
/// so a path with name constraints is refused.
fn check_issuers_of_old_leaf(
    leaf: &Certificate,
    intermediates: &[&Certificate],
    anchor: &Certificate,
) -> Result<(), ChainError> {
    anchor_from_trusted_cert(anchor.der())
        .map_err(|error| ChainError::from_webpki(&error, anchor))?;
    let mut issuers = intermediates.iter().copied().chain([anchor]);
    match issuers.find(|issuer| issuer.has_name_constraints()) {
        None => Ok(()),
        Some(issuer) => Err(ChainError::new(
            ChainRule::NotPermitted,
            format!(
                "'{}' has name constraints, and '{}' is of X.509 version {}",
                issuer.subject(),
                leaf.subject(),
                leaf.info().version
            ),
        )),
    }
}

/// Requires that webpki can read a certificate of version 3. It refuses unknown critical extensions.
pub(in crate::attest) fn check_readable(certificate: &Certificate) -> Result<(), ChainError> {
    match EndEntityCert::try_from(certificate.der()) {
        Err(error) if certificate.is_version_3() => {
            Err(ChainError::from_webpki(&error, certificate))
        }
        _ => Ok(()),
    }
}
