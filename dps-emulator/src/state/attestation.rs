//! Validates and completes the attestation of an enrollment: generates missing keys and adds certificate info.

use dps_types::enrollment::{
    AttestationMechanism, AttestationType, SymmetricKeyAttestation, TpmAttestation,
    X509Attestation, X509CertificateWithInfo, X509Certificates,
};
use dps_types::{EncodedKey, SymmetricKey};

use super::message::sentence;
use crate::attest::tpm;
use crate::certificate::Certificate;
use crate::service_error::ServiceError;

/// Checks the attestation of a new enrollment document and adds what the service adds.
///
/// Keys and certificates that the document leaves out are kept from the previous version: the service does not return them
/// in a query, so a document that was read, changed and written does not contain them.
pub(super) fn complete(
    attestation: &mut AttestationMechanism,
    previous: Option<&AttestationMechanism>,
    is_group: bool,
) -> Result<(), ServiceError> {
    attestation.extra.drop_nulls(&[]);
    let previous = previous.filter(|previous| previous.kind == attestation.kind);
    match attestation.kind {
        AttestationType::SymmetricKey => {
            let previous = previous.and_then(|previous| previous.symmetric_key.as_ref());
            complete_keys(attestation.symmetric_key.get_or_insert_default(), previous)
        }
        AttestationType::X509 => {
            let previous = previous.and_then(|previous| previous.x509.as_ref());
            let x509 = attestation.x509.as_mut().ok_or_else(required)?;
            complete_x509(x509, previous, is_group)
        }
        AttestationType::Tpm if is_group => Err(ServiceError::invalid(
            "An enrollment group cannot use TPM attestation.",
        )),
        AttestationType::Tpm => {
            let previous = previous.and_then(|previous| previous.tpm.as_ref());
            complete_tpm(attestation.tpm.as_mut(), previous)
        }
        AttestationType::None => Err(required()),
        _ => Err(ServiceError::invalid(format!(
            "The attestation type '{}' is not known.",
            attestation.kind
        ))),
    }
}

/// The message of the service for an endorsement key that is not an RSA key of 2048 bits in a `TPM2B_PUBLIC`, or has other attributes.
///
/// Source: Azure/azure-iot-sdk-c, issues 937 and 1955.
const INVALID_ENDORSEMENT_KEY: &str =
    "Endorsement key is invalid, or does not match the Enrollment.";

/// The attestation is missing, or its details are. The message is the service's.
pub(super) fn required() -> ServiceError {
    ServiceError::invalid("TPM or X509 attestation is required.")
}

/// An endorsement key that is stored already is not checked again: earlier versions stored any text.
fn complete_tpm(
    shown: Option<&mut TpmAttestation>,
    previous: Option<&TpmAttestation>,
) -> Result<(), ServiceError> {
    let shown = shown.filter(|shown| !shown.endorsement_key.is_empty());
    let shown = shown.ok_or_else(required)?;
    shown.extra.drop_nulls(&[]);
    if previous.is_some_and(|previous| previous.endorsement_key == shown.endorsement_key) {
        return Ok(());
    }
    tpm::check_endorsement_key(&shown.endorsement_key)
        .map_err(|reason| ServiceError::invalid(INVALID_ENDORSEMENT_KEY).with_reason(reason))
}

fn complete_keys(
    keys: &mut SymmetricKeyAttestation,
    previous: Option<&SymmetricKeyAttestation>,
) -> Result<(), ServiceError> {
    keys.extra.drop_nulls(&[]);
    let slots: [(&str, &mut Option<EncodedKey>, Option<&EncodedKey>); 2] = [
        (
            "primary",
            &mut keys.primary_key,
            previous.and_then(|previous| previous.primary_key.as_ref()),
        ),
        (
            "secondary",
            &mut keys.secondary_key,
            previous.and_then(|previous| previous.secondary_key.as_ref()),
        ),
    ];
    for (slot, key, previous) in slots {
        // The Java and C# SDKs send an empty string for a key that they do not have.
        let sent = key.take().filter(|key| !key.reveal().trim().is_empty());
        let complete = sent
            .or_else(|| previous.cloned())
            .unwrap_or_else(|| (&SymmetricKey::generate()).into());
        if let Err(error) = complete.parse() {
            return Err(ServiceError::invalid(sentence(format!(
                "The {slot} symmetric key cannot be read: {error}"
            ))));
        }
        *key = Some(complete);
    }
    Ok(())
}

