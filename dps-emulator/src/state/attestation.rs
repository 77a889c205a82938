//! Completing an attestation as the service does: keys it was not given, what certificates say.

use dps_types::enrollment::{
    AttestationMechanism, AttestationType, SymmetricKeyAttestation, X509Attestation,
    X509CertificateWithInfo, X509Certificates,
};
use dps_types::{EncodedKey, SymmetricKey};

use crate::attest::tpm;
use crate::certificate::Certificate;
use crate::service_error::ServiceError;

/// Checks the attestation of an enrollment on its way in and fills in what the service adds.
///
/// An endorsement key is taken as it is, since nothing says that the service reads it.
///
/// What an operator cannot read back stays when it is not sent: a document that was read, changed and
/// written carries no certificate text and perhaps no keys.
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
        AttestationType::Tpm => match &mut attestation.tpm {
            Some(shown) if !shown.endorsement_key.is_empty() => {
                shown.extra.drop_nulls(&[]);
                if let Err(error) = tpm::endorsement_key(&shown.endorsement_key) {
                    tracing::warn!(error, "an enrollment whose endorsementKey no TPM can have");
                }
                Ok(())
            }
            _ => Err(required()),
        },
        AttestationType::None => Err(required()),
        _ => Err(ServiceError::invalid(format!(
            "The attestation type '{}' is not known.",
            attestation.kind
        ))),
    }
}

/// There is no attestation, or nothing of its kind in it. The service's own words.
pub(super) fn required() -> ServiceError {
    ServiceError::invalid("TPM or X509 attestation is required.")
}

fn complete_keys(
    keys: &mut SymmetricKeyAttestation,
    previous: Option<&SymmetricKeyAttestation>,
) -> Result<(), ServiceError> {
    keys.extra.drop_nulls(&[]);
    let kept = |key: fn(&SymmetricKeyAttestation) -> &Option<EncodedKey>| {
        previous
            .and_then(|previous| key(previous).clone())
            .unwrap_or_else(|| (&SymmetricKey::generate()).into())
    };
    for key in [
        keys.primary_key
            .get_or_insert_with(|| kept(|keys| &keys.primary_key)),
        keys.secondary_key
            .get_or_insert_with(|| kept(|keys| &keys.secondary_key)),
    ] {
        key.parse()?;
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
            "X509 attestation needs one of clientCertificates, signingCertificates and caReferences.",
        ));
    }
    if let Some(references) = &mut x509.ca_references {
        references.extra.drop_nulls(&[]);
        return match &references.primary {
            Some(name) if !name.is_empty() => Ok(()),
            _ => Err(ServiceError::invalid("A primary CA reference is required.")),
        };
    }
    let known: Vec<X509CertificateWithInfo> = previous.map(all_certificates).unwrap_or_default();
    for certificates in [
        &mut x509.client_certificates,
        &mut x509.signing_certificates,
    ]
    .into_iter()
    .flatten()
    {
        certificates.extra.drop_nulls(&[]);
        let primary = certificates.primary.as_mut();
        complete_certificate(
            primary.ok_or_else(|| ServiceError::invalid("A primary certificate is required."))?,
            &known,
        )?;
        if let Some(secondary) = &mut certificates.secondary {
            complete_certificate(secondary, &known)?;
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

/// Certificates are kept as base64 of the DER, whatever they came as, so that reading them again cannot fail.
fn complete_certificate(
    slot: &mut X509CertificateWithInfo,
    known: &[X509CertificateWithInfo],
) -> Result<(), ServiceError> {
    slot.extra.drop_nulls(&[]);
    if let Some(text) = &slot.certificate {
        let certificate = Certificate::from_text(text).map_err(|error| {
            ServiceError::invalid(format!("The certificate cannot be read: {error}."))
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
        None => Err(ServiceError::invalid("A certificate is required.")),
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
