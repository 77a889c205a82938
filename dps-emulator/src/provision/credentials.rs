//! With what a device proves itself to its hub: the same that it proves itself with here.

use dps_types::enrollment::{AttestationMechanism, X509Certificates};
use dps_types::{EncodedKey, ErrorCode, RegistrationId};

use crate::attest::{EnrollmentRef, Proof, lower_case};
use crate::certificate::Certificate;
use crate::hub::Authentication;
use crate::service_error::ServiceFailure;
use crate::state::Record;

/// The device's credentials by what the enrollment says now. For a TPM it is the hub key in the record.
pub(super) fn of(
    record: &Record,
    attestation: &AttestationMechanism,
) -> Result<Authentication, ServiceFailure> {
    let authentication = match &record.proof {
        Proof::SymmetricKey => keys(record, &record.registration_id, attestation),
        Proof::LowerCaseKey => {
            lower_case(&record.registration_id).and_then(|id| keys(record, &id, attestation))
        }
        Proof::X509 { leaf } => thumbprints(leaf, attestation),
        Proof::Tpm(_) => record.hub_key.as_ref().map(|key| Authentication::Sas {
            primary: EncodedKey::from(&**key),
            secondary: None,
        }),
    };
    authentication.ok_or_else(|| {
        ServiceFailure::new(
            ErrorCode::UNAUTHORIZED,
            "The attestation of the enrollment was changed.",
        )
    })
}

/// Those of the enrollment, or what is derived from those of the group.
fn keys(
    record: &Record,
    derived_from: &RegistrationId,
    attestation: &AttestationMechanism,
) -> Option<Authentication> {
    let enrolled = attestation.symmetric_key.as_ref()?;
    let own = |key: &Option<EncodedKey>| match &record.enrollment {
        EnrollmentRef::Individual => key.clone(),
        EnrollmentRef::Group(_) => {
            let key = key.as_ref()?.parse().ok()?;
            Some((&key.derive_device_key(derived_from)).into())
        }
    };
    Some(Authentication::Sas {
        primary: own(&enrolled.primary_key)?,
        secondary: own(&enrolled.secondary_key),
    })
}

/// Those of the enrolled certificates, if the device showed one of them; else that of the one it showed.
fn thumbprints(leaf: &str, attestation: &AttestationMechanism) -> Option<Authentication> {
    let shown = Certificate::from_text(leaf).ok()?;
    let shown = shown.sha256_thumbprint();
    let x509 = attestation.x509.as_ref()?;
    let enrolled = x509.client_certificates.as_ref();
    let enrolled = enrolled
        .and_then(enrolled_pair)
        .filter(|(primary, secondary)| primary == shown || secondary.as_deref() == Some(shown));
    let (primary, secondary) = enrolled.unwrap_or_else(|| (shown.to_owned(), None));
    Some(Authentication::SelfSigned { primary, secondary })
}

fn enrolled_pair(certificates: &X509Certificates) -> Option<(String, Option<String>)> {
    let thumbprint = |slot: &Option<dps_types::enrollment::X509CertificateWithInfo>| {
        let text = slot.as_ref()?.certificate.as_ref()?;
        let certificate = Certificate::from_text(text).ok()?;
        Some(certificate.sha256_thumbprint().to_owned())
    };
    Some((
        thumbprint(&certificates.primary)?,
        thumbprint(&certificates.secondary),
    ))
}