fn complete_x509(
    x509: &mut X509Attestation,
    previous: Option<&X509Attestation>,
    is_group: bool,
) -> Result<(), ServiceError> {
    x509.extra.drop_nulls(&[]);
    if is_group && x509.client_certificates.is_some() {
        return Err(ServiceError::invalid(
            "An enrollment group cannot use client certificates.",
        ));
    }
    let kinds = [
        x509.client_certificates.is_some(),
        x509.signing_certificates.is_some(),
        x509.ca_references.is_some(),
    ];
    if kinds.into_iter().filter(|kind| *kind).count() != 1 {
        return Err(ServiceError::invalid(
            "X509 attestation requires exactly one of clientCertificates, signingCertificates and caReferences.",
        ));
    }
    if let Some(references) = &mut x509.ca_references {
        references.extra.drop_nulls(&[]);
        let mut names = [&references.primary, &references.secondary]
            .into_iter()
            .flatten();
        return match names.any(|name| !name.is_empty()) {
            true => Ok(()),
            false => Err(ServiceError::invalid(
                "A primary or secondary CA reference is required.",
            )),
        };
    }
    let known: Vec<X509CertificateWithInfo> = previous.map(all_certificates).unwrap_or_default();
    for (kind, certificates) in [
        ("client", &mut x509.client_certificates),
        ("signing", &mut x509.signing_certificates),
    ] {
        if let Some(certificates) = certificates {
            complete_certificates(kind, certificates, &known)?;
        }
    }
    check_signing(x509.signing_certificates.as_ref())
}

/// Refuses a signing certificate whose `keyUsage` forbids it to sign: it would let no device in.
fn check_signing(certificates: Option<&X509Certificates>) -> Result<(), ServiceError> {
    let Some(certificates) = certificates else {
        return Ok(());
    };
    for (slot, certificate) in [
        ("primary", &certificates.primary),
        ("secondary", &certificates.secondary),
    ] {
        let text = certificate
            .as_ref()
            .and_then(|it| it.certificate.as_deref());
        if let Some(Err(error)) = text.map(Certificate::issuer_from_text) {
            return Err(ServiceError::invalid(format!(
                "The {slot} signing certificate cannot be used: {error}."
            )));
        }
    }
    Ok(())
}

/// One of the two certificates is enough. Operators end a roll-over by removing the primary one.
fn complete_certificates(
    kind: &str,
    certificates: &mut X509Certificates,
    known: &[X509CertificateWithInfo],
) -> Result<(), ServiceError> {
    certificates.extra.drop_nulls(&[]);
    for (slot, certificate) in [
        ("primary", &mut certificates.primary),
        ("secondary", &mut certificates.secondary),
    ] {
        if let Some(certificate) = certificate {
            complete_certificate(&format!("{slot} {kind} certificate"), certificate, known)?;
        }
    }
    match (&certificates.primary, &certificates.secondary) {
        (None, None) => Err(ServiceError::invalid(format!(
            "A primary or secondary {kind} certificate is required."
        ))),
        _ => Ok(()),
    }
}

/// Stores a certificate as base64 of its DER, for every input format, so that it can always be read again.
fn complete_certificate(
    name: &str,
    slot: &mut X509CertificateWithInfo,
    known: &[X509CertificateWithInfo],
) -> Result<(), ServiceError> {
    slot.extra.drop_nulls(&[]);
    let text = slot.certificate.as_deref();
    if let Some(text) = text.filter(|text| !text.trim().is_empty()) {
        let certificate = Certificate::from_text(text).map_err(|error| {
            ServiceError::invalid(sentence(format!("The {name} cannot be read: {error}")))
        })?;
        slot.info = Some(certificate.info().clone());
        slot.certificate = Some(certificate.der_base64());
        return Ok(());
    }
    let thumbprint = slot.info.as_ref().map(|info| &info.sha256_thumbprint);
    let same = |other: &&X509CertificateWithInfo| {
        thumbprint.is_some()
            && other.info.as_ref().map(|info| &info.sha256_thumbprint) == thumbprint
    };
    match known.iter().find(same) {
        Some(certificate) => {
            slot.clone_from(certificate);
            Ok(())
        }
        None => Err(ServiceError::invalid(format!(
            "The {name} has no content: its certificate is missing, and its thumbprint is not that of a certificate of the \
             enrollment."
        ))),
    }
}

fn all_certificates(x509: &X509Attestation) -> Vec<X509CertificateWithInfo> {
    let pairs: [&Option<X509Certificates>; 2] =
        [&x509.client_certificates, &x509.signing_certificates];
    pairs
        .into_iter()
        .flatten()
        .flat_map(|pair| [pair.primary.clone(), pair.secondary.clone()])
        .flatten()
        .collect()
}
