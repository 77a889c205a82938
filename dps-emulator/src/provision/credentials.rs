//! Derives the device's hub credentials from its DPS attestation.

use dps_types::enrollment::AttestationMechanism;
use dps_types::{EncodedKey, ErrorCode, RegistrationId};

use crate::attest::{EnrollmentRef, Proof, lower_case};
use crate::certificate::Certificate;
use crate::hub::Authentication;
use crate::service_error::ServiceFailure;
use crate::state::Record;

/// Returns the device's credentials according to the current enrollment. A device with an issued certificate has no other. For a TPM it is the hub key in the record.
pub(super) fn of(
    record: &Record,
    attestation: &AttestationMechanism,
) -> Result<Authentication, ServiceFailure> {
    if let Some(credential) = &record.credential {
        return Ok(Authentication::CertificateAuthority(credential.clone()));
    }
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

/// Both thumbprints are that of the certificate that the device registered with. The other certificate of the enrollment is
/// refused at the hub until the device registers with it.
///
/// Source: azure-iot-sdk-java issue 1220; the live test of individual X.509 enrollments in azure-iot-cli-extension.
fn thumbprints(leaf: &str, attestation: &AttestationMechanism) -> Option<Authentication> {
    attestation.x509.as_ref()?;
    let leaf = Certificate::from_text(leaf).ok()?;
    let thumbprint = leaf.sha256_thumbprint().to_owned();
    Some(Authentication::SelfSigned {
        primary: thumbprint.clone(),
        secondary: Some(thumbprint),
    })
}
